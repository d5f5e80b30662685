"""Builders of contract values, valid by default; a test names only what it is about."""

from __future__ import annotations

from typing import Any

from engine.contracts.bases import TINY
from engine.contracts.geometry import Geometry
from engine.contracts.jobs import CaptionItems, DatasetItem, GenerateVideo, TrainLora
from engine.contracts.lora import AdapterUse, LoraKind, LoraManifest
from engine.contracts.model import StoredObject
from engine.contracts.selection import CheckpointScore, Fault, Selection

JOB_ID = "01JD9X8Q4ZK7T3M5V6W2Y1N0PA"
SHA = "ab" * 32


def stored(key: str = "uploads/1/a.png", media_type: str = "image/png", size: int = 3, sha256: str = SHA) -> StoredObject:
    """A stored object that need not exist."""
    return StoredObject(key=key, sha256=sha256, size=size, media_type=media_type)


def geometry(**changes: Any) -> Geometry:
    """The tiny base's default clip."""
    return Geometry(**{"width": 32, "height": 32, "num_frames": TINY.geometry.default_frames, "fps": TINY.geometry.fps, **changes})


def adapter_use(**changes: Any) -> AdapterUse:
    """A character LoRA at full weight."""
    values = {
        "lora_id": "lora1",
        "name": "zoko",
        "kind": LoraKind.CHARACTER,
        "trigger": "zoko",
        "file": stored("loras/lora1/x.safetensors", "application/x-safetensors"),
        "weight": 1.0,
    }
    return AdapterUse(**{**values, **changes})


def caption_items(**changes: Any) -> CaptionItems:
    """One picture of a style to describe."""
    item = DatasetItem(media=stored(), filename="red barn.png")
    values: dict[str, Any] = {"job_id": JOB_ID, "base": "tiny", "dataset_id": JOB_ID, "lora_kind": LoraKind.STYLE, "items": (item,)}
    return CaptionItems(**(values | changes))


def generate_video(**changes: Any) -> GenerateVideo:
    """A text-to-video job on the tiny base."""
    values = {
        "job_id": JOB_ID,
        "base": "tiny",
        "prompt": "zoko walking left on a beach",
        "geometry": geometry(),
        "seed": 7,
        "max_bytes": 10 * 1024 * 1024,
    }
    return GenerateVideo(**{**values, **changes})


def train_lora(**changes: Any) -> TrainLora:
    """A character training on the tiny base with one item."""
    values = {
        "job_id": JOB_ID,
        "base": "tiny",
        "lora_id": "lora1",
        "name": "zoko",
        "lora_kind": LoraKind.CHARACTER,
        "trigger": "zoko",
        "items": (DatasetItem(media=stored(), filename="a.png"),),
        "rank": 16,
        "steps": 400,
        "learning_rate": 1e-3,
        "batch_size": 8,
        "width": 32,
        "height": 32,
        "seed": 1,
        "preview_prompt": "zoko on a beach",
    }
    return TrainLora(**{**values, **changes})


def manifest(**changes: Any) -> LoraManifest:
    """The manifest of a trained tiny character."""
    values = {
        "name": "zoko",
        "kind": LoraKind.CHARACTER,
        "trigger": "zoko",
        "base": "tiny",
        "base_revision": "tiny-1",  # of the day the goldens were written
        "rank": 16,
        "targets": ("attn1", "attn2", "ff"),
        "steps": 400,
        "learning_rate": 1e-3,
        "width": 32,
        "height": 32,
        "items": 24,
        "data_sha256": SHA,
        "seed": 1,
        "created_at": "2026-11-23T00:00:00Z",
    }
    return LoraManifest(**{**values, **changes})


def selection(**changes: Any) -> Selection:
    """A training of 400 steps whose last checkpoint was overfit."""
    values = {
        "chosen": 210,
        "scores": (
            CheckpointScore(step=210, effect=0.2, held_out_loss=0.3, identity=0.35, memorised=0.0, drift=0.02, motion=0.9),
            CheckpointScore(
                step=400, effect=0.4, held_out_loss=0.34, identity=0.4, memorised=0.1, drift=0.1, motion=0.8, faults=(Fault.OVERFIT,)
            ),
        ),
        "base_held_out_loss": 0.38,
        "measure": "colour correlogram",
    }
    return Selection(**{**values, **changes})
