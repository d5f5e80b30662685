"""Names, visibility and stacks of LoRAs."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import Refusal, RefusalCode
from bot.services.values import Actor
from bot.storage import loras as table
from bot.storage.database import Database
from bot.storage.loras import LoraRecord, LoraState
from engine.contracts.lora import MAX_STACK, MAX_WEIGHT, AdapterUse

Lora = LoraRecord

MAX_CHOICES = 25
MAX_CHOICE_CHARS = 100
OFFERED_WEIGHTS = ("1", "0.8", "0.6", "0.4", "1.2")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,15}")


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


def parse_name(text: str) -> str:
    """A name a LoRA may have: 2 to 16 characters, small letters, digits, `-` and `_`; capitals are made small.

    Raises:
        Refusal: NAME_INVALID.
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise Refusal(RefusalCode.NAME_INVALID, name=text.strip())
    return name


def parse_stack(text: str) -> list[StackEntry]:
    """The entries of a comma list; a missing weight is 1. An empty text is an empty list.

    Raises:
        Refusal: STACK_SYNTAX, WEIGHT_INVALID, WEIGHT_OUT_OF_RANGE, LORA_DUPLICATE, STACK_TOO_LARGE.
    """
    entries = [_entry(part.strip()) for part in text.split(",") if part.strip()]
    if len(entries) > MAX_STACK:
        raise Refusal(RefusalCode.STACK_TOO_LARGE, count=len(entries), limit=MAX_STACK)
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise Refusal(RefusalCode.LORA_DUPLICATE, name=entry.name)
        seen.add(entry.name)
    return entries


def _entry(part: str) -> StackEntry:
    name, separator, weight = (piece.strip() for piece in part.partition(":"))
    if not name:
        raise Refusal(RefusalCode.STACK_SYNTAX, text=part)
    return StackEntry(name=name.lower(), weight=_weight(name.lower(), weight) if separator else 1.0)


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    # float() also reads 1_0, inf and nan: none of them is a weight a person means
    if not math.isfinite(weight) or "_" in text:
        raise Refusal(RefusalCode.WEIGHT_INVALID, name=name, text=text)
    if not 0.0 <= weight <= MAX_WEIGHT:
        raise Refusal(RefusalCode.WEIGHT_OUT_OF_RANGE, name=name, text=text, limit=MAX_WEIGHT)
    return weight


class Loras:
    """Visible to somebody: their own everywhere, and every one trained in the server they are in."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: list[Lora] = []
        self._cached_version = -1
        self._version = 0

    def forget(self) -> None:
        """Something changed in the table; the next autocomplete reads it again."""
        self._version += 1

    async def resolve(self, stack: Sequence[StackEntry], actor: Actor, base: str) -> tuple[AdapterUse, ...]:
        """The files behind a stack, as they are now.

        Raises:
            Refusal: LORA_UNKNOWN (with the nearest names), LORA_NOT_READY, LORA_OTHER_BASE.
        """
        return tuple([await self._use(entry, actor, base) for entry in stack])

    async def _use(self, entry: StackEntry, actor: Actor, base: str) -> AdapterUse:
        lora = await table.named(self._database.reader, entry.name, actor.user_id, actor.guild_id)
        if lora is None:
            names = [other.name for other in await self.visible(actor) if other.state is LoraState.READY and other.base == base]
            nearest = difflib.get_close_matches(entry.name, names, n=3, cutoff=0.4)
            raise Refusal(RefusalCode.LORA_UNKNOWN, name=entry.name, nearest=nearest)
        if lora.base != base:
            raise Refusal(RefusalCode.LORA_OTHER_BASE, name=entry.name, base=lora.base, wanted=base)
        if lora.file is None:
            raise Refusal(RefusalCode.LORA_NOT_READY, name=entry.name)
        return AdapterUse(lora_id=lora.lora_id, name=lora.name, kind=lora.kind, trigger=lora.trigger, file=lora.file, weight=entry.weight)

    async def visible(self, actor: Actor) -> list[Lora]:
        """Every LoRA `actor` may use or is training, newest first."""
        return await table.visible(self._database.reader, actor.user_id, actor.guild_id)

    async def get(self, lora_id: str, actor: Actor) -> Lora:
        """One LoRA by id.

        Raises:
            Refusal: LORA_UNKNOWN, also for one that `actor` may not see.
        """
        lora = await table.get(self._database.reader, lora_id)
        if lora is None or lora.state is LoraState.GONE or not _sees(actor, lora):
            raise Refusal(RefusalCode.LORA_UNKNOWN, name=lora_id, nearest=[])
        return lora

    async def complete(self, text: str, actor: Actor) -> list[Choice]:
        """At most 25 ways to go on with `text`; each value is the whole list so far with one more name. Answers from memory."""
        if self._cached_version != self._version:
            version = self._version
            self._cache, self._cached_version = await table.ready(self._database.reader), version
        typed = [part.strip() for part in text.split(",")]
        done, last = [part for part in typed[:-1] if part], typed[-1].lower()
        if len(done) >= MAX_STACK:
            return []
        taken = {part.partition(":")[0].strip().lower() for part in done}
        usable = [lora for lora in self._cache if _sees(actor, lora) and lora.name not in taken]
        # a name means one's own LoRA before the server's
        mine = {lora.name: lora for lora in sorted(usable, key=lambda lora: lora.owner_id == actor.user_id)}
        name, separator, _ = last.partition(":")
        if separator:
            lora = mine.get(name.strip())
            endings = [(f"{lora.name}:{weight}", lora) for weight in OFFERED_WEIGHTS] if lora else []
        else:
            ranked = sorted(mine.values(), key=lambda lora: (not lora.name.startswith(last), lora.name))
            endings = [(lora.name, lora) for lora in ranked if last in lora.name]
        values = [(", ".join([*done, ending]), lora) for ending, lora in endings]
        return [Choice(label=_label(value, lora), value=value) for value, lora in values if len(value) <= MAX_CHOICE_CHARS][:MAX_CHOICES]


def _sees(actor: Actor, lora: Lora) -> bool:
    return lora.owner_id == actor.user_id or (lora.guild_id is not None and lora.guild_id == actor.guild_id)


def _label(value: str, lora: Lora) -> str:
    label = f"{value} ({lora.kind})"
    return label if len(label) <= MAX_CHOICE_CHARS else value
