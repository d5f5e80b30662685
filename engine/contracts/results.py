"""What a finished job leaves behind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.contracts.generation import GenerationMode, Quality
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraManifest
from engine.contracts.model import Contract, Sha256, StoredObject


class LoraTrained(Contract):
    """A trained LoRA in the store, with the pictures that show what it learned."""

    kind: Literal["lora_trained"] = "lora_trained"
    lora_id: str
    file: StoredObject
    manifest: LoraManifest
    preview: StoredObject | None  # a clip of the preview prompt (MP4)
    poster: StoredObject | None  # contact sheet of that clip (PNG)
    loss_curve: StoredObject | None  # PNG
    steps: int
    seconds: float


class AdapterApplied(Contract):
    """A LoRA as it counted in a render."""

    name: str
    sha256: Sha256
    weight: float
    second_stage_weight: float | None = None


class RenderParameters(Contract):
    """Everything that decides the frames beside the inputs' bytes: what goes into a posted file's metadata."""

    mode: GenerationMode
    base: str
    base_revision: str
    prompt: str  # with the triggers, as it was denoised; of a storyboard, its title
    negative_prompt: str
    quality: Quality
    num_inference_steps: int
    guidance_scale: float
    adapters: tuple[AdapterApplied, ...] = ()


class SceneRendered(Contract):
    """One scene of a storyboard as it is in the film. `identity` is its likeness to the other scenes, 0..1; None: not measured."""

    prompt: str  # with the triggers
    seed: int
    identity: float | None = None
    rerolls: int = 0


class VideoRendered(Contract):
    """A clip in the store; `geometry` is what was denoised, the file may be upscaled for posting."""

    kind: Literal["video_rendered"] = "video_rendered"
    file: StoredObject
    poster: StoredObject | None
    geometry: Geometry
    posted_width: int
    posted_height: int
    seed: int
    seconds: float  # wall time of the job on the worker
    num_frames: int | None = None  # of the file, where it is not `geometry.num_frames`: an extended film, a storyboard
    has_audio: bool = False
    parameters: RenderParameters | None = None  # None: a result of an earlier release
    scenes: tuple[SceneRendered, ...] = ()
    join_psnr: float | None = None  # dB; of an extension: the source's last frame against the same frame of the continuation


JobResult = Annotated[LoraTrained | VideoRendered, Field(discriminator="kind")]
