"""Names, visibility and stacks of LoRAs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.services.values import Actor
from bot.storage.loras import LoraRecord
from engine.contracts.lora import AdapterUse

Lora = LoraRecord


@dataclass(frozen=True)
class StackEntry:
    """One entry of `hero:0.9,watercolour` as typed."""

    name: str
    weight: float


@dataclass(frozen=True)
class Choice:
    """An autocomplete choice: at most 100 characters each."""

    label: str
    value: str


def parse_stack(text: str) -> list[StackEntry]:
    """The entries of a comma list; a missing weight is 1. An empty text is an empty list.

    Raises:
        Refusal: STACK_SYNTAX, WEIGHT_INVALID, WEIGHT_OUT_OF_RANGE, LORA_DUPLICATE, STACK_TOO_LARGE.
    """
    raise NotImplementedError


class Loras:
    """Visible to somebody: their own everywhere, and every one trained in the server they are in."""

    async def resolve(self, stack: Sequence[StackEntry], actor: Actor, base: str) -> tuple[AdapterUse, ...]:
        """The files behind a stack, as they are now.

        Raises:
            Refusal: LORA_UNKNOWN (with the nearest names), LORA_NOT_READY, LORA_OTHER_BASE.
        """
        raise NotImplementedError

    async def visible(self, actor: Actor) -> list[Lora]:
        """Every LoRA `actor` may use or is training, newest first."""
        raise NotImplementedError

    async def get(self, lora_id: str, actor: Actor) -> Lora:
        """One LoRA by id.

        Raises:
            Refusal: LORA_UNKNOWN, also for one that `actor` may not see.
        """
        raise NotImplementedError

    async def complete(self, text: str, actor: Actor) -> list[Choice]:
        """At most 25 ways to go on with `text`; each value is the whole list so far with one more name. Answers from memory."""
        raise NotImplementedError
