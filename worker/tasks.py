"""One claimed job from its JSON to its ending: fetch inputs, let the child work, store results, decide what becomes of the job."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from engine.contracts import objects
from engine.contracts.events import JobSucceeded, Phase, Progress
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import WORK_ADAPTER, CaptionItems, GenerateVideo, TrainLora
from engine.contracts.model import JobId, StoredObject
from engine.contracts.results import ItemsCaptioned, LoraTrained, VideoRendered
from engine.contracts.selection import KeptCheckpoint
from engine.errors import AdapterMissingError, ObjectMissingError, StoreError
from engine.store import ObjectStore
from worker import pipe
from worker.config import WorkerSettings
from worker.connection import OUTAGE, patiently, stop_tasks
from worker.events import Reporter
from worker.failures import ChildDiedError, code_of, describe, is_disk_trouble
from worker.files import Checkpoints, Scratch
from worker.lease import End, Lease, LeaseBook, Release
from worker.runner import Runner, Work

logger = logging.getLogger(__name__)

MAX_RETRY_DELAY_S = 300.0
NEWER_WORKER_S = 2.0
"""Time a job that we are too old for is left to others before anybody looks at it again."""
_ROLES = ("image", "guide", "clip")
_JOB_ID = TypeAdapter[str](JobId)


class LeaseLostError(Exception):
    """Another worker has the job by now; whatever we made of it is dropped."""


class EndedEarlyError(Exception):
    """The child ended the job without a result; carries what becomes of it."""

    def __init__(self, closing: End | Release) -> None:
        super().__init__(type(closing).__name__)
        self.closing = closing


@dataclass
class Tasks:
    """Runs jobs for all lanes of one worker process."""

    settings: WorkerSettings
    book: LeaseBook
    runner: Runner
    store: ObjectStore
    scratch: Scratch
    checkpoints: Checkpoints
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set on SIGTERM: trainings are suspended, nothing new is begun, and whatever ends without a result is handed back uncounted."""

    _setbacks: int = 0
    """Failures of disk or store in a row: what goes wrong here may go right elsewhere, so others get the first go at the next job."""
    _rests_until: float = 0.0  # monotonic

    observe: Callable[[str, str, float], None] = lambda _kind, _ending, _seconds: None
    """Told of the end of every try: the job's kind, how the try ended, wall time in seconds."""

    @property
    def willing(self) -> bool:
        """False while this worker had better leave jobs to others: its disk is full, or it has just failed for want of disk or store."""
        return time.monotonic() >= self._rests_until and self.scratch.has_room

    async def run(self, lease: Lease, lowest_attempt: int, payload: dict[str, Any]) -> dict[str, Any]:
        """Run one try of the job and decide `lease.closing`. Returns what arq keeps as the result, for operators."""
        began = time.monotonic()
        kept = await self._run(lease, lowest_attempt, payload)
        self.observe(str(payload.get("kind")), str(kept["ending"]), time.monotonic() - began)
        return kept

    async def _run(self, lease: Lease, lowest_attempt: int, payload: dict[str, Any]) -> dict[str, Any]:
        if not await patiently(lambda: self.book.begin(lease, lowest_attempt), "a job's start"):
            return {"ending": "lost"}
        reporter = Reporter(self.book, lease)
        try:
            async with reporter.sending():
                lease.closing = await self._try(payload, _Try(lease, reporter))
        except LeaseLostError:
            lease.lost = True
            return {"ending": "lost"}
        except asyncio.CancelledError:
            lease.closing = replace(reporter.released(counted=False), pending=reporter.unsent)
            raise
        lease.closing = replace(lease.closing, pending=reporter.unsent)
        if isinstance(lease.closing, End) and isinstance(lease.closing.event, JobSucceeded):
            self._setbacks = 0
        if isinstance(lease.closing, Release):
            logger.warning("job goes back to its queue: %s", lease.closing, extra={"job_id": lease.job_id})
            return {"ending": "released", "attempt": lease.attempt}
        event = lease.closing.event
        return {"ending": event.kind if event else "dropped", "attempt": lease.attempt}

    async def unreadable(self, lease: Lease, reason: str) -> None:
        """End a queue entry that holds no job; without a proper job id there is nobody to tell."""
        try:
            _JOB_ID.validate_python(lease.job_id)
        except ValidationError:
            lease.closing = End(None)
            return
        if await patiently(lambda: self.book.begin(lease, 1), "a job's start"):
            lease.closing = Reporter(self.book, lease).failed(FailureCode.INTERNAL, reason, 0)

    async def ended(self, lease: Lease) -> None:
        """Clean up after a job whose end is committed."""
        await self.checkpoints.drop(lease.job_id)
        await self._features.drop(lease.job_id)

    async def ahead(self, payload: dict[str, Any]) -> None:
        """Fetch the files of a clip that this worker may well render next, and have the child read its LoRAs.

        Whatever is wrong with it is said when it is its turn.
        """
        try:
            job = WORK_ADAPTER.validate_python(payload)
            if not isinstance(job, GenerateVideo) or job.base != self.settings.base:
                return
            adapters = await self.scratch.warm(tuple(use.file for use in job.adapters))
            await self.runner.send(pipe.ReadAhead(adapters=adapters))
            await self.scratch.warm(tuple(_sources(job).values()))
        except (ValidationError, StoreError, OSError, ChildDiedError) as error:
            logger.info("not fetched ahead: %s", error)

    async def _try(self, payload: dict[str, Any], this: _Try) -> End | Release:
        settings, lease, reporter = self.settings, this.lease, this.reporter
        if lease.crashed >= settings.max_attempts:
            return reporter.failed(FailureCode.WORKER_LOST, f"{lease.crashed} workers were lost while they ran this job", 0)
        try:
            job = WORK_ADAPTER.validate_python(payload)
        except ValidationError as error:
            if await self._cancel_requested(lease):
                return reporter.cancelled(0)
            if _from_the_future(error):
                logger.warning("the job needs a newer worker: %s", error, extra={"job_id": lease.job_id})
                return reporter.released(counted=False, delay_s=NEWER_WORKER_S)
            return reporter.failed(FailureCode.INTERNAL, f"not a job: {error}", 0)
        if job.job_id != lease.job_id:
            return reporter.failed(FailureCode.INTERNAL, f"job {job.job_id} came under the id {lease.job_id}", 0)
        if job.base != settings.base:
            return reporter.failed(FailureCode.BASE_UNAVAILABLE, f"this worker has {settings.base}, the job wants {job.base}", 0)
        if self.draining.is_set():
            return reporter.released(counted=False)
        if await self._cancel_requested(lease):
            return reporter.cancelled(0)
        limit_s = settings.train_timeout_s if isinstance(job, TrainLora) else settings.render_timeout_s
        try:
            async with asyncio.timeout(limit_s), self.scratch.job_folder(job.job_id, lease.attempt) as folder:
                if isinstance(job, TrainLora):
                    return await self._train(job, folder, this)
                if isinstance(job, CaptionItems):
                    return await self._caption(job, folder, this)
                return await self._render(job, folder, this)
        except (EndedEarlyError, LeaseLostError) as error:
            if isinstance(error, EndedEarlyError):
                return error.closing
            raise
        except Exception as error:
            if this.cancelled:
                return reporter.cancelled(this.steps_done)
            logger.exception("try %d failed", lease.attempt, extra={"job_id": lease.job_id})
            if is_disk_trouble(error):
                self.scratch.empty_cache()
            innocent = isinstance(error, ChildDiedError) and not error.at_work
            return self._failure(this, code_of(error), describe(error), counted=not innocent)

    async def _train(self, job: TrainLora, folder: Path, this: _Try) -> End:
        settings = self.settings
        reporter, store = this.reporter, self.store
        this.counted = Phase.TRAINING
        media = await self._fetch(tuple(item.media for item in job.items), folder / "media", this)
        brought = iter(await self._fetch(tuple(item.guide for item in job.items if item.guide is not None), folder / "guides", this))
        run_dir = folder / "run"
        resumed_at = await self.checkpoints.restore(job.job_id, run_dir / "checkpoint")
        if resumed_at is not None:
            logger.info("training goes on from step %d", resumed_at, extra={"job_id": job.job_id})
        await self._restore_features(job.job_id, run_dir / "cache")
        command = pipe.StartTraining(
            job=job,
            media=media,
            guides=tuple(next(brought) if item.guide is not None else None for item in job.items),
            run_dir=run_dir,
            resume=resumed_at is not None,
            checkpoint_every_s=settings.checkpoint_every_s,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            preview_every_steps=settings.preview_every_steps,
            shared_cache=self.scratch.features,
        )
        made = await self._drive(command, this)
        assert isinstance(made, pipe.Trained)
        reporter.progress(Progress(job_id=job.job_id, phase=Phase.SAVING, step=made.steps, total_steps=made.steps))
        await self._check_lease(this.lease)
        result = LoraTrained(
            lora_id=job.lora_id,
            file=await store.put_file(
                objects.lora_key(job.lora_id, job.job_id, this.lease.attempt), made.lora, "application/x-safetensors"
            ),
            manifest=made.manifest,
            preview=await self._put_artifact(this, made.preview, "preview.mp4", "video/mp4"),
            poster=await self._put_artifact(this, made.poster, "poster.png", "image/png"),
            loss_curve=await self._put_artifact(this, made.loss_curve, "loss.png", "image/png"),
            steps=made.steps,
            seconds=this.seconds,
            selection=made.selection,
            chart=await self._put_artifact(this, made.chart, "selection.png", "image/png"),
            kept=tuple([await self._put_kept(job, this, step, path) for step, path in sorted(made.kept.items())]),
            fitting=made.fitting,
        )
        return reporter.succeeded(result)

    async def _put_kept(self, job: TrainLora, this: _Try, step: int, path: Path) -> KeptCheckpoint:
        key = objects.kept_key(job.lora_id, job.job_id, this.lease.attempt, step)
        return KeptCheckpoint(step=step, file=await self.store.put_file(key, path, "application/x-safetensors"))

    async def _render(self, job: GenerateVideo, folder: Path, this: _Try) -> End:
        try:
            adapters = await self._fetch(tuple(use.file for use in job.adapters), folder / "adapters", this)
        except ObjectMissingError as error:
            raise AdapterMissingError("A LoRA of this stack was deleted while the job waited.") from error
        media = _sources(job)
        fetched = await self._fetch(tuple(media.values()), folder / "inputs", this)
        files = dict.fromkeys(_ROLES) | dict(zip(media, fetched, strict=True))
        out_dir = folder / "out"
        out_dir.mkdir()
        command = pipe.StartRender(
            job=job, adapters=adapters, image=files["image"], guide=files["guide"], clip=files["clip"], out_dir=out_dir
        )
        made = await self._drive(command, this)
        assert isinstance(made, pipe.Rendered)
        await self._check_lease(this.lease)
        clip = await self._put_artifact(this, made.clip, "clip.mp4", "video/mp4")
        assert clip is not None
        result = VideoRendered(
            file=clip,
            poster=await self._put_artifact(this, made.poster, "poster.png", "image/png"),
            geometry=made.geometry,
            posted_width=made.posted_width,
            posted_height=made.posted_height,
            seed=made.seed,
            seconds=this.seconds,
            num_frames=made.num_frames,
            has_audio=made.has_audio,
            scenes=made.scenes,
            join_psnr=made.join_psnr,
        )
        return this.reporter.succeeded(result)

    async def _caption(self, job: CaptionItems, folder: Path, this: _Try) -> End:
        media = await self._fetch(tuple(item.media for item in job.items), folder / "media", this)
        command = pipe.StartCaptions(job=job, media=media, run_dir=folder / "run", shared_cache=self.scratch.features)
        made = await self._drive(command, this)
        assert isinstance(made, pipe.Captioned)
        said = {item.media.sha256: words for item, words in zip(job.items, made.captions, strict=True) if words}
        return this.reporter.succeeded(ItemsCaptioned(dataset_id=job.dataset_id, captions=said))

    async def _drive(self, command: pipe.Start, this: _Try) -> pipe.Trained | pipe.Rendered | pipe.Captioned:
        """Run one command in the child to its end.

        Raises:
            EndedEarlyError: The job ended without a result.
            ChildDiedError: So did the child.
        """
        async with self.runner.work(command) as work, self._interruptions(work, this), _Uploads(this) as uploads:
            async for message in work.messages():
                match message:
                    case pipe.Began():
                        this.reporter.started(message.total_steps)
                    case pipe.Advanced():
                        this.advanced(message.progress)
                    case pipe.PreviewMade():
                        uploads.add(self._upload_preview(message, this))
                    case pipe.FeaturesMade():
                        uploads.add(self._upload_features(message, this))
                    case pipe.CheckpointMade():
                        uploads.add(self._upload_checkpoint(message, this))
                    case pipe.Trained() | pipe.Rendered() | pipe.Captioned():
                        return message
                    case pipe.WorkCancelled():
                        raise EndedEarlyError(this.reporter.cancelled(message.steps_done))
                    case pipe.WorkSuspended():
                        await uploads.finish()
                        raise EndedEarlyError(this.reporter.released(counted=False))
                    case pipe.WorkFailed():
                        this.steps_done = message.steps_done
                        if message.code is FailureCode.STORE_UNAVAILABLE:  # the child knows no store: its disk is full
                            self.scratch.empty_cache()
                        raise EndedEarlyError(self._failure(this, message.code, message.detail, counted=True))
                    case pipe.FramesMade():
                        this.lease.device_free = True
                    case pipe.AtWork():
                        pass
        raise ChildDiedError("the child's messages ended without an ending", at_work=True)

    def _failure(self, this: _Try, code: FailureCode, detail: str, *, counted: bool) -> End | Release:
        """Try again while that makes sense and tries are left; else say why not."""
        if self.draining.is_set() and code is FailureCode.CHILD_DIED:
            return this.reporter.released(counted=False)
        if not counted:
            return this.reporter.released(counted=False)
        if code is FailureCode.STORE_UNAVAILABLE:
            self._setbacks += 1
            self._rests_until = time.monotonic() + min(MAX_RETRY_DELAY_S, self.settings.retry_delay_s * 2**self._setbacks)
        crashed = this.lease.crashed + 1
        if code.retryable and crashed < self.settings.max_attempts:
            delay_s = min(MAX_RETRY_DELAY_S, self.settings.retry_delay_s * 2 ** (crashed - 1))
            logger.warning("try %d failed with %s: %s", this.lease.attempt, code, detail, extra={"job_id": this.lease.job_id})
            return this.reporter.released(counted=True, delay_s=delay_s)
        return this.reporter.failed(code, detail, this.steps_done)

    async def _fetch(self, wanted: tuple[StoredObject, ...], into: Path, this: _Try) -> tuple[Path, ...]:
        this.reporter.progress(Progress(job_id=this.lease.job_id, phase=Phase.LOADING, step=0, total_steps=1))
        return await self.scratch.fetch(wanted, into)

    async def _put_artifact(self, this: _Try, path: Path | None, name: str, media_type: str) -> StoredObject | None:
        if path is None:
            return None
        return await self.store.put_file(objects.artifact_key(this.lease.job_id, this.lease.attempt, name), path, media_type)

    async def _upload_preview(self, message: pipe.PreviewMade, this: _Try) -> None:
        image = await self._put_artifact(this, message.image, f"preview-{message.step:06d}.png", "image/png")
        assert image is not None
        this.reporter.preview(message.step, image)

    @property
    def _features(self) -> Checkpoints:
        """Features of training sets, kept as checkpoints are."""
        return Checkpoints(self.store, objects.features_key)

    async def _restore_features(self, job_id: str, into: Path) -> None:
        """Bring what an earlier try computed of the set; a store that has none, or does not answer, costs time and nothing else."""
        try:
            await self._features.restore(job_id, into)
        except StoreError as error:
            logger.warning("features are computed again: %s", error, extra={"job_id": job_id})

    async def _upload_features(self, message: pipe.FeaturesMade, this: _Try) -> None:
        if not this.lease.lost:
            await self._features.save(this.lease.job_id, this.lease.attempt, 0, message.files)

    async def _upload_checkpoint(self, message: pipe.CheckpointMade, this: _Try) -> None:
        if this.lease.lost:
            return
        await self.checkpoints.save(this.lease.job_id, this.lease.attempt, message.step, message.files)
        this.reporter.checkpoint(message.step)
        for path in message.files:
            path.unlink(missing_ok=True)

    async def _check_lease(self, lease: Lease) -> None:
        """Right before results are uploaded: what another worker has taken over is not worth the traffic."""
        if not await patiently(lambda: self.book.beat(lease), "a job's results"):
            raise LeaseLostError(lease.job_id)

    async def _cancel_requested(self, lease: Lease) -> bool:
        try:
            return bool(await self.book.redis.exists(self.book.keys.cancel(lease.job_id)))
        except OUTAGE:
            return False  # asked again at the next look

    @contextlib.asynccontextmanager
    async def _interruptions(self, work: Work, this: _Try) -> AsyncIterator[None]:
        """Pass a person's cancel and a drain on to the child while the body runs."""

        async def watch_cancel() -> None:
            while not await self._cancel_requested(this.lease):  # noqa: ASYNC110 - the request lies in Redis, there is no event
                await asyncio.sleep(self.settings.cancel_poll_s)
            this.cancelled = True
            with contextlib.suppress(ChildDiedError):  # `work.messages` tells it too
                await work.cancel()

        async def watch_drain() -> None:
            await self.draining.wait()
            if isinstance(work.command, pipe.StartTraining):
                with contextlib.suppress(ChildDiedError):
                    await work.suspend()

        watchers = [asyncio.create_task(watch_cancel()), asyncio.create_task(watch_drain())]
        try:
            yield
        finally:
            await stop_tasks(*watchers)


def _sources(job: GenerateVideo) -> dict[str, StoredObject]:
    """What a clip is made from besides words and LoRAs, by its role."""
    media = zip(_ROLES, (job.image, job.guide.video if job.guide else None, job.source_clip), strict=True)
    return {role: stored for role, stored in media if stored is not None}


def _from_the_future(error: ValidationError) -> bool:
    """True for a message that a later version of the contracts may well understand: unknown keys, kinds, versions or choices."""
    return all(problem["type"] in ("extra_forbidden", "union_tag_invalid", "literal_error", "enum") for problem in error.errors())


@dataclass
class _Try:
    """One try of one job, and how far it came."""

    lease: Lease
    reporter: Reporter
    counted: Phase = Phase.DENOISING  # the phase whose steps are the job's own; a training also denoises, for its preview
    steps_done: int = 0
    cancelled: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Wall time since the try began."""
        return round(time.monotonic() - self.began, 3)

    def advanced(self, progress: Progress) -> None:
        """Pass progress on."""
        if progress.phase is self.counted:
            self.steps_done = progress.step
        self.reporter.progress(progress)


class _Uploads:
    """Previews and checkpoints on their way to the store, one after the other; a failed one is logged and the job goes on."""

    def __init__(self, this: _Try) -> None:
        self._this = this
        self._queue: asyncio.Queue[Awaitable[None]] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Uploads:
        self._sender = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._sender is not None
        await stop_tasks(self._sender)
        while not self._queue.empty():
            leftover = self._queue.get_nowait()
            if asyncio.iscoroutine(leftover):
                leftover.close()

    def add(self, upload: Awaitable[None]) -> None:
        """Send this after those before it."""
        self._queue.put_nowait(upload)

    async def finish(self) -> None:
        """Wait until everything is sent or has failed."""
        await self._queue.join()

    async def _send(self) -> None:
        while True:
            upload = await self._queue.get()
            try:
                await upload
            except (StoreError, OSError) as error:
                logger.warning("not uploaded: %s", error, extra={"job_id": self._this.lease.job_id})
            finally:
                self._queue.task_done()
