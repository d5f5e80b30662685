"""`engine.data.isolation`: hostile work dies alone."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
from time import monotonic

import pytest

from engine.data.isolation import WorkStoppedError, run_isolated


def test_run_isolated_returns_the_answer_when_the_work_is_done() -> None:
    """Plain values cross the border, also ones larger than a pipe holds."""
    assert run_isolated(lambda: {"a": [1, None, "ü"]}, cpu_s=10, deadline_s=30) == {"a": [1, None, "ü"]}
    assert len(run_isolated(lambda: "x" * 300_000, cpu_s=10, deadline_s=30)) == 300_000


def crash() -> None:
    faulthandler.disable()  # pytest's would print the whole stack
    ctypes.string_at(0)


def raise_error() -> None:
    raise RuntimeError("inside")


def burn() -> None:
    while True:
        pass


def hang() -> None:
    threading.Event().wait()


def answer_nonsense() -> object:
    return object()


@pytest.mark.parametrize("work", [crash, raise_error, answer_nonsense, lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(0)])
def test_run_isolated_raises_and_lives_on_when_the_work_crashes(work) -> None:
    """A segfault, an exception, a kill and a silent exit cost only the answer."""
    with pytest.raises(WorkStoppedError):
        run_isolated(work, cpu_s=10, deadline_s=30)
    assert run_isolated(lambda: 1, cpu_s=10, deadline_s=30) == 1


def test_run_isolated_ends_the_child_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time and wall time are limited each by itself, and no child is left behind."""
    forked: list[int] = []
    fork = os.fork

    def recording_fork() -> int:
        pid = fork()
        forked.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", recording_fork)
    for work, cpu_s, deadline_s in ((burn, 1, 60.0), (hang, 60, 0.3)):
        started = monotonic()
        with pytest.raises(WorkStoppedError):
            run_isolated(work, cpu_s=cpu_s, deadline_s=deadline_s)
        assert monotonic() - started < 30
    assert len(forked) == 2
    for pid in forked:
        with pytest.raises(ChildProcessError):  # already reaped: it is nobody's child any more
            os.waitpid(pid, os.WNOHANG)


def test_limit_process_holds_for_the_process_when_it_asks_for_too_much() -> None:
    """Memory beyond the limit is an error inside the process, not a full machine."""
    code = (
        "from engine.data.isolation import limit_process\n"
        "limit_process(cpu_s=60, memory_bytes=512 * 1024**2, file_bytes=1024)\n"
        "try:\n    bytearray(1024**3)\nexcept MemoryError:\n    print('stopped')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "stopped\n", done.stderr
