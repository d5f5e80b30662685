"""Reports, and what is done about them: taking a result down takes down every identical copy, now and later."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiosqlite import Connection
from ulid import ULID

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.audit import Audit
from bot.services.takedowns import Takedowns
from bot.services.values import Actor
from bot.storage import jobs as jobs_table
from bot.storage import library as library_table
from bot.storage import reports as table
from bot.storage.database import Database
from bot.storage.jobs import JobRecord
from bot.storage.loras import Withheld
from bot.storage.reports import ReportReason, ReportRecord, ReportState
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained
from engine.errors import StoreError
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

MAX_NOTE_CHARS = 500
ANSWER_WITHIN_S = 48 * 3600.0
"""TAKE IT DOWN Act (US, 2025): notice and removal within 48 hours, known identical copies included."""


@dataclass(frozen=True)
class OpenReport:
    """A report with the job it is about."""

    report: ReportRecord
    record: JobRecord

    @property
    def due_at(self) -> float:
        """When it has to be answered."""
        return self.report.created_at + ANSWER_WITHIN_S


@dataclass(frozen=True)
class TakenDown:
    """What a takedown hit; `messages` (channel, message) are the caller's to delete."""

    record: JobRecord
    messages: tuple[tuple[int, int], ...]
    copies: int  # further results with the same content


@dataclass(frozen=True)
class Moderation:
    """Admins decide about their server, the operator about everything."""

    database: Database
    store: ObjectStore
    takedowns: Takedowns
    audit: Audit
    clock: Clock
    operators: frozenset[int]

    async def report(self, job_id: str, actor: Actor, reason: ReportReason, note: str) -> None:
        """Say that something is wrong with a result.

        Raises:
            Refusal: JOB_UNKNOWN, also for one of another server; REPORTED_ALREADY.
        """
        record = await self._seen(job_id, actor)
        report = ReportRecord(
            report_id=str(ULID()),
            job_id=record.job_id,
            guild_id=record.guild_id,
            reporter_id=actor.user_id,
            reason=reason,
            note=note.strip()[:MAX_NOTE_CHARS],
            state=ReportState.OPEN,
            created_at=self.clock(),
        )
        async with self.database.transaction() as tx:
            if not await table.insert(tx, report):
                raise Refusal(RefusalCode.REPORTED_ALREADY)

    async def job_of_message(self, message_id: int) -> str | None:
        """The job whose result, or status card, a message of ours shows."""
        return await jobs_table.of_message(self.database.reader, message_id)

    async def queue(self, actor: Actor, limit: int = 5) -> list[OpenReport]:
        """Open reports `actor` decides about, longest waiting first."""
        reports = await table.open_in(self.database.reader, self._scope(actor), limit)
        records = {record.job_id: record for record in await jobs_table.get_many(self.database.reader, [each.job_id for each in reports])}
        return [OpenReport(report, records[report.job_id]) for report in reports if report.job_id in records]

    async def dismiss(self, report_id: str, actor: Actor) -> None:
        """Nothing is wrong; closes every report on the job.

        Raises:
            Refusal: REPORT_UNKNOWN, also for one that is decided or of another server.
        """
        report = await self._open(report_id, actor)
        async with self.database.transaction() as tx:
            await table.decide(tx, report.job_id, ReportState.DISMISSED, actor.user_id, self.clock())
            await self.audit.note(tx, actor, "report_dismissed", f"job {report.job_id}: {report.reason}")

    async def uphold(self, report_id: str, actor: Actor) -> TakenDown:
        """The report is right: take the result down.

        Raises:
            Refusal: REPORT_UNKNOWN, STORE_UNAVAILABLE.
        """
        report = await self._open(report_id, actor)
        record = await jobs_table.get(self.database.reader, report.job_id)
        if record is None:
            raise Refusal(RefusalCode.REPORT_UNKNOWN)
        return await self.take_down(record, actor, report.reason)

    async def take_down(self, record: JobRecord, actor: Actor, reason: str) -> TakenDown:
        """Withhold what a job made, its LoRA if it made one, and every identical copy; nobody can upload, post or open it again.

        Raises:
            Refusal: STORE_UNAVAILABLE: it is withheld already, only its files are still there.
        """
        objects = await self._content(record)
        async with self.database.transaction() as tx:
            copies = await jobs_table.with_content(tx, [obj.sha256 for obj in objects])
            hit = [record, *(copy for copy in copies if copy.job_id != record.job_id)]
            await self.takedowns.add(tx, objects, reason)
            for each in hit:
                await jobs_table.withhold(tx, each.job_id, "takedown")
                if isinstance(each.result, LoraTrained):
                    await library_table.withhold(tx, each.result.lora_id, Withheld.TAKEDOWN)
            imported = await self._imported(tx, hit)
            for lora_id in imported:
                await library_table.withhold(tx, lora_id, Withheld.TAKEDOWN)
            await table.decide(tx, record.job_id, ReportState.UPHELD, actor.user_id, self.clock())
            await self.audit.note(tx, actor, "taken_down", f"job {record.job_id}: {reason}")
        try:
            for each in hit:
                for obj in _files(each):
                    await self.store.delete(obj.key)
        except StoreError:
            raise Refusal(RefusalCode.STORE_UNAVAILABLE) from None
        posted = [(each.posted_channel_id, each.posted_message_id) for each in hit]
        messages = tuple((channel, message) for channel, message in posted if channel is not None and message is not None)
        return TakenDown(record, messages, len(hit) - 1 + len(imported))

    async def _imported(self, tx: Connection, hit: Sequence[JobRecord]) -> set[str]:
        """Copies of the LoRAs these jobs made."""
        trained = [each.result.lora_id for each in hit if isinstance(each.result, LoraTrained)]
        return {copied for lora_id in trained for copied in await library_table.copies(tx, lora_id)} - set(trained)

    async def _content(self, record: JobRecord) -> list[StoredObject]:
        """What may not come back: the files, and of a LoRA also the set it was trained on, which every new training would name."""
        objects = _files(record)
        if isinstance(record.result, LoraTrained):
            for version in await library_table.versions(self.database.reader, record.result.lora_id):
                objects += [version.file, version.file.model_copy(update={"sha256": version.manifest.data_sha256})]
        return objects

    async def _seen(self, job_id: str, actor: Actor) -> JobRecord:
        record = await jobs_table.get(self.database.reader, job_id.strip())
        operator = actor.user_id in self.operators
        if record is None or record.result is None or not (operator or record.guild_id == actor.guild_id):
            raise Refusal(RefusalCode.JOB_UNKNOWN)
        return record

    async def _open(self, report_id: str, actor: Actor) -> ReportRecord:
        report = await table.get(self.database.reader, report_id)
        scope = self._scope(actor)
        if report is None or report.state is not ReportState.OPEN or (scope is not None and report.guild_id != scope):
            raise Refusal(RefusalCode.REPORT_UNKNOWN)
        return report

    def _scope(self, actor: Actor) -> int | None:
        """The server an admin decides about; None for the operator's everything."""
        if actor.user_id in self.operators:
            return None
        return actor.guild_id or -1


def _files(record: JobRecord) -> list[StoredObject]:
    match record.result:
        case LoraTrained(file=file, preview=preview, poster=poster, loss_curve=loss_curve):
            found: Sequence[StoredObject | None] = (file, preview, poster, loss_curve)
        case None:
            found = ()
        case result:
            found = (result.file, result.poster)
    return [obj for obj in found if obj is not None]
