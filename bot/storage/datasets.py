"""Rows of `datasets` and `dataset_items`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.contracts.lora import LoraKind
from engine.contracts.model import StoredObject


class DatasetState(StrEnum):
    """A draft grows until it is started or dropped."""

    DRAFT = "draft"
    STARTED = "started"
    DISCARDED = "discarded"


@dataclass(frozen=True)
class DatasetRecord:
    """One training set. `items` counts its pictures and clips."""

    dataset_id: str  # ULID
    owner_id: int
    guild_id: int | None
    name: str
    kind: LoraKind
    trigger: str | None
    state: DatasetState
    items: int
    job_id: str | None
    created_at: float


@dataclass(frozen=True)
class ItemRecord:
    """One picture or clip that was accepted."""

    media: StoredObject
    filename: str
    caption: str | None
    width: int
    height: int
    num_frames: int
