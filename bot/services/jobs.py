"""Submitting, looking at and cancelling jobs."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiosqlite import Connection
from ulid import ULID

from bot.clock import Clock
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.queue import JobQueue, QueueUnavailableError
from bot.services import fleet
from bot.services.datasets import Datasets, check_startable
from bot.services.likenesses import Likenesses
from bot.services.line import Line
from bot.services.loras import Loras, first_visibility
from bot.services.outcomes import Outcomes
from bot.services.overview import JobView, Overview
from bot.services.plans import Plans
from bot.services.posts import nonce_for
from bot.services.prompt_rules import PromptRules, spoken
from bot.services.quotas import Quotas
from bot.services.uploads import Uploads
from bot.services.values import Actor, JobPlace
from bot.storage import cards as cards_table
from bot.storage import datasets as datasets_table
from bot.storage import jobs as table
from bot.storage import ledger
from bot.storage import likenesses as likenesses_table
from bot.storage import loras as loras_table
from bot.storage import privacy as privacy_table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord, NewJob
from bot.storage.loras import LoraRecord, LoraState
from engine.contracts.controls import Control
from engine.contracts.jobs import MAX_SEED, DatasetItem, GenerateVideo, TrainLora, lane_of
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained, VideoRendered
from engine.contracts.status import JobStatus
from engine.contracts.versions import version_needed
from engine.errors import StoreError
from engine.store import ObjectStore

__all__ = ["JobView", "Jobs", "SubmittedJob"]

logger = logging.getLogger(__name__)

Also = Callable[[Connection], Awaitable[None]]
"""What else belongs into the transaction of a submit."""


@dataclass(frozen=True)
class SubmittedJob:
    """The answer to a submit. `duplicate`: the same press had already made this job."""

    view: JobView
    duplicate: bool


@dataclass(frozen=True)
class Jobs:
    """Every method that takes a `job_id` refuses JOB_UNKNOWN."""

    settings: BotSettings
    database: Database
    queue: JobQueue
    store: ObjectStore
    clock: Clock
    quotas: Quotas
    loras: Loras
    datasets: Datasets
    uploads: Uploads
    outcomes: Outcomes
    rules: PromptRules
    likenesses: Likenesses
    overview: Overview
    plans: Plans
    line: Line

    async def submit(
        self,
        job: TrainLora | GenerateVideo,
        actor: Actor,
        place: JobPlace,
        interaction_id: int,
        units: int,
        also: Also | None = None,
    ) -> SubmittedJob:
        """Reserve units and insert the row in one transaction; `also` belongs into it. A press that made a job already gets that one.

        Raises:
            Refusal: TOO_MANY_JOBS, QUOTA_EXCEEDED, and those of `also`.
        """
        now = self.clock()
        async with self.database.transaction() as tx:
            record = await table.of_interaction(tx, interaction_id)
            duplicate = record is not None
            if record is None:
                await self._insert(tx, job, actor, place, interaction_id, units, now)
                if also is not None:
                    await also(tx)
                record = await self._record(job.job_id, tx)
        self.queue.stirred.set()
        return SubmittedJob(await self.overview.view(record), duplicate)

    async def submit_training(self, dataset_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Start a draft: reserve units, reserve the name, insert the row and close the draft in one transaction.

        Raises:
            Refusal: QUEUE_UNAVAILABLE, DATASET_UNKNOWN, NOT_OWNER, DATASET_CLOSED, DATASET_TOO_SMALL, DATASET_TEACHES_NOTHING, NAME_TAKEN,
                TOO_MANY_JOBS, QUOTA_EXCEEDED, PLAN_NEEDED, STORAGE_FULL.
        """
        earlier = await table.of_interaction(self.database.reader, interaction_id)
        if earlier is not None:
            return SubmittedJob(await self.overview.view(earlier), duplicate=True)
        dataset = await self.datasets.get(dataset_id, actor)
        items = await datasets_table.items(self.database.reader, dataset_id)
        guides = await datasets_table.guides(self.database.reader, dataset_id)
        check_startable(dataset, items)
        await self.datasets.freezing.require_room(actor)
        await self.queue.require()
        profile = self.settings.profile
        defaults = self.settings.training_defaults(dataset.kind)
        trigger = dataset.trigger
        job = TrainLora(
            job_id=str(ULID()),
            base=profile.name,
            lora_id=dataset.lora_id or str(ULID()),
            name=dataset.name,
            lora_kind=dataset.kind,
            trigger=trigger,
            items=tuple(
                DatasetItem(
                    media=item.media,
                    filename=item.filename,
                    caption=item.words,
                    guide=guides[item.filename].media if item.filename in guides else None,
                )
                for item in items
            ),
            control=Control(kind=dataset.control) if dataset.control is not None else None,
            rank=defaults.rank,
            steps=defaults.steps,
            learning_rate=defaults.learning_rate,
            batch_size=defaults.batch_size,
            width=defaults.width,
            height=defaults.height,
            seed=secrets.randbelow(MAX_SEED + 1),
            preview_prompt=trigger or dataset.name,
        )

        async def also(tx: Connection) -> None:
            current = await self.datasets.get(dataset_id, actor, tx)
            check_startable(current, await datasets_table.items(tx, dataset_id))
            if current.items != len(items):  # pictures arrived while the button was pressed
                raise Refusal(RefusalCode.DATASET_CLOSED, state=current.state)
            if dataset.lora_id is None:
                await self.datasets.refuse_taken(tx, actor, dataset.name)
                await loras_table.insert(tx, _reserved(job, actor, self.clock()))
            else:
                await self.loras.refuse_gone(tx, dataset.lora_id)
            await self.likenesses.require(tx, dataset_id)
            await likenesses_table.became(tx, dataset_id, job.lora_id)
            await datasets_table.mark_started(tx, dataset_id, job.job_id)

        units = self.datasets.units(dataset)
        return await self.submit(job, actor, place, interaction_id, units, also)

    async def cancel(self, job_id: str, actor: Actor) -> JobView:
        """Stop a job of `actor` (or, as an admin, of their server): at once while it waits, between two steps while it runs.

        The returned record is CANCELLED, or still open with `cancel_requested`; a request outlives any outage of Redis.

        Raises:
            Refusal: NOT_OWNER, JOB_OVER.
        """
        await self._allowed(job_id, actor)
        return await self.stop(job_id)

    async def stop(self, job_id: str) -> JobView:
        """`cancel` on nobody's order: a person leaves, a likeness is revoked.

        Raises:
            Refusal: JOB_OVER.
        """
        async with self.database.transaction() as tx:
            await table.request_cancel(tx, job_id)
            record = await self._record(job_id, tx)
            if record.status.terminal:
                raise Refusal(RefusalCode.JOB_OVER, status=record.status)
            if record.status is JobStatus.QUEUED:
                await self.outcomes.cancel(tx, record, record.steps_done)
        try:
            withdrawn = await self.queue.withdraw(record.job, record.pool)
            await self.queue.request_cancel(job_id)
        except QueueUnavailableError as error:
            logger.warning("cancel request kept until redis answers: %s", error, extra={"job_id": job_id})
            withdrawn = False
        if withdrawn and record.status is not JobStatus.QUEUED:
            await self._cancel_withdrawn(job_id)
        return await self.get(job_id)

    async def stop_all(self, job_ids: Sequence[str]) -> int:
        """`stop` for several; how many had not ended by themselves."""
        stopped = 0
        for job_id in job_ids:
            with contextlib.suppress(Refusal):
                await self.stop(job_id)
                stopped += 1
        return stopped

    async def _cancel_withdrawn(self, job_id: str) -> None:
        async with self.database.transaction() as tx:
            record = await self._record(job_id, tx)
            await self.outcomes.cancel(tx, record, record.steps_done)

    async def delete_result(self, job_id: str, actor: Actor) -> JobRecord:
        """Delete the clip of a finished job of `actor` (or, as an admin, of their server); the caller deletes the message.

        Of a training only the message goes: the LoRA and its pictures belong to the library. Deleting twice is deleting once.

        Raises:
            Refusal: NOT_OWNER, STORE_UNAVAILABLE.
        """
        record = await self._allowed(job_id, actor)
        async with self.database.transaction() as tx:
            if isinstance(record.result, LoraTrained):
                await table.forget_post(tx, job_id)
            else:
                await table.mark_deleted(tx, job_id)
        try:
            for obj in _disposable(record):
                await self.store.delete(obj.key)
        except StoreError:
            raise Refusal(RefusalCode.STORE_UNAVAILABLE) from None
        return record

    async def get(self, job_id: str) -> JobView:
        """A job with its position, ETA and progress."""
        return await self.overview.view(await self._record(job_id))

    async def mine(self, actor: Actor, *, limit: int = 10) -> list[JobView]:
        """Open jobs of `actor` first, then the latest finished ones."""
        return await self.overview.views(await table.of_owner(self.database.reader, actor.user_id, limit))

    async def views(self, job_ids: Sequence[str]) -> dict[str, JobView]:
        """Those jobs that exist."""
        views = await self.overview.views(await table.get_many(self.database.reader, job_ids))
        return {view.record.job_id: view for view in views}

    async def _insert(
        self, tx: Connection, job: TrainLora | GenerateVideo, actor: Actor, place: JobPlace, interaction_id: int, units: int, now: float
    ) -> None:
        limit = self.settings.max_open_jobs
        if (open_jobs := await table.count_open(tx, actor.user_id)) >= limit:
            raise Refusal(RefusalCode.TOO_MANY_JOBS, open=open_jobs, limit=limit)
        if isinstance(job, GenerateVideo):
            await self.loras.refuse_unusable(tx, job.adapters)
        await self.rules.check(spoken(job), place.guild_id)
        if await privacy_table.requested(tx, actor.user_id):
            raise Refusal(RefusalCode.BEING_FORGOTTEN)
        limits = await self.quotas.limits(actor)
        if limits.waiting is not None and (waiting := await table.count_waiting(tx, actor.user_id, actor.guild_id)) >= limits.waiting:
            raise Refusal(RefusalCode.TOO_MANY_JOBS, open=waiting, limit=limits.waiting, here=True)
        await self.quotas.reserve(tx, actor, job.job_id, units)
        route = await self.line.route(tx, job, place.guild_id)
        fleet.refuse_hopeless(self.queue.seen_workers, job, route.pool)
        standing = await self.plans.standing(place.guild_id, actor.user_id, tx)
        there = await self.line.place(
            tx,
            base=job.base,
            lane=lane_of(job),
            pool=route.pool,
            owner_id=actor.user_id,
            guild_id=place.guild_id,
            units=units,
            plan=standing.plan,
            now=now,
        )
        new = NewJob(
            job=job,
            owner_id=actor.user_id,
            owner_name=actor.display_name,
            guild_id=place.guild_id,
            channel_id=place.channel_id,
            interaction_id=interaction_id,
            units=units,
            created_at=now,
            plan=standing.plan,
            pool=route.pool,
            turn=there.turn,
            fair_due=there.due,
            fair_start=there.order,
            contract_version=version_needed(job),
            spill_at=route.spill_at,
            max_running=limits.running,
            adult_channel=actor.adult_place,
        )
        await table.insert(tx, new)
        await cards_table.insert(tx, job.job_id, nonce_for(job.job_id, "card"))
        await ledger.remember_user(tx, actor.user_id, actor.display_name, now)

    async def _record(self, job_id: str, db: Connection | None = None) -> JobRecord:
        record = await table.get(db or self.database.reader, job_id)
        if record is None:
            raise Refusal(RefusalCode.JOB_UNKNOWN)
        return record

    async def _allowed(self, job_id: str, actor: Actor) -> JobRecord:
        record = await self._record(job_id)
        if record.owner_id == actor.user_id or (actor.is_admin and record.guild_id is not None and record.guild_id == actor.guild_id):
            return record
        raise Refusal(RefusalCode.NOT_OWNER)


def _reserved(job: TrainLora, actor: Actor, now: float) -> LoraRecord:
    return LoraRecord(
        lora_id=job.lora_id,
        owner_id=actor.user_id,
        owner_name=actor.display_name,
        guild_id=actor.guild_id,
        name=job.name,
        kind=job.lora_kind,
        trigger=job.trigger,
        base=job.base,
        state=LoraState.TRAINING,
        job_id=job.job_id,
        file=None,
        preview=None,
        poster=None,
        loss_curve=None,
        manifest=None,
        uses=0,
        created_at=now,
        visibility=first_visibility(actor),
    )


def _disposable(record: JobRecord) -> list[StoredObject]:
    match record.result:
        case VideoRendered(file=file, poster=poster):
            return [obj for obj in (file, poster) if obj is not None]
        case _:
            return []
