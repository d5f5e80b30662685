"""Words that several sentences share."""

from __future__ import annotations

from collections.abc import Sequence

from bot.ui.language import Words, _
from engine.contracts.events import Phase
from engine.contracts.lora import LoraKind


def either(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return _("{several} or {last}", several=", ".join(words[:-1]), last=words[-1]) if len(words) > 1 else "".join(words)


def both(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return _("{several} and {last}", several=", ".join(words[:-1]), last=words[-1]) if len(words) > 1 else "".join(words)


def quoted(words: str) -> str:
    """`“words”`, in the reader's own marks; `words` is safe text."""
    return _("“{words}”", words=words)


STATUS_WORDS: Words[str] = Words(
    {
        "queued": "waiting",
        "dispatched": "about to start",
        "running": "running",
        "succeeded": "finished",
        "failed": "failed",
        "cancelled": "cancelled",
    }
)

WINDOW_WORDS: Words[str] = Words({"day": "today", "week": "this week", "month": "this month"})  # of a quota

ENDED_WORDS = Words({"succeeded": "Done", "failed": "Failed", "cancelled": "Cancelled"})

KINDS: Words[str] = Words(
    {LoraKind.CHARACTER: "character", LoraKind.STYLE: "style", LoraKind.MOTION: "motion", LoraKind.EFFECT: "effect"},
)
KIND_ARTICLE: Words[str] = Words(
    {LoraKind.CHARACTER: "A character", LoraKind.STYLE: "A style", LoraKind.MOTION: "A motion", LoraKind.EFFECT: "An effect"},
)

PHASES = Words(
    {
        Phase.LOADING: "loading the model",
        Phase.PREPARING: "preparing the pictures",
        Phase.TRAINING: "training",
        Phase.DENOISING: "painting frames",
        Phase.ENCODING: "writing the video",
        Phase.SAVING: "saving",
    }
)
