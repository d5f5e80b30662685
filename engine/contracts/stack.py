"""Rules over a stack of LoRAs that the bot applies before it charges and the engine before it denoises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from engine.contracts.lora import LoraKind

MAX_TOTAL_WEIGHT = 4.0


class StackNote(StrEnum):
    """A weakness of a stack worth telling before it is rendered; it is rendered all the same."""

    TWO_CHARACTERS = "two_characters"  # features of one tend to show on the other
    TWO_STYLES = "two_styles"  # they blend


def senseless(weights: Sequence[float]) -> bool:
    """True for weights that add up to nothing, or to more than a base stays itself under. An empty stack is fine."""
    return bool(weights) and not 0.0 < sum(weights) <= MAX_TOTAL_WEIGHT


def notes_on(stack: Iterable[tuple[LoraKind, float]]) -> tuple[StackNote, ...]:
    """What to tell about the LoRAs of these kinds and weights used together."""
    active = [kind for kind, weight in stack if weight > 0.0]
    notes = ((LoraKind.CHARACTER, StackNote.TWO_CHARACTERS), (LoraKind.STYLE, StackNote.TWO_STYLES))
    return tuple(note for kind, note in notes if active.count(kind) > 1)
