"""Jobs as values: frozen, tagged by `kind`, versioned, JSON on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from engine.contracts.controls import Control
from engine.contracts.generation import MAX_SEED, ClipWishes, Extension, Guide, Restyle, Upscale
from engine.contracts.lora import MAX_STACK, AdapterUse, LoraKind, LoraName, Trigger
from engine.contracts.model import Contract, JobId, StoredObject
from engine.contracts.status import Lane

__all__ = ["JOB_ADAPTER", "MAX_SEED", "WORK_ADAPTER", "CaptionItems", "DatasetItem", "GenerateVideo", "Job", "TrainLora", "Work", "lane_of"]


class DatasetItem(Contract):
    """One picture or clip of a training set; the caption is None until somebody or something wrote one."""

    media: StoredObject
    filename: str  # as uploaded, for messages only; never a path
    caption: str | None = None
    guide: StoredObject | None = None  # the control clip or picture that came with it, for effects


class TrainLora(Contract):
    """Train one LoRA from stored items; the result is a file under `objects.lora_key(lora_id, …)`."""

    kind: Literal["train_lora"] = "train_lora"
    version: Literal[1] = 1
    job_id: JobId
    base: str
    lora_id: str
    name: LoraName
    lora_kind: LoraKind
    trigger: Trigger | None
    items: tuple[DatasetItem, ...] = Field(min_length=1)
    rank: int = Field(ge=1, le=256)
    steps: int = Field(ge=1, le=20_000)
    learning_rate: float = Field(gt=0, le=1)
    batch_size: int = Field(ge=1, le=64)
    width: int
    height: int
    seed: int = Field(ge=0, le=MAX_SEED)
    preview_prompt: str
    control: Control | None = None  # of an effect; None: the base's own choice
    caption_dropout: float | None = Field(default=None, ge=0, le=1)  # None: the base's own choice


class GenerateVideo(ClipWishes):
    """Render one clip with a stack of LoRAs."""

    kind: Literal["generate_video"] = "generate_video"
    version: Literal[1] = 1
    job_id: JobId
    base: str
    adapters: tuple[AdapterUse, ...] = Field(default=(), max_length=MAX_STACK)
    seed: int = Field(ge=0, le=MAX_SEED)
    image: StoredObject | None = None  # first frame for image-to-video
    guide: Guide | None = None
    restyle: Restyle | None = None
    extend: Extension | None = None
    upscale: Upscale | None = None
    max_bytes: int = Field(gt=0)  # the channel's file limit

    @property
    def source_clip(self) -> StoredObject | None:
        """The clip this one is made of, when there is one; a guide is none."""
        for source in (self.restyle, self.extend, self.upscale):
            if source is not None:
                return source.video
        return None


class CaptionItems(Contract):
    """Say of items that came without a caption what their training would be told, so that a person can read and change it before.

    It belongs to a draft and costs nothing, so it has no row of its own: one that is lost is not missed, the training asks again.
    """

    kind: Literal["caption_items"] = "caption_items"
    version: Literal[1] = 1
    job_id: JobId
    base: str
    dataset_id: str
    lora_kind: LoraKind
    items: tuple[DatasetItem, ...] = Field(min_length=1)


Job = Annotated[TrainLora | GenerateVideo, Field(discriminator="kind")]

JOB_ADAPTER: TypeAdapter[TrainLora | GenerateVideo] = TypeAdapter(Job)
"""Of what has a row, a price and an owner."""

Work = TrainLora | GenerateVideo | CaptionItems

WORK_ADAPTER: TypeAdapter[Work] = TypeAdapter(Annotated[Work, Field(discriminator="kind")])
"""Of all that is handed to workers."""


def lane_of(job: Work) -> Lane:
    """The lane of the GPU child that runs this job."""
    return Lane.TRAIN if isinstance(job, TrainLora) else Lane.RENDER
