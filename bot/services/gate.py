"""The gate every command, button, form and autocomplete goes through: gathers what its rule asks about and applies it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiosqlite import Connection

from bot.config import BotSettings
from bot.errors import RefusalCode
from bot.services.plans import Plans, Standing
from bot.services.policy import POLICY, Situation, Subject, Who, verdict
from bot.services.servers import Servers, ServerSettings
from bot.services.terms import Terms
from bot.services.values import Actor
from bot.storage import blocks, datasets, jobs, loras
from bot.storage.blocks import Block
from bot.storage.database import Database


@dataclass(frozen=True)
class SubjectKind:
    """How the owner and server of what a button acts on are found, and what is said when it is not there."""

    lookup: Callable[[Connection, str], Awaitable[tuple[int, int | None] | None]]
    unknown: RefusalCode


SUBJECTS: Mapping[str, SubjectKind] = {
    "job": SubjectKind(jobs.belongs_to, RefusalCode.JOB_UNKNOWN),
    "set": SubjectKind(datasets.belongs_to, RefusalCode.DATASET_UNKNOWN),
    "lora": SubjectKind(loras.belongs_to, RefusalCode.LORA_GONE),
    "version": SubjectKind(loras.belongs_to, RefusalCode.LORA_GONE),
}
"""By the first part of a button's `custom_id`."""

FORM_SUBJECTS: Mapping[str, str] = {"form:files": "set", "form:captions": "set", "form:edit": "lora", "form:report": "job"}
"""Forms act on the subject of the button that opened them."""


class Facts(Protocol):
    """What the gate asks of storage."""

    async def block(self, guild_id: int | None, user_id: int) -> Block | None:
        """The block that holds for a person here."""

    async def settings(self, guild_id: int | None) -> ServerSettings:
        """The server's settings."""

    async def standing(self, guild_id: int | None, user_id: int) -> Standing:
        """The plan of a person here."""

    async def subject(self, target: str, subject_id: str) -> Subject | None:
        """Whose it is."""

    async def require_terms(self, actor: Actor) -> None:
        """Refuse TERMS_NEEDED to somebody who has not agreed to the terms."""


@dataclass(frozen=True)
class StoredFacts:
    """Facts as SQLite has them."""

    database: Database
    servers: Servers
    plans: Plans
    terms: Terms

    async def require_terms(self, actor: Actor) -> None:
        """Refuse TERMS_NEEDED to somebody who has not agreed to the terms."""
        await self.terms.require(actor)

    async def block(self, guild_id: int | None, user_id: int) -> Block | None:
        """The block that holds for a person here."""
        return await blocks.find(self.database.reader, guild_id, user_id)

    async def settings(self, guild_id: int | None) -> ServerSettings:
        """The server's settings."""
        return await self.servers.get(guild_id)

    async def standing(self, guild_id: int | None, user_id: int) -> Standing:
        """The plan of a person here."""
        return await self.plans.standing(guild_id, user_id)

    async def subject(self, target: str, subject_id: str) -> Subject | None:
        """Whose it is."""
        found = await SUBJECTS[target].lookup(self.database.reader, subject_id)
        return None if found is None else Subject(*found)


@dataclass(frozen=True)
class Gate:
    """`check` before anything else happens. Services may check again what only they can know."""

    config: BotSettings
    facts: Facts

    async def check(self, action: str, actor: Actor, channels: tuple[int, ...], subject_id: str | None = None) -> None:
        """Return when `actor` may do `action` here.

        Raises:
            Refusal: BLOCKED, CHANNEL_CLOSED, ROLE_NEEDED, NOT_ADMIN, NOT_OPERATOR, NOT_OWNER, NOT_IN_GUILD, PLAN_NEEDED, TERMS_NEEDED,
                or that the subject is not known.
        """
        rule = POLICY[action]
        target = FORM_SUBJECTS.get(action, action.partition(":")[0])
        owned = rule.who in (Who.OWNER, Who.OWNER_OR_ADMIN) and subject_id is not None
        situation = Situation(
            actor=actor,
            channels=channels,
            settings=await self.facts.settings(actor.guild_id),
            block=await self.facts.block(actor.guild_id, actor.user_id),
            standing=await self.facts.standing(actor.guild_id, actor.user_id) if rule.feature is not None else None,
            subject=await self.facts.subject(target, subject_id) if owned and subject_id is not None else None,
            unknown=SUBJECTS[target].unknown if target in SUBJECTS else RefusalCode.JOB_UNKNOWN,
            operator=actor.user_id in self.config.operator_ids,
        )
        refusal = verdict(rule, situation)
        if refusal is not None:
            raise refusal
        if rule.agreed:
            await self.facts.require_terms(actor)
