"""Words that several sentences share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.contracts.events import Phase
from engine.contracts.lora import LoraKind


def either(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}" if words else ""


def both(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


STATUS_WORDS: Mapping[str, str] = {
    "queued": "waiting",
    "dispatched": "about to start",
    "running": "running",
    "succeeded": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
}

ENDED_WORDS: Mapping[str, str] = {"succeeded": "Done", "failed": "Failed", "cancelled": "Cancelled"}

KIND_ARTICLE: Mapping[str, str] = {
    LoraKind.CHARACTER: "A character",
    LoraKind.STYLE: "A style",
    LoraKind.MOTION: "A motion",
    LoraKind.EFFECT: "An effect",
}

PHASES: Mapping[Phase, str] = {
    Phase.LOADING: "loading the model",
    Phase.PREPARING: "preparing the pictures",
    Phase.TRAINING: "training",
    Phase.DENOISING: "painting frames",
    Phase.ENCODING: "writing the video",
    Phase.SAVING: "saving",
}
