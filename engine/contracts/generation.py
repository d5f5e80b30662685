"""What a clip may start from besides words: pictures, guides, other clips, scenes. The values inside `GenerateVideo`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from pydantic import Field, model_validator

from engine.contracts.controls import ControlKind
from engine.contracts.geometry import Geometry
from engine.contracts.model import Contract, StoredObject

MAX_SEED = 2**32 - 1
MIN_SCENES, MAX_SCENES = 2, 8
UPSCALE_FACTOR = 2
"""Of the spatial latent upsampler, per side."""


class GenerationMode(StrEnum):
    """What a job makes its clip from. Derived from the job's fields (`GenerateVideo.mode`), never sent."""

    TEXT = "text"
    IMAGE = "image"  # a picture is the first frame
    CONTROL = "control"  # a guiding video steers an effect LoRA; a first frame may be given beside it
    VIDEO = "video"  # the frames of a clip, partly noised and made again
    EXTEND = "extend"  # goes on from the last frames of a clip
    UPSCALE = "upscale"  # a clip at twice the size
    STORYBOARD = "storyboard"  # several scenes, one film


class Quality(StrEnum):
    """How much work a clip is worth; each base has sampling settings for both."""

    FAST = "fast"
    BEST = "best"


class Fit(StrEnum):
    """What happens to a picture or a guide whose shape is not the clip's."""

    CROP = "crop"  # the middle fills the frame, the rest is cut off
    LETTERBOX = "letterbox"  # all of it is seen, between black bars


class Guide(Contract):
    """A video that steers the clip through an effect LoRA of the stack, as reference tokens beside the noise.

    One that is shorter than the clip holds its last frame; one that is longer is used from its start.
    """

    video: StoredObject
    control: ControlKind | None = None  # what is taken from it; None: what the effect LoRA was trained on
    strength: float = Field(default=1.0, gt=0, le=1)  # of the reference tokens


class Restyle(Contract):
    """Video-to-video: `video` is noised to `strength` and denoised with the prompt and the stack. 1 keeps nothing of it."""

    video: StoredObject
    strength: float = Field(default=0.8, gt=0, le=1)


class Extension(Contract):
    """Go on where `video` ends. Its last frames are the first of the clip that is denoised and appear once in the film."""

    video: StoredObject
    last_frames: int | None = Field(default=None, ge=1, le=257)
    """How many frames at the end of `video` set the start, `frame_stride * k + 1`; None: one stride and one, or 1 of a shorter one."""


class Variation(Contract):
    """A relative of the clip with seed `seed`: its noise turned towards the noise of the job's own seed.

    0 is that clip again, 1 one that has nothing to do with it. The turn is a spherical interpolation, so the noise stays noise.
    """

    seed: int = Field(ge=0, le=MAX_SEED)
    strength: float = Field(default=0.3, ge=0, le=1)


class Upscale(Contract):
    """Denoise a second stage at `UPSCALE_FACTOR` times the size; the job's `geometry` is the upscaled size.

    The first stage is `video`, at `geometry / UPSCALE_FACTOR`; None: it is denoised by this job from the prompt.
    """

    video: StoredObject | None = None


class Scene(Contract):
    """One shot of a storyboard. `seed` None: the job's seed plus the scene's place."""

    prompt: str = Field(min_length=1, max_length=2000)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)


class Storyboard(Contract):
    """Scenes of equal length with one stack, cut to one film; `GenerateVideo.prompt` is its title.

    It is one job, not a job per scene: which scene falls off is only known beside the others, and one press is one price, one card, one
    cancel and one film. A scene whose identity falls below the others is denoised again with the next seed, `rerolls` times at most in
    all; what that costs is on the house.
    """

    scenes: tuple[Scene, ...] = Field(min_length=MIN_SCENES, max_length=MAX_SCENES)
    rerolls: int = Field(default=4, ge=0, le=16)


class ClipWishes(Contract):
    """What a clip should be, wherever its files lie: what the job on the wire and the engine's config have in common. Never made itself.

    With none of the optional sources, here and in what builds on it, it is text-to-video. `geometry` is always the size that is
    denoised: of the upscaled clip, of the continuation including the frames it starts from, of each scene.
    """

    prompt: str = Field(min_length=1, max_length=2000)
    """What the person typed, of a storyboard its title; triggers of the stack are added by the engine."""

    negative_prompt: str = Field(default="", max_length=2000)
    geometry: Geometry
    storyboard: Storyboard | None = None
    vary: Variation | None = None
    quality: Quality = Quality.BEST
    fit: Fit = Fit.CROP
    mute: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        require_one_source(vars(self), self.geometry)
        return self

    @property
    def mode(self) -> GenerationMode:
        """What the clip is made from."""
        return mode_of(vars(self))


_MODES: Final = {
    "storyboard": GenerationMode.STORYBOARD,
    "upscale": GenerationMode.UPSCALE,
    "extend": GenerationMode.EXTEND,
    "restyle": GenerationMode.VIDEO,
    "guide": GenerationMode.CONTROL,
    "image": GenerationMode.IMAGE,
}


def mode_of(fields: Mapping[str, object]) -> GenerationMode:
    """What a clip is made from, by the fields of its job, or of the engine's config of it."""
    return next((mode for source, mode in _MODES.items() if fields[source] is not None), GenerationMode.TEXT)


def require_one_source(fields: Mapping[str, object], geometry: Geometry) -> None:
    """Refuse sources that do not go together: a job says one thing.

    Raises:
        ValueError: it says two, or an upscaled clip's sides cannot be halved.
    """
    alone = {name for name in ("restyle", "extend", "upscale", "storyboard") if fields[name] is not None}
    beside = {name for name in ("image", "guide", "vary") if fields[name] is not None}
    beside -= {"vary"} if alone == {"restyle"} else set()
    if len(alone) > 1 or (alone and beside):
        raise ValueError(f"{' and '.join(sorted(alone | beside))} do not go together")
    if "upscale" in alone and (geometry.width % UPSCALE_FACTOR or geometry.height % UPSCALE_FACTOR):
        raise ValueError(f"an upscaled clip has sides that {UPSCALE_FACTOR} divides")
