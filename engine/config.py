"""Settings of one training and of one clip, as frozen values.

Validators check values against each other and never touch the disk or a model. What is left `None` is filled in from
the base's preset for the LoRA's kind by `engine.model.bases.Base.completed`, once, before a run starts.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from engine.contracts.controls import Control, ControlKind
from engine.contracts.generation import ClipWishes
from engine.contracts.jobs import MAX_SEED, GenerateVideo, TrainLora
from engine.contracts.lora import LoraKind, LoraName, Trigger
from engine.contracts.model import Contract


class Schedule(StrEnum):
    """Shape of the learning rate after warm-up."""

    CONSTANT = "constant"
    LINEAR = "linear"  # down to `final_lr_fraction` at the last step
    COSINE = "cosine"  # the same, along half a cosine


class TrainConfig(Contract):
    """Everything that decides what a training computes; equal configs and data give equal files."""

    name: LoraName
    kind: LoraKind
    trigger: Trigger | None = None
    rank: int = Field(ge=1, le=256)
    steps: int = Field(ge=1, le=20_000)
    learning_rate: float = Field(gt=0, le=1)
    batch_size: int = Field(ge=1, le=64)
    width: int = Field(ge=8, le=4096)  # pixels
    height: int = Field(ge=8, le=4096)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)

    targets: tuple[str, ...] | None = None
    """Regular expressions that match whole module names of the transformer."""

    schedule: Schedule | None = None
    warmup_steps: int | None = Field(default=None, ge=0)
    final_lr_fraction: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, gt=0)
    caption_dropout: float | None = Field(default=None, ge=0, le=1)
    """Share of samples that are shown the empty caption, so that guidance stays meaningful."""

    mirror: bool | None = None
    """Whether every item is also taught mirrored, with left and right in its caption exchanged."""

    first_frame_probability: float | None = Field(default=None, ge=0, le=1)
    """Share of clips whose first latent frame is given clean, as in image-to-video; stills are never conditioned."""

    preservation_share: float | None = Field(default=None, ge=0, lt=1)
    """Share of steps on which the base's own prediction for the caption without the trigger is the target."""

    preservation_weight: float | None = Field(default=None, ge=0, le=10)
    max_frames: int | None = Field(default=None, ge=1)
    """Frames of a clip that are trained on; None: as many as the base's default clip has."""

    control: Control | None = None
    """What guides an effect (IC-LoRA); other kinds have none."""

    gradient_checkpointing: bool | None = None
    checkpoint_every: int = Field(default=0, ge=0)  # steps; 0: only when asked
    held_out: int | None = Field(default=None, ge=0, le=64)
    """Items kept from training to judge it by."""

    evaluate_every: int | None = Field(default=None, ge=0)
    """Steps from one look at the checkpoint to the next; 0: the last step is taken without a look."""

    stop_on_plateau: bool = True
    preview_every: int = Field(default=0, ge=0)  # steps; 0: never
    preview_prompt: str = Field(default="", max_length=2000)
    preview_seed: int = Field(default=7, ge=0, le=MAX_SEED)

    @model_validator(mode="after")
    def _previews_need_a_prompt(self) -> Self:
        if self.preview_every and not self.preview_prompt:
            raise ValueError("preview_every needs a preview_prompt")
        return self

    @model_validator(mode="after")
    def _only_effects_are_guided(self) -> Self:
        if self.control is not None and self.kind is not LoraKind.EFFECT:
            raise ValueError(f"a {self.kind} has no control, only an effect has")
        return self

    @classmethod
    def from_job(cls, job: TrainLora, *, checkpoint_every: int = 0, preview_every: int = 0) -> Self:
        """The config a `TrainLora` job asks for; what the job does not say stays with the base's preset."""
        return cls(
            name=job.name,
            kind=job.lora_kind,
            trigger=job.trigger,
            rank=job.rank,
            steps=job.steps,
            learning_rate=job.learning_rate,
            batch_size=job.batch_size,
            width=job.width,
            height=job.height,
            seed=job.seed,
            control=job.control,
            caption_dropout=job.caption_dropout,
            checkpoint_every=checkpoint_every,
            preview_every=preview_every,
            preview_prompt=job.preview_prompt,
        )


class GuideVideo(Contract):
    """A local guiding video; see `engine.contracts.generation.Guide`."""

    path: Path
    control: ControlKind | None = None
    strength: float = Field(default=1.0, gt=0, le=1)


class RestyledVideo(Contract):
    """A local clip to make again; see `engine.contracts.generation.Restyle`."""

    path: Path
    strength: float = Field(default=0.8, gt=0, le=1)


class ExtendedVideo(Contract):
    """A local clip to go on from; see `engine.contracts.generation.Extension`."""

    path: Path
    last_frames: int | None = Field(default=None, ge=1)


class UpscaledVideo(Contract):
    """Two stages; `path` None: the first one is denoised too. See `engine.contracts.generation.Upscale`."""

    path: Path | None = None


class SampleConfig(ClipWishes):
    """One clip, or one film of scenes, to denoise; sources are local files in place of the stored objects of `GenerateVideo`."""

    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    num_inference_steps: int | None = Field(default=None, ge=2, le=200)
    guidance_scale: float | None = Field(default=None, ge=0, le=30)
    image: Path | None = None
    guide: GuideVideo | None = None
    restyle: RestyledVideo | None = None
    extend: ExtendedVideo | None = None
    upscale: UpscaledVideo | None = None

    @classmethod
    def from_job(cls, job: GenerateVideo, *, image: Path | None = None, guide: Path | None = None, clip: Path | None = None) -> Self:
        """The config a `GenerateVideo` job asks for, with the local files of its picture, its guiding video and its source clip."""
        return cls(
            **{name: getattr(job, name) for name in ClipWishes.model_fields},
            seed=job.seed,
            image=image,
            guide=GuideVideo(path=guide, control=job.guide.control, strength=job.guide.strength) if job.guide and guide else None,
            restyle=RestyledVideo(path=clip, strength=job.restyle.strength) if job.restyle and clip else None,
            extend=ExtendedVideo(path=clip, last_frames=job.extend.last_frames) if job.extend and clip else None,
            upscale=UpscaledVideo(path=clip) if job.upscale else None,
        )
