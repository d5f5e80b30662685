"""What the end of a job means: status, ledger, LoRA, message; always together, in the caller's transaction."""

from __future__ import annotations

from aiosqlite import Connection

from bot.clock import Clock
from bot.services import captioning
from bot.services.posts import PostKind, nonce_for
from bot.services.quotas import Quotas, charge_for
from bot.storage import jobs as jobs_table
from bot.storage import library
from bot.storage import loras as loras_table
from bot.storage import outbox as outbox_table
from bot.storage.jobs import Ending, JobRecord
from engine.contracts.events import CheckpointSaved, Event, JobCancelled, JobFailed, JobStarted, JobSucceeded, PreviewReady
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.results import ItemsCaptioned, LoraTrained, VideoRendered
from engine.contracts.status import JobStatus


class Outcomes:
    """Applies events and endings. Applying one twice, or an old one late, changes nothing."""

    def __init__(self, quotas: Quotas, clock: Clock) -> None:
        self._quotas = quotas
        self._clock = clock

    async def apply(self, tx: Connection, event: Event) -> bool:
        """Apply one event of the stream.

        Returns:
            False when the event's worker acts on a job that is over here, and should be told to stop.
        """
        record = await jobs_table.get(tx, event.job_id)
        if record is None:
            return await captioning.applied(tx, event) or not isinstance(event, JobStarted)
        if record.status.terminal:
            return not isinstance(event, JobStarted)
        fresh = await jobs_table.accept_event(tx, event.job_id, event.attempt, event.seq)
        match event:
            case JobSucceeded():
                # a result is a result, whichever attempt brought it
                await self._succeed(tx, record, event)
            case JobCancelled():
                await self.cancel(tx, record, event.steps_done)
            case _ if not fresh:
                pass
            case JobStarted():
                await jobs_table.mark_running(
                    tx,
                    event.job_id,
                    worker_id=event.worker_id,
                    attempt=event.attempt,
                    total_steps=event.total_steps,
                    now=self._clock(),
                )
            case PreviewReady():
                await jobs_table.note_preview(tx, event.job_id, event.image)
            case CheckpointSaved():
                await jobs_table.note_steps(tx, event.job_id, event.step)
            case JobFailed():
                await self.fail(tx, record, event.code, event.detail, steps_done=event.steps_done)
        return True

    async def fail(self, tx: Connection, record: JobRecord, code: FailureCode, detail: str, *, steps_done: int = 0) -> None:
        """End without a result: everything is given back, the owner is told."""
        ending = Ending(JobStatus.FAILED, 0, self._clock(), steps_done, failure=code, failure_detail=detail)
        if await self._end(tx, record, ending):
            await loras_table.release_name(tx, record.job_id)
            await self._post(tx, record, PostKind.FAILED, code)

    async def cancel(self, tx: Connection, record: JobRecord, steps_done: int) -> None:
        """End because somebody asked: what ran is charged."""
        total = record.job.steps if isinstance(record.job, TrainLora) else record.total_steps
        charged = charge_for(record.units, steps_done, total)
        if await self._end(tx, record, Ending(JobStatus.CANCELLED, charged, self._clock(), steps_done)):
            await loras_table.release_name(tx, record.job_id)

    async def _succeed(self, tx: Connection, record: JobRecord, event: JobSucceeded) -> None:
        result = event.result
        if isinstance(result, ItemsCaptioned):
            raise TypeError(f"captions came as the result of a {record.job.kind}")
        charged = _charged(record, result)
        ending = Ending(JobStatus.SUCCEEDED, charged, self._clock(), record.total_steps, result=result)
        if not await self._end(tx, record, ending):
            return
        if isinstance(result, LoraTrained):
            await library.mark_ready(tx, record.job_id, result, self._clock())
        if isinstance(record.job, GenerateVideo):
            await loras_table.count_uses(tx, [use.lora_id for use in record.job.adapters])
        await self._post(tx, record, PostKind.RESULT, event.model_dump_json())

    async def _end(self, tx: Connection, record: JobRecord, ending: Ending) -> bool:
        if not await jobs_table.finish(tx, record.job_id, ending):
            return False
        await self._quotas.end(tx, record.job_id, ending.units_charged)
        return True

    async def _post(self, tx: Connection, record: JobRecord, kind: PostKind, payload: str) -> None:
        nonce = nonce_for(record.job_id, kind)
        await outbox_table.insert(tx, job_id=record.job_id, kind=kind, nonce=nonce, payload=payload, now=self._clock())


def _charged(record: JobRecord, result: LoraTrained | VideoRendered) -> int:
    """The price; of a training that stopped on a plateau, only the steps that ran."""
    selection = result.selection if isinstance(result, LoraTrained) else None
    if selection is None or not selection.stopped_early or not isinstance(record.job, TrainLora):
        return record.units
    return charge_for(record.units, selection.scores[-1].step, record.job.steps)
