"""Rows of `loras`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.model import StoredObject


class LoraState(StrEnum):
    """A name is reserved while its training is open; a failed or cancelled training frees it."""

    TRAINING = "training"
    READY = "ready"
    GONE = "gone"


@dataclass(frozen=True)
class LoraRecord:
    """One LoRA. `file` and `manifest` are None until its training succeeded."""

    lora_id: str  # ULID
    owner_id: int
    owner_name: str
    guild_id: int | None
    name: str
    kind: LoraKind
    trigger: str | None
    base: str
    state: LoraState
    job_id: str
    file: StoredObject | None
    preview: StoredObject | None  # MP4
    poster: StoredObject | None  # PNG
    loss_curve: StoredObject | None  # PNG
    manifest: LoraManifest | None
    uses: int
    created_at: float
