"""Why a job ended without its result. Codes travel; the sentences a person reads live in `bot/ui/text`."""

from __future__ import annotations

from enum import StrEnum


class FailureCode(StrEnum):
    """A stable reason; never renamed, only added to."""

    INVALID_MEDIA = "invalid_media"
    VIDEO_MISSING_STREAM = "video_missing_stream"  # sound or a picture where a video is needed
    VIDEO_TOO_SHORT = "video_too_short"  # one frame
    VIDEO_TOO_LONG = "video_too_long"
    VIDEO_VARIABLE_RATE = "video_variable_rate"
    GUIDE_MISSING = "guide_missing"  # an effect LoRA without the video it follows
    EFFECT_MISSING = "effect_missing"  # a guide without an effect LoRA that follows it
    STACK_WEIGHTS = "stack_weights"
    DATASET_TOO_SMALL = "dataset_too_small"
    ADAPTER_MISSING = "adapter_missing"
    ADAPTER_INVALID = "adapter_invalid"
    ADAPTER_INCOMPATIBLE = "adapter_incompatible"
    ADAPTER_DEAD = "adapter_dead"
    INVALID_CONFIG = "invalid_config"
    BASE_UNAVAILABLE = "base_unavailable"
    LOSS_NOT_FINITE = "loss_not_finite"
    RESULT_TOO_LARGE = "result_too_large"
    OUT_OF_MEMORY = "out_of_memory"
    CHILD_DIED = "child_died"
    WORKER_LOST = "worker_lost"
    STORE_UNAVAILABLE = "store_unavailable"
    OBJECT_CORRUPT = "object_corrupt"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERNAL = "internal"

    @property
    def retryable(self) -> bool:
        """True when the same job may succeed on another try or another machine; else trying again wastes a GPU."""
        return self in _RETRYABLE


_RETRYABLE = frozenset(
    {
        FailureCode.OUT_OF_MEMORY,
        FailureCode.CHILD_DIED,
        FailureCode.WORKER_LOST,
        FailureCode.STORE_UNAVAILABLE,
    }
)
