"""Starts, watches, restarts and stops child processes: one-machine mode, and the sandbox.

A child runs in a session of its own, so that Ctrl-C reaches only the supervisor, which stops children in reverse order. On Linux a child
is told to end when the supervisor itself is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HEALTHY_S = 30.0
"""A child that lived this long starts again without delay."""
READY_TIMEOUT_S = 60.0

_PR_SET_PDEATHSIG = 1
_LAUNCH = f"""
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class GivenUpError(Exception):
    """A child ended in a way that starting it again would not change."""

    def __init__(self, name: str, exit_code: int) -> None:
        super().__init__(f"{name} ended with exit code {exit_code}")
        self.name = name
        self.exit_code = exit_code


@dataclass(frozen=True)
class ProcessSpec:
    """One child.

    Args:
        name: How it is called in `Supervisor`.
        command: Program and arguments.
        env: Its whole environment (`inherited_env` helps).
        ready: Returns once the child serves; `start` waits for it.
        stop_timeout_s: Time between SIGTERM and SIGKILL.
        final_codes: Exit codes after which starting again is pointless.
        log_file: Where its output goes, appended; None: the supervisor's own output.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    ready: Callable[[], Awaitable[None]] | None = None
    stop_timeout_s: float = 20.0
    final_codes: frozenset[int] = field(default_factory=lambda: frozenset({os.EX_CONFIG}))
    log_file: Path | None = None


def inherited_env(extra: Mapping[str, str], *, without: Sequence[str] = ()) -> dict[str, str]:
    """This process's environment with `extra`, minus the names in `without` (secrets a child has no use for)."""
    return {name: value for name, value in os.environ.items() if name not in without} | dict(extra)


class Supervisor:
    """Runs children by name.

    `async with Supervisor(specs) as supervisor:` starts all of them in order, and stops them in reverse order at the end. A child that
    ends by itself, or by a signal from outside, is started again after a pause; after `stop` or `kill` it stays down until `start`.
    """

    def __init__(self, specs: Sequence[ProcessSpec]) -> None:
        self._children = {spec.name: _Child(spec) for spec in specs}

    async def __aenter__(self) -> Self:
        try:
            for name in self._children:
                await self.start(name)
        except BaseException:
            await self.stop_all()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_all()

    async def start(self, name: str) -> None:
        """Start a child that is down and wait until it is ready.

        Raises:
            GivenUpError: it ended at once, for good.
            TimeoutError: it was not ready within `READY_TIMEOUT_S`.
        """
        await self._children[name].start()

    async def stop(self, name: str) -> int | None:
        """SIGTERM, then SIGKILL when it takes too long; its exit code, None when it was down."""
        return await self._children[name].end(signal.SIGTERM)

    async def kill(self, name: str) -> int | None:
        """SIGKILL, as a crash would; it stays down until `start`."""
        return await self._children[name].end(signal.SIGKILL)

    async def restart(self, name: str) -> None:
        """Stop and start."""
        await self.stop(name)
        await self.start(name)

    def pid(self, name: str) -> int | None:
        """Process id of a child that is up."""
        process = self._children[name].process
        return process.pid if process is not None and process.returncode is None else None

    def starts(self, name: str) -> int:
        """How often a child was started."""
        return self._children[name].starts

    async def stop_all(self) -> None:
        """Stop every child, the last one first."""
        for child in reversed(self._children.values()):
            await asyncio.shield(child.end(signal.SIGTERM))

    async def given_up(self) -> None:
        """Wait for ever, or until a child can't be brought back.

        Raises:
            GivenUpError: it can't.
        """
        failures = [child.failure for child in self._children.values() if child.failure is not None]
        done, _ = await asyncio.wait(failures, return_when=asyncio.FIRST_COMPLETED)
        for failure in done:
            failure.result()


class _Child:
    """One child through all its lives."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.process: asyncio.subprocess.Process | None = None
        self.starts = 0
        self._keeper: asyncio.Task[None] | None = None
        self._spawned = asyncio.Event()
        self.failure: asyncio.Future[None] | None = None
        """Fails with `GivenUpError` when the child can't be brought back; made anew by every `start`."""

    async def start(self) -> None:
        if self._keeper is not None and not self._keeper.done():
            return
        self.failure = asyncio.get_running_loop().create_future()
        self.failure.add_done_callback(_look_at)
        self._spawned.clear()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")
        waiting = asyncio.ensure_future(self._until_ready())
        done, _ = await asyncio.wait({waiting, self.failure}, return_when=asyncio.FIRST_COMPLETED)
        if waiting not in done:
            waiting.cancel()
            self.failure.result()
        await waiting

    async def end(self, how: signal.Signals) -> int | None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        process, self.process = self.process, None
        if process is None:
            return None
        return await _terminate(process, how, self.spec)

    async def _until_ready(self) -> None:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await self._spawned.wait()
            if self.spec.ready is not None:
                await self.spec.ready()

    async def _keep(self) -> None:
        failures = 0
        while True:
            born = time.monotonic()
            self.process = await _spawn(self.spec)
            self.starts += 1
            self._spawned.set()
            logger.info("%s runs as process %d", self.spec.name, self.process.pid)
            code = await self.process.wait()
            if code in self.spec.final_codes and self.failure is not None:
                self.failure.set_exception(GivenUpError(self.spec.name, code))
                return
            failures = 0 if time.monotonic() - born > HEALTHY_S else failures + 1
            delay = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            logger.warning("%s ended with %d, starting again in %g s", self.spec.name, code, delay)
            await asyncio.sleep(delay)


async def _spawn(spec: ProcessSpec) -> asyncio.subprocess.Process:
    output = None if spec.log_file is None else await asyncio.to_thread(_open_log, spec.log_file)
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LAUNCH, str(os.getpid()), *spec.command),
            env=dict(spec.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    finally:
        if output is not None:
            os.close(output)


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


async def _terminate(process: asyncio.subprocess.Process, how: signal.Signals, spec: ProcessSpec) -> int:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(how)
    try:
        async with asyncio.timeout(spec.stop_timeout_s):
            return await process.wait()
    except TimeoutError:
        logger.warning("%s did not stop in %g s, killing it", spec.name, spec.stop_timeout_s)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def _look_at(failure: asyncio.Future[None]) -> None:
    """Mark the failure as seen: whoever wants to know waits for it, and nobody has to."""
    if not failure.cancelled():
        failure.exception()
