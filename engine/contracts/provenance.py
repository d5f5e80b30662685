"""Where a clip comes from: the parameters that travel inside every file, and what an examination of a file finds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import ConfigDict, ValidationError

from engine.contracts.geometry import Geometry
from engine.contracts.jobs import GenerateVideo
from engine.contracts.lora import AdapterUse, LoraKind
from engine.contracts.model import Contract, Sha256

TOOL = "callsheet"
VERSION = "0.1.0"


class AdapterTrace(Contract):
    """One LoRA that shaped a clip; the hash says which file it was, whatever it is called later."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kind: LoraKind
    weight: float
    sha256: Sha256

    @classmethod
    def of(cls, use: AdapterUse) -> Self:
        """What a job says of the LoRA."""
        return cls(name=use.name, kind=use.kind, weight=use.weight, sha256=use.file.sha256)


class InputTrace(Contract):
    """A picture or clip somebody gave to work from, by its content alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: str
    sha256: Sha256


class ClipParameters(Contract):
    """All it takes to make a file again; names no person. Files outlive versions, so unknown keys are left aside on reading."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tool: Literal["callsheet"] = "callsheet"
    version: str = VERSION
    made_at: str  # ISO 8601, UTC
    mode: str = "text"
    base: str
    base_revision: str
    prompt: str
    negative_prompt: str = ""
    seed: int
    steps: int | None = None  # denoising steps; None: the base's own
    adapters: tuple[AdapterTrace, ...] = ()
    inputs: tuple[InputTrace, ...] = ()
    geometry: Geometry

    @classmethod
    def of_job(cls, job: GenerateVideo, *, base_revision: str, made_at: str, inputs: Sequence[InputTrace] = ()) -> Self:
        """Of the clip that `job` asks for."""
        return cls(
            made_at=made_at,
            mode=job.mode.value,
            base=job.base,
            base_revision=base_revision,
            prompt=job.prompt,
            negative_prompt=job.negative_prompt,
            seed=job.seed,
            adapters=tuple(AdapterTrace.of(use) for use in job.adapters),
            inputs=tuple(inputs),
            geometry=job.geometry,
        )

    @classmethod
    def read(cls, text: str | bytes | None) -> Self | None:
        """The parameters in a file's metadata; None when it has none of ours."""
        try:
            return cls.model_validate_json(text) if text else None
        except ValidationError:
            return None


class Finding(StrEnum):
    """What a file's signature proves."""

    OWN = "own"  # signed here, and nothing that is signed has changed
    FOREIGN = "foreign"  # signed by somebody else, unchanged since
    TAMPERED = "tampered"  # carries a signature that does not fit the content any more
    UNSIGNED = "unsigned"  # no signature
    UNREADABLE = "unreadable"  # neither a picture nor a clip


class OriginReport(Contract):
    """One examined file. `parameters` are proved only by `Finding.OWN`; otherwise they are what the file says about itself."""

    finding: Finding
    sha256: Sha256
    size: int  # bytes
    parameters: ClipParameters | None = None
    signer: str | None = None  # name in the certificate, as it stands there
    generator: str | None = None  # program that signed, as it says
    ai_generated: bool | None = None  # None: not said
