"""Everything the engine refuses or fails at, as one tree.

EngineError
├── InvalidMediaError          a picture, clip or archive cannot be used (INVALID_MEDIA)
│   ├── NoVideoError               it has no video stream (VIDEO_MISSING_STREAM)
│   ├── VideoTooShortError         it is a single frame (VIDEO_TOO_SHORT)
│   ├── VideoTooLongError          it plays longer than is taken (VIDEO_TOO_LONG)
│   └── VariableRateError          its frames come at uneven times (VIDEO_VARIABLE_RATE)
├── DatasetTooSmallError       too few usable items (DATASET_TOO_SMALL)
├── InvalidConfigError         settings that contradict each other or the base (INVALID_CONFIG)
│   ├── GuideMissingError          an effect without the video it follows (GUIDE_MISSING)
│   ├── EffectMissingError         a guiding video without an effect that follows it (EFFECT_MISSING)
│   └── StackWeightsError          weights that add up to nothing or to noise (STACK_WEIGHTS)
├── BaseUnavailableError       base unknown, or its weights are not here (BASE_UNAVAILABLE)
├── AdapterError
│   ├── AdapterMissingError        the file is gone (ADAPTER_MISSING)
│   ├── AdapterInvalidError        not a LoRA we can read safely (ADAPTER_INVALID)
│   ├── AdapterIncompatibleError   trained for another base or other modules (ADAPTER_INCOMPATIBLE)
│   └── DeadAdapterError           trained, but changes nothing (ADAPTER_DEAD)
├── LossNotFiniteError         training diverged (LOSS_NOT_FINITE)
├── OutOfMemoryError           a step or a clip does not fit into device memory (OUT_OF_MEMORY)
├── ResultTooLargeError        no encoding fits the size limit (RESULT_TOO_LARGE)
├── StoreError
│   ├── StoreUnavailableError      the object store does not answer (STORE_UNAVAILABLE)
│   ├── ObjectMissingError         nothing is stored under the key (OBJECT_CORRUPT)
│   └── ObjectCorruptError         content does not match its hash (OBJECT_CORRUPT)
└── JobCancelledError          somebody asked to stop (CANCELLED)

Messages are one sentence that says what to do: the shell prints them as they are, the bot maps the code to its own words.
This module is torch-free.
"""

from __future__ import annotations

from typing import ClassVar

from engine.contracts.failures import FailureCode
from engine.contracts.lora_facts import LoraProblem


class EngineError(Exception):
    """Root of the tree; carries the code that crosses process borders."""

    code: ClassVar[FailureCode] = FailureCode.INTERNAL


class InvalidMediaError(EngineError):
    """A picture, clip or archive cannot be used."""

    code = FailureCode.INVALID_MEDIA


class NoVideoError(InvalidMediaError):
    """A video is needed and the file has no video stream."""

    code = FailureCode.VIDEO_MISSING_STREAM


class VideoTooShortError(InvalidMediaError):
    """A video of a single frame."""

    code = FailureCode.VIDEO_TOO_SHORT


class VideoTooLongError(InvalidMediaError):
    """A video longer than is taken."""

    code = FailureCode.VIDEO_TOO_LONG


class VariableRateError(InvalidMediaError):
    """A video whose frames come at uneven times."""

    code = FailureCode.VIDEO_VARIABLE_RATE


class DatasetTooSmallError(EngineError):
    """Too few usable items."""

    code = FailureCode.DATASET_TOO_SMALL


class InvalidConfigError(EngineError):
    """Settings that contradict each other or the base."""

    code = FailureCode.INVALID_CONFIG


class GuideMissingError(InvalidConfigError):
    """An effect LoRA without the video it follows."""

    code = FailureCode.GUIDE_MISSING


class EffectMissingError(InvalidConfigError):
    """A guiding video, and no effect LoRA in the stack that follows it."""

    code = FailureCode.EFFECT_MISSING


class StackWeightsError(InvalidConfigError):
    """Weights that add up to nothing, or to noise."""

    code = FailureCode.STACK_WEIGHTS


class BaseUnavailableError(EngineError):
    """The base is unknown, or its weights are not on this machine."""

    code = FailureCode.BASE_UNAVAILABLE


class AdapterError(EngineError):
    """Something is wrong with a LoRA."""

    code = FailureCode.ADAPTER_INVALID


class AdapterMissingError(AdapterError):
    """The LoRA file is gone."""

    code = FailureCode.ADAPTER_MISSING


class AdapterInvalidError(AdapterError):
    """Not a LoRA that can be read safely; `problem` says in which way."""

    code = FailureCode.ADAPTER_INVALID

    def __init__(self, message: str, problem: LoraProblem = LoraProblem.DESCRIPTION) -> None:
        super().__init__(message)
        self.problem = problem


class AdapterIncompatibleError(AdapterError):
    """Trained for another base, or its modules do not exist here."""

    code = FailureCode.ADAPTER_INCOMPATIBLE


class DeadAdapterError(AdapterError):
    """Trained, but it changes nothing."""

    code = FailureCode.ADAPTER_DEAD


class LossNotFiniteError(EngineError):
    """Training diverged."""

    code = FailureCode.LOSS_NOT_FINITE


class OutOfMemoryError(EngineError):
    """A step or a clip does not fit into device memory."""

    code = FailureCode.OUT_OF_MEMORY


class ResultTooLargeError(EngineError):
    """No encoding of the clip fits the size limit."""

    code = FailureCode.RESULT_TOO_LARGE


class StoreError(EngineError):
    """Something is wrong with the object store."""

    code = FailureCode.STORE_UNAVAILABLE


class StoreUnavailableError(StoreError):
    """The object store does not answer."""

    code = FailureCode.STORE_UNAVAILABLE


class ObjectMissingError(StoreError):
    """Nothing is stored under the key: the reference outlived its content."""

    code = FailureCode.OBJECT_CORRUPT


class ObjectCorruptError(StoreError):
    """Stored content does not match its hash."""

    code = FailureCode.OBJECT_CORRUPT


class JobCancelledError(EngineError):
    """Somebody asked to stop; not a failure."""

    code = FailureCode.CANCELLED
