"""Owner of the GPU child: starts it, talks to it, notices its death and starts it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from engine.contracts.controls import ControlModels
from engine.contracts.model import Contract
from engine.contracts.speed import SpeedOptions
from engine.contracts.status import WorkerState
from worker import pipe
from worker.failures import ChildDiedError, clip, describe_exit

logger = logging.getLogger(__name__)
child_logger = logging.getLogger("worker.child")

RESPAWN_DELAY_S = (0.0, 1.0, 2.0, 5.0, 15.0, 60.0)  # by starts that failed in a row
STDERR_LINES_KEPT = 40


@dataclass(frozen=True)
class RunnerConfig:
    """How the child is started and how long it may take."""

    command: tuple[str, ...]
    base: str
    device: str
    credentials_dir: Path
    start_timeout_s: float
    stall_timeout_s: float
    cancel_grace_s: float
    cpu_threads: int
    control_models: ControlModels = field(default_factory=ControlModels)
    speed: SpeedOptions = field(default_factory=SpeedOptions)

    @property
    def environment(self) -> dict[str, str]:
        """What the child inherits, with our say on its threads where the environment has none.

        OpenMP threads that spin while they wait are ruinous on cores they have to share: a clip of the tiny base took 66 s instead
        of 5 s beside three busy processes on 2 cores.
        """
        return {"OMP_NUM_THREADS": str(self.cpu_threads), "OMP_WAIT_POLICY": "PASSIVE", **os.environ}


class Work:
    """One job in the child, as its parent sees it."""

    def __init__(self, runner: Runner, command: pipe.Start) -> None:
        self._runner = runner
        self.command = command
        self.job_id = command.job.job_id
        self.ended = asyncio.Event()
        self.writing = False
        """True while the child writes its files and may already be at work for another."""

        self.inbox: asyncio.Queue[pipe.JobMessage | ChildDiedError] = asyncio.Queue()

    async def messages(self) -> AsyncIterator[pipe.JobMessage]:
        """What the child says about this job, up to and including its ending.

        Raises:
            ChildDiedError: The child ended before the job did.
        """
        while True:
            message = await self.inbox.get()
            if isinstance(message, ChildDiedError):
                raise message
            yield message
            if isinstance(message, pipe.Ending):
                return

    async def cancel(self) -> None:
        """Ask the child to stop; the ending still comes through `messages`. A child that does not obey is killed."""
        await self._runner.send(pipe.CancelWork(job_id=self.job_id))
        self._runner.expect_end(self)

    async def suspend(self) -> None:
        """Ask the child for a checkpoint of this training and an end."""
        await self._runner.send(pipe.SuspendWork(job_id=self.job_id))


@dataclass
class _Child:
    process: asyncio.subprocess.Process
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    at_work: str | None = None
    last_heard: float = field(default_factory=time.monotonic)
    stderr: deque[str] = field(default_factory=lambda: deque(maxlen=STDERR_LINES_KEPT))


class Runner:
    """Keeps one GPU child alive. `run()` is a task for the life of the worker; `work()` runs a job in the child."""

    def __init__(self, config: RunnerConfig) -> None:
        self._config = config
        self._child: _Child | None = None
        self._works: dict[str, Work] = {}
        self._stopping = False
        self._failed_starts = 0
        self._deadlines: set[asyncio.Task[None]] = set()
        self.device = config.device
        self.memory_bytes: int | None = None
        self.restarts = 0
        self.changed = asyncio.Event()
        """Set on every change of `state`; whoever waits clears it first."""

    @property
    def state(self) -> WorkerState:
        """Health of the child."""
        if self._stopping:
            return WorkerState.DRAINING
        if self._child is not None and self._child.ready.is_set():
            return WorkerState.READY
        return WorkerState.BROKEN if self._failed_starts > 1 else WorkerState.STARTING

    @property
    def ready(self) -> bool:
        """True while the child takes work."""
        return self.state is WorkerState.READY

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None between two."""
        return None if self._child is None else self._child.process.pid

    async def run(self) -> None:
        """Start the child, and start it again whenever it ends, until `stop`."""
        while not self._stopping:
            delay = RESPAWN_DELAY_S[min(self._failed_starts, len(RESPAWN_DELAY_S) - 1)]
            await asyncio.sleep(delay)
            await self._one_life()
            self.restarts += 1

    async def stop(self, grace_s: float) -> None:
        """Let the child finish the step in hand, then end it. No child is started after this."""
        self._stopping = True
        self.changed.set()
        child = self._child
        if child is None:
            return
        with contextlib.suppress(ChildDiedError):
            await self.send(pipe.Shutdown())
        if child.process.stdin is not None:
            child.process.stdin.close()
        try:
            async with asyncio.timeout(grace_s):
                await child.process.wait()
        except TimeoutError:
            self._kill(child, "it did not stop in time")
            await child.process.wait()

    @contextlib.asynccontextmanager
    async def work(self, command: pipe.Start) -> AsyncIterator[Work]:
        """Run a job in the child. On leaving early the job is cancelled, and the GPU is free of it when this returns.

        Raises:
            ChildDiedError: There is no child at the moment.
        """
        work = Work(self, command)
        self._works[work.job_id] = work
        try:
            await self.send(command)
            yield work
        finally:
            if not work.ended.is_set():
                await asyncio.shield(self._abandon(work))
            self._works.pop(work.job_id, None)

    async def send(self, message: Contract) -> None:
        """Write one command.

        Raises:
            ChildDiedError: There is no child to write to.
        """
        child = self._child
        if child is None or not child.ready.is_set() or child.process.stdin is None:
            raise ChildDiedError("the GPU child is not running", at_work=False)
        try:
            child.process.stdin.write(pipe.encode(message))
            await child.process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:  # RuntimeError: the transport is closing
            raise ChildDiedError(f"the GPU child does not listen: {error}", at_work=child.at_work is not None) from error

    def expect_end(self, work: Work) -> None:
        """Kill the child unless `work` ends within `cancel_grace_s`."""
        child = self._child

        async def watch() -> None:
            try:
                async with asyncio.timeout(self._config.cancel_grace_s):
                    await work.ended.wait()
            except TimeoutError:
                if child is not None and child is self._child:
                    self._kill(child, "it did not obey a cancel")

        task = asyncio.create_task(watch())
        self._deadlines.add(task)
        task.add_done_callback(self._deadlines.discard)

    async def _abandon(self, work: Work) -> None:
        with contextlib.suppress(ChildDiedError):
            await work.cancel()
            await work.ended.wait()

    async def _one_life(self) -> None:
        config = self._config
        process = await asyncio.create_subprocess_exec(
            *config.command,
            *("--base", config.base, "--device", config.device),
            *("--credentials", str(config.credentials_dir), "--parent", str(os.getpid())),
            *("--control-models", config.control_models.model_dump_json()),
            *("--speed", config.speed.model_dump_json()),
            env=config.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent alone
            limit=pipe.MAX_LINE_BYTES,
        )
        child = self._child = _Child(process)
        self.changed.set()
        logger.info("GPU child %d started", process.pid)
        watchdog = asyncio.create_task(self._watch(child))
        try:
            async with asyncio.TaskGroup() as readers:
                readers.create_task(self._read_messages(child))
                readers.create_task(self._read_stderr(child))
            await process.wait()
        finally:
            watchdog.cancel()
            if process.returncode is None:
                self._kill(child, "the worker leaves")
                await asyncio.shield(process.wait())
            self._bury(child)

    def _bury(self, child: _Child) -> None:
        detail = describe_exit(child.process.returncode, "\n".join(child.stderr))
        self._child = None
        self._failed_starts = 0 if child.ready.is_set() else self._failed_starts + 1
        self.changed.set()
        if not self._stopping or self._works:
            logger.error("%s", detail.splitlines()[0], extra={"pid": child.process.pid})
        open_works = {work.job_id: work for work in self._works.values() if not work.ended.is_set()}
        # a clip that its encoder cannot survive would else be blamed on whoever is denoised meanwhile, try after try
        suspects = {work.job_id for work in open_works.values() if work.writing} or ({child.at_work} & open_works.keys())
        for work in open_works.values():
            work.inbox.put_nowait(ChildDiedError(detail, at_work=work.job_id in suspects or not suspects))
            work.ended.set()

    async def _read_messages(self, child: _Child) -> None:
        assert child.process.stdout is not None
        while True:
            try:
                line = await child.process.stdout.readline()
            except ValueError:
                self._kill(child, f"it sent a line of more than {pipe.MAX_LINE_BYTES} bytes")
                return
            if not line:
                return
            child.last_heard = time.monotonic()
            try:
                self._deliver(child, pipe.MESSAGES.validate_json(line))
            except ValidationError as error:
                self._kill(child, f"it does not speak our protocol: {clip(str(error))}")
                return

    def _deliver(self, child: _Child, message: pipe.Ready | pipe.StartFailed | pipe.JobMessage) -> None:
        match message:
            case pipe.Ready():
                self.device, self.memory_bytes = message.device, message.memory_bytes
                child.ready.set()
                self.changed.set()
                logger.info("GPU child ready: %s on %s after %.1f s", message.base, message.device, message.loading_s)
            case pipe.StartFailed():
                logger.error("GPU child can't load its base: %s: %s", message.code, message.detail)
            case _:
                if isinstance(message, pipe.AtWork):
                    child.at_work = message.job_id
                work = self._works.get(message.job_id)
                if work is None:
                    return
                work.writing = work.writing or isinstance(message, pipe.FramesMade)
                work.inbox.put_nowait(message)
                if isinstance(message, pipe.Ending):
                    work.ended.set()

    async def _read_stderr(self, child: _Child) -> None:
        assert child.process.stderr is not None
        while True:
            try:
                line = await child.process.stderr.readline()
            except ValueError:
                continue  # an endless line, a progress bar for instance, has been dropped
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            child.stderr.append(text[-500:])
            child_logger.info("%s", text)

    async def _watch(self, child: _Child) -> None:
        """Kill a child that takes too long to start, or that has work and says nothing."""
        try:
            async with asyncio.timeout(self._config.start_timeout_s):
                await child.ready.wait()
        except TimeoutError:
            self._kill(child, "it did not start in time")
            return
        while True:
            if not self._works:
                child.last_heard = time.monotonic()
            silent_s = time.monotonic() - child.last_heard
            if silent_s > self._config.stall_timeout_s:
                self._kill(child, f"it said nothing for {silent_s:.0f} s")
                return
            await asyncio.sleep(min(5.0, self._config.stall_timeout_s - silent_s + 0.05))

    def _kill(self, child: _Child, reason: str) -> None:
        if child.process.returncode is not None:
            return
        logger.error("GPU child %d is killed: %s", child.process.pid, reason)
        child.stderr.append(f"killed by its parent: {reason}")
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            os.killpg(child.process.pid, signal.SIGKILL)  # its own session, so its data loaders too
