"""Facts about a LoRA: its kind, its manifest (which travels inside the file) and its use in a stack."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from engine.contracts.controls import Control
from engine.contracts.model import Contract, Sha256, StoredObject

MANIFEST_KEY = "callsheet_manifest"
"""The safetensors metadata key that holds the manifest as JSON."""

MAX_WEIGHT = 2.0
MAX_STACK = 4

LoraName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{1,15}$")]
"""Short enough that a list of four with weights fits Discord's 100-character autocomplete value."""

Trigger = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,31}$")]


class LoraKind(StrEnum):
    """What the training set teaches; each kind is a preset of the training recipe."""

    CHARACTER = "character"
    STYLE = "style"
    MOTION = "motion"
    EFFECT = "effect"


class DatasetGuidance(Contract):
    """How many items a kind needs: fewer than `minimum` is refused, fewer than `advised` asks the person first."""

    minimum: int
    advised: int
    enough: int


DATASET_GUIDANCE: Mapping[LoraKind, DatasetGuidance] = {
    LoraKind.CHARACTER: DatasetGuidance(minimum=4, advised=20, enough=50),
    LoraKind.STYLE: DatasetGuidance(minimum=4, advised=20, enough=100),
    LoraKind.MOTION: DatasetGuidance(minimum=4, advised=10, enough=40),
    LoraKind.EFFECT: DatasetGuidance(minimum=4, advised=40, enough=100),
}


class LoraManifest(Contract):
    """The passport of a LoRA file, written into its safetensors metadata and copied to the registry row."""

    version: int = 1
    name: str
    kind: LoraKind
    trigger: str | None
    base: str
    base_revision: str
    rank: int = Field(ge=1, le=1024)
    targets: tuple[str, ...]  # module name patterns the adapter was trained on
    steps: int
    learning_rate: float
    width: int
    height: int
    items: int
    data_sha256: Sha256  # hash over the sorted hashes of the training items and their captions
    seed: int
    final_loss: float | None = None
    control: Control | None = None  # what guides an effect; None for every other kind
    created_at: str  # ISO 8601, UTC
    tool: str = "callsheet"

    def to_metadata(self) -> dict[str, str]:
        """Metadata of the safetensors header: the manifest, and the few plain keys other tools look for."""
        return {
            "format": "pt",
            MANIFEST_KEY: self.model_dump_json(),
            "modelspec.title": self.name,
            "modelspec.architecture": f"{self.base}/lora",
            "modelspec.trigger_phrase": self.trigger or "",
            **(self.control.to_metadata() if self.control is not None else {}),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> LoraManifest | None:
        """The manifest in a header, or None for a file that another tool made (or that lies about ours)."""
        text = metadata.get(MANIFEST_KEY)
        if text is None:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            return None


class AdapterUse(Contract):
    """One LoRA of a stack in one job: the file as it was at submit time, and its weight."""

    lora_id: str
    name: LoraName
    kind: LoraKind
    trigger: str | None
    file: StoredObject
    weight: float = Field(ge=0.0, le=MAX_WEIGHT, allow_inf_nan=False)
    second_stage_weight: float | None = Field(default=None, ge=0.0, le=MAX_WEIGHT, allow_inf_nan=False)  # None: `weight` in both stages
