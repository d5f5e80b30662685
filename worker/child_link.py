"""The child's end of the pipe: a clean line out, commands in, and no life after the parent's. Torch-free."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable

from engine.contracts.model import Contract
from worker import pipe

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

ChildCommand = pipe.Start | pipe.ReadAhead | pipe.SuspendWork | pipe.CancelWork | pipe.Shutdown


class Link:
    """Open once, first thing in the process: from then on file descriptor 1 is standard error, and prints harm nobody.

    Args:
        parent_pid: The process to live and die with.
    """

    def __init__(self, parent_pid: int) -> None:
        die_with(parent_pid)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)  # a service manager signals the whole group; the parent decides when we leave
        self._out = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lock = threading.Lock()
        self._commands: queue.SimpleQueue[ChildCommand] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self.on_arrival: Callable[[ChildCommand], None] = lambda _: None
        """Called on the reading thread the moment a command arrives, while the other lane may be at work; must return at once."""

        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def send(self, message: Contract) -> None:
        """Tell the parent."""
        data = pipe.encode(message)
        with self._lock:
            while data:
                data = data[os.write(self._out, data) :]

    def take(self, *, wait: bool) -> list[ChildCommand]:
        """Commands since the last call; with `wait`, at least one. Cancels are also here, after they took effect in `cancelled`."""
        commands = [self._commands.get()] if wait else []
        while True:
            try:
                commands.append(self._commands.get_nowait())
            except queue.Empty:
                return commands

    def waiting(self) -> bool:
        """True when a command has arrived that `take` has not returned yet."""
        return not self._commands.empty()

    def cancelled(self, job_id: str) -> bool:
        """True from the moment the cancel arrived, also in the middle of a render."""
        return job_id in self._cancelled

    def _read(self) -> None:
        buffer = b""
        while True:
            # Not sys.stdin: its lock, held by a daemon thread, aborts the interpreter at exit (queue.md section 2).
            chunk = os.read(0, 1 << 16)
            if not chunk:
                os._exit(0)  # the parent is gone or has closed us; whatever runs is run again elsewhere
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                command = pipe.COMMANDS.validate_json(line)
                if isinstance(command, pipe.CancelWork):
                    self._cancelled.add(command.job_id)
                elif isinstance(command, pipe.Start):
                    self._cancelled.discard(command.job.job_id)  # an earlier try of the same job
                self.on_arrival(command)
                self._commands.put(command)


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens (Linux; elsewhere end of input has to do)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before the line above
        os._exit(0)
