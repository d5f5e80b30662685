"""Names, visibility and stacks of LoRAs."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiosqlite import Connection

from bot.errors import Refusal, RefusalCode
from bot.services.shelf import Choice, Shelf
from bot.services.values import Actor
from bot.storage import casts
from bot.storage import loras as table
from bot.storage.database import Database
from bot.storage.loras import LoraRecord, LoraState, Visibility
from engine.contracts.lora import MAX_STACK, MAX_WEIGHT, AdapterUse

Lora = LoraRecord

CAST_MARK = "@"
"""In front of the name of a saved stack."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,15}")
_TRIGGER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,31}")


@dataclass(frozen=True)
class StackEntry:
    """One entry of `hero:0.9,watercolour` as typed."""

    name: str
    weight: float
    weighed: bool = True  # False: nobody said a weight, this is 1


def parse_name(text: str) -> str:
    """A name a LoRA may have: 2 to 16 characters, small letters, digits, `-` and `_`; capitals are made small.

    Raises:
        Refusal: NAME_INVALID.
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise Refusal(RefusalCode.NAME_INVALID, name=text.strip())
    return name


def parse_trigger(text: str | None) -> str | None:
    """A trigger word as typed, or None for none.

    Raises:
        Refusal: TRIGGER_INVALID.
    """
    trigger = (text or "").strip()
    if trigger and not _TRIGGER.fullmatch(trigger):
        raise Refusal(RefusalCode.TRIGGER_INVALID, trigger=trigger)
    return trigger or None


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
    return StackEntry(name=name.lower(), weight=_weight(name.lower(), weight) if separator else 1.0, weighed=bool(separator))


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
    """Visible to somebody: their own everywhere, those of the server they are in, and public ones."""

    def __init__(self, database: Database, base: str) -> None:
        self._database = database
        self._base = base
        self._shelf = Shelf(database)

    async def resolve(self, stack: Sequence[StackEntry], actor: Actor, base: str) -> tuple[AdapterUse, ...]:
        """The files behind a stack, as they are now; `@name` stands for a saved stack.

        Raises:
            Refusal: LORA_UNKNOWN (with the nearest names), LORA_NOT_READY, LORA_OTHER_BASE, LORA_WITHHELD, CAST_UNKNOWN, CAST_EMPTY,
                LORA_DUPLICATE, STACK_TOO_LARGE.
        """
        uses = []
        for entry in stack:
            if entry.name.startswith(CAST_MARK):
                uses += await self._cast(entry, actor, base)
            else:
                lora = await table.named(self._database.reader, entry.name, actor.user_id, actor.guild_id)
                if lora is None:
                    raise await self._unknown(entry.name, actor, base)
                uses.append(_use(lora, entry.weight, base))
        if len(uses) > MAX_STACK:
            raise Refusal(RefusalCode.STACK_TOO_LARGE, count=len(uses), limit=MAX_STACK)
        ids = [use.lora_id for use in uses]
        for use in uses:
            if ids.count(use.lora_id) > 1:
                raise Refusal(RefusalCode.LORA_DUPLICATE, name=use.name)
        return tuple(uses)

    async def again(self, uses: Sequence[AdapterUse], actor: Actor, base: str) -> tuple[AdapterUse, ...]:
        """The same LoRAs in their present version, whatever their names are now.

        Raises:
            Refusal: as `resolve`.
        """
        found = await table.get_many(self._database.reader, [use.lora_id for use in uses])
        renewed = []
        for use in uses:
            lora = found.get(use.lora_id)
            if lora is None or not sees(actor, lora):  # perhaps made anew under its old name
                lora = await self.named(use.name, actor)
            renewed.append(_use(lora, use.weight, base))
        return tuple(renewed)

    async def _cast(self, entry: StackEntry, actor: Actor, base: str) -> list[AdapterUse]:
        cast = await casts.named(self._database.reader, entry.name.removeprefix(CAST_MARK), actor.user_id, actor.guild_id)
        if cast is None:
            raise Refusal(RefusalCode.CAST_UNKNOWN, name=entry.name)
        members = await table.get_many(self._database.reader, [lora_id for lora_id, _ in cast.members])
        # a member that this person may not see is left out, as if it had never been in it
        found = [(members[lora_id], weight) for lora_id, weight in cast.members if lora_id in members and sees(actor, members[lora_id])]
        if not found:
            raise Refusal(RefusalCode.CAST_EMPTY, name=entry.name)
        return [_use(lora, min(MAX_WEIGHT, round(weight * entry.weight, 3)), base) for lora, weight in found]

    async def _unknown(self, name: str, actor: Actor, base: str) -> Refusal:
        names = [offer.name for offer in await self._shelf.seen(actor) if offer.base == base]
        return Refusal(RefusalCode.LORA_UNKNOWN, name=name, nearest=difflib.get_close_matches(name, names, n=3, cutoff=0.4))

    async def named(self, name: str, actor: Actor) -> Lora:
        """The LoRA that `name` means here.

        Raises:
            Refusal: LORA_UNKNOWN, also for one that `actor` may not see.
        """
        lora = await table.named(self._database.reader, name.strip().lower(), actor.user_id, actor.guild_id)
        if lora is None:
            raise await self._unknown(name.strip().lower(), actor, self._base)
        return lora

    async def get(self, lora_id: str, actor: Actor) -> Lora:
        """One LoRA by id.

        Raises:
            Refusal: LORA_UNKNOWN, also for one that `actor` may not see.
        """
        lora = await table.get(self._database.reader, lora_id)
        if lora is None or not sees(actor, lora):
            raise Refusal(RefusalCode.LORA_GONE)
        return lora

    async def of_training(self, lora_id: str) -> Lora | None:
        """The LoRA a training made, under the name it has now; for those who may see the training."""
        return await table.get(self._database.reader, lora_id)

    async def refuse_unusable(self, tx: Connection, uses: Sequence[AdapterUse]) -> None:
        """Inside the transaction of a submit: nothing was deleted, revoked or taken down since the stack was resolved.

        Raises:
            Refusal: LORA_UNKNOWN.
        """
        if gone := await table.unusable(tx, [use.lora_id for use in uses]):
            name = next(use.name for use in uses if use.lora_id == gone[0])
            raise Refusal(RefusalCode.LORA_UNKNOWN, name=name, nearest=[])

    async def refuse_gone(self, tx: Connection, lora_id: str) -> None:
        """Inside the transaction that starts a new version: its LoRA is still there.

        Raises:
            Refusal: LORA_GONE.
        """
        lora = await table.get(tx, lora_id)
        if lora is None or lora.state is not LoraState.READY:
            raise Refusal(RefusalCode.LORA_GONE)

    async def complete(self, text: str, actor: Actor) -> list[Choice]:
        """At most 25 ways to go on with the comma list `text`; from memory."""
        return await self._shelf.complete(text, actor)

    async def complete_name(self, text: str, actor: Actor) -> list[Choice]:
        """At most 25 single LoRAs for `text`; from memory."""
        return await self._shelf.names(text, actor)

    async def makers(self, uses: Sequence[AdapterUse], but: int) -> tuple[int, ...]:
        """Who made these LoRAs, in order, without the person `but`."""
        found = await table.get_many(self._database.reader, [use.lora_id for use in uses])
        owners = [found[use.lora_id].owner_id for use in uses if use.lora_id in found]
        return tuple(dict.fromkeys(owner for owner in owners if owner != but))


def _use(lora: Lora, weight: float, base: str) -> AdapterUse:
    if lora.withheld is not None:
        raise Refusal(RefusalCode.LORA_WITHHELD, name=lora.name, reason=lora.withheld)
    if lora.frozen_at is not None:
        raise Refusal(RefusalCode.LORA_FROZEN, name=lora.name)
    if lora.base != base:
        raise Refusal(RefusalCode.LORA_OTHER_BASE, name=lora.name, base=lora.base, wanted=base)
    if lora.file is None:
        raise Refusal(RefusalCode.LORA_NOT_READY, name=lora.name)
    return AdapterUse(lora_id=lora.lora_id, name=lora.name, kind=lora.kind, trigger=lora.trigger, file=lora.file, weight=weight)


def first_visibility(actor: Actor) -> Visibility:
    """Who sees a new LoRA of `actor`: the server it is made in, if any."""
    return Visibility.PRIVATE if actor.guild_id is None else Visibility.SERVER


async def refuse_taken(db: Connection, actor: Actor, name: str, visibility: Visibility, *, lora_id: str = "") -> None:
    """Return when a LoRA of `actor` (a new one, or `lora_id`) may have this name and visibility.

    Raises:
        Refusal: NAME_TAKEN. A private LoRA of somebody else is never in the way, so nobody learns of it.
    """
    lora = await table.taken(db, name, actor.user_id, actor.guild_id, visibility, lora_id)
    if lora is not None:
        training = lora.state is LoraState.TRAINING
        raise Refusal(RefusalCode.NAME_TAKEN, name=name, by_self=lora.owner_id == actor.user_id, training=training)


def sees(actor: Actor, lora: Lora) -> bool:
    """True when `actor` may know that `lora` exists."""
    if lora.state is LoraState.GONE:
        return False
    in_server = lora.guild_id is not None and lora.guild_id == actor.guild_id and lora.visibility is not Visibility.PRIVATE
    return lora.owner_id == actor.user_id or in_server or lora.visibility is Visibility.PUBLIC
