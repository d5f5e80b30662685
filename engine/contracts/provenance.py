"""Where a clip comes from: the parameters that travel inside every file, and what an examination of a file finds."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import ConfigDict, ValidationError

from engine.contracts.controls import ControlKind
from engine.contracts.generation import Fit, Quality, Variation
from engine.contracts.geometry import Geometry
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
    control: ControlKind | None = None  # of a guide: what was taken from it; None: what the effect was trained on
    strength: float | None = None  # of a guide or a restyle
    last_frames: int | None = None  # of an extension: how many of its frames set the start; None: the base's own


class SceneTrace(Contract):
    """One scene of a film, with the seed it was filmed with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    seed: int


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
    quality: Quality = Quality.BEST
    steps: int | None = None  # denoising steps of a clip or scene
    guidance_scale: float | None = None  # None: the base's own
    vary: Variation | None = None
    adapters: tuple[AdapterTrace, ...] = ()
    inputs: tuple[InputTrace, ...] = ()
    fit: Fit | None = None  # of an input whose shape is another; None: there was none
    scenes: tuple[SceneTrace, ...] = ()
    geometry: Geometry

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
