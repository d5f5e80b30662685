"""Autocomplete of LoRA lists from memory: read again only when the table changed, so 10,000 LoRAs cost nothing per key stroke."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from bot.services.values import Actor
from bot.storage import loras as table
from bot.storage.database import Database
from bot.storage.loras import Offer, Visibility
from engine.contracts.lora import MAX_STACK, LoraKind

MAX_CHOICES = 25
MAX_CHOICE_CHARS = 100
OFFERED_WEIGHTS = ("1", "0.8", "0.6", "0.4", "1.2")


@dataclass(frozen=True)
class Choice:
    """A LoRA to choose: what its choice stands for, and its kind."""

    value: str
    kind: LoraKind


@dataclass(frozen=True)
class _Contents:
    """Offers by who sees them, each list by name."""

    by_owner: dict[int, list[Offer]] = field(default_factory=dict)
    by_guild: dict[int, list[Offer]] = field(default_factory=dict)
    public: list[Offer] = field(default_factory=list)

    @classmethod
    def of(cls, offers: Iterable[Offer]) -> _Contents:
        contents = cls()
        for offer in offers:
            contents.by_owner.setdefault(offer.owner_id, []).append(offer)
            if offer.visibility is not Visibility.PRIVATE and offer.guild_id is not None:
                contents.by_guild.setdefault(offer.guild_id, []).append(offer)
            if offer.visibility is Visibility.PUBLIC:
                contents.public.append(offer)
        return contents

    def seen_by(self, actor: Actor) -> Iterator[Offer]:
        """Own ones, then the server's, then public ones; of several with one name only the first is meant by it."""
        server = self.by_guild.get(actor.guild_id, []) if actor.guild_id is not None else []
        return chain(self.by_owner.get(actor.user_id, []), server, self.public)


class Shelf:
    """What somebody may choose from."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._contents = _Contents()
        self._changes = -1

    async def seen(self, actor: Actor) -> Iterator[Offer]:
        """Everything `actor` can use, each name once."""
        changes = await table.changes(self._database.reader)
        if changes != self._changes:
            self._contents, self._changes = _Contents.of(await table.offers(self._database.reader)), changes
        return _first_of_each_name(self._contents.seen_by(actor))

    async def names(self, text: str, actor: Actor) -> list[Choice]:
        """At most 25 single LoRAs whose name has `text` in it, those that begin with it first."""
        found = _matching(await self.seen(actor), text.strip().lower())
        return [Choice(offer.name, offer.kind) for offer in islice(found, MAX_CHOICES)]

    async def complete(self, text: str, actor: Actor) -> list[Choice]:
        """At most 25 ways to go on with a comma list; each value is the whole list so far with one more name."""
        typed = [part.strip() for part in text.split(",")]
        done, last = [part for part in typed[:-1] if part], typed[-1].lower()
        if len(done) >= MAX_STACK:
            return []
        used = {part.partition(":")[0].strip().lower() for part in done}
        name, separator, _ = last.partition(":")
        offers = (offer for offer in await self.seen(actor) if offer.name not in used)
        if separator:
            endings: Iterable[tuple[str, Offer]] = (
                (f"{offer.name}:{weight}", offer) for offer in offers if offer.name == name.strip() for weight in OFFERED_WEIGHTS
            )
        else:
            endings = ((offer.name, offer) for offer in _matching(offers, last))
        values = ((", ".join([*done, ending]), offer) for ending, offer in endings)
        fitting = (Choice(value, offer.kind) for value, offer in values if len(value) <= MAX_CHOICE_CHARS)
        return list(islice(fitting, MAX_CHOICES))


def _first_of_each_name(offers: Iterable[Offer]) -> Iterator[Offer]:
    names: set[str] = set()
    for offer in offers:
        if offer.name not in names:
            names.add(offer.name)
            yield offer


def _matching(offers: Iterable[Offer], text: str) -> Iterator[Offer]:
    later = []
    for offer in offers:
        if offer.name.startswith(text):
            yield offer
        elif text in offer.name:
            later.append(offer)
    yield from later
