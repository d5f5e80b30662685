"""Real people in trainings: asked before, free to withdraw afterwards, and then their LoRA loads nowhere, at once."""

from __future__ import annotations

from dataclasses import dataclass

from aiosqlite import Connection

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.audit import Audit
from bot.services.values import Actor
from bot.storage import library as library_table
from bot.storage import likenesses as table
from bot.storage import loras as loras_table
from bot.storage.database import Database
from bot.storage.datasets import DatasetRecord
from bot.storage.likenesses import Consent, Likeness
from bot.storage.loras import LoraRecord, Withheld

__all__ = ["Consent", "Likeness", "Likenesses"]

LISTED = 10


@dataclass(frozen=True)
class Withdrawn:
    """What a withdrawal touched; `job_ids` are open jobs that load the LoRA, or train it, for the caller to stop."""

    likeness: Likeness
    job_ids: tuple[str, ...]


@dataclass(frozen=True)
class Likenesses:
    """Whoever shows themselves has agreed by saying so; everybody else is asked."""

    database: Database
    audit: Audit
    clock: Clock

    async def state_of(self, tx: Connection, dataset: DatasetRecord, person_id: int | None) -> None:
        """Note, with a new data set, whom it shows."""
        if person_id is not None:
            state = Consent.GRANTED if person_id == dataset.owner_id else Consent.STATED
            await table.put(
                tx, dataset_id=dataset.dataset_id, person_id=person_id, owner_id=dataset.owner_id, state=state, now=self.clock()
            )

    async def require(self, db: Connection, dataset_id: str) -> None:
        """Return when a data set may be trained.

        Raises:
            Refusal: CONSENT_NEEDED.
        """
        likeness = await table.get(db, dataset_id)
        if likeness is not None and likeness.state is not Consent.GRANTED:
            raise Refusal(RefusalCode.CONSENT_NEEDED, person_id=likeness.person_id)

    async def question(self, dataset_id: str) -> Likeness | None:
        """What has to be asked before a data set is trained; None when there is nothing to ask, or it was asked already."""
        likeness = await table.get(self.database.reader, dataset_id)
        return likeness if likeness is not None and likeness.state is Consent.STATED else None

    async def asked(self, dataset_id: str) -> None:
        """The question stands in a channel."""
        async with self.database.transaction() as tx:
            await table.decide(tx, dataset_id, Consent.ASKED, self.clock())

    async def showing(self, actor: Actor) -> list[Likeness]:
        """What shows `actor`, newest first."""
        return await table.of_person(self.database.reader, actor.user_id, LISTED)

    async def grant(self, dataset_id: str, actor: Actor) -> Likeness:
        """The person agrees, for the first time or again.

        Raises:
            Refusal: CONSENT_UNKNOWN for everybody else.
        """
        likeness = await self._mine(dataset_id, actor)
        async with self.database.transaction() as tx:
            await table.decide(tx, dataset_id, Consent.GRANTED, self.clock())
            for lora in await self._with_copies(tx, likeness.lora_id):
                agreed = all(each.state is Consent.GRANTED for each in await table.of_lora(tx, lora.lora_id))
                if agreed and lora.withheld is Withheld.LIKENESS:  # a takedown is not the person's to lift
                    await library_table.withhold(tx, lora.lora_id, None)
            await self.audit.note(tx, actor, "likeness_granted", likeness.name)
        return likeness

    async def revoke(self, dataset_id: str, actor: Actor) -> Withdrawn:
        """The person does not agree, or no longer: from this moment no job loads the LoRA, nor a copy of it.

        Raises:
            Refusal: CONSENT_UNKNOWN for everybody else.
        """
        likeness = await self._mine(dataset_id, actor)
        job_ids: list[str] = []
        async with self.database.transaction() as tx:
            await table.decide(tx, dataset_id, Consent.REVOKED, self.clock())
            for lora in await self._with_copies(tx, likeness.lora_id):
                if lora.withheld is None:
                    await library_table.withhold(tx, lora.lora_id, Withheld.LIKENESS)
                job_ids += await library_table.open_jobs_using(tx, lora.lora_id)
                job_ids += await library_table.open_trainings_of(tx, lora.lora_id)
            await self.audit.note(tx, actor, "likeness_revoked", likeness.name)
        return Withdrawn(likeness, tuple(dict.fromkeys(job_ids)))

    async def _with_copies(self, tx: Connection, lora_id: str | None) -> list[LoraRecord]:
        """A LoRA and its copies; nothing for a data set whose training was never started."""
        ids = [] if lora_id is None else [lora_id, *await library_table.copies(tx, lora_id)]
        return list((await loras_table.get_many(tx, ids)).values())

    async def _mine(self, dataset_id: str, actor: Actor) -> Likeness:
        likeness = await table.get(self.database.reader, dataset_id)
        if likeness is None or likeness.person_id != actor.user_id:
            raise Refusal(RefusalCode.CONSENT_UNKNOWN)
        return likeness
