"""Runs one piece of work on hostile bytes in a forked child with hard limits, so that a decoder's crash costs one file.

POSIX only. The answer comes back as JSON: nothing of the child is trusted beyond its data. Torch-free; fork from a process
without threads (the check command is one).
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

_MAX_ANSWER_BYTES = 4 * 1024 * 1024


class WorkStoppedError(Exception):
    """The child crashed, ran out of time or memory, or answered nonsense."""


def limit_process(*, cpu_s: int, memory_bytes: int, file_bytes: int) -> None:
    """Lower this process's limits for good; a limit the system does not know (macOS: memory) is left out."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (allowed, allowed))


def run_isolated(work: Callable[[], Any], *, cpu_s: int, deadline_s: float) -> Any:
    """The JSON-able result of `work()`, computed in a child that may use `cpu_s` seconds of processor and `deadline_s` of time.

    Raises:
        WorkStoppedError: No result came; `work` raised, the child died or took too long.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _serve(work, write_end, cpu_s)
    os.close(write_end)
    try:
        answer = _receive(read_end, monotonic() + deadline_s)
    finally:
        os.close(read_end)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it has answered, or it is too late
        os.waitpid(pid, 0)
    try:
        return json.loads(answer)
    except ValueError as error:
        raise WorkStoppedError("the child gave no answer") from error


def _serve(work: Callable[[], Any], write_end: int, cpu_s: int) -> None:
    """Body of the child; never returns."""
    try:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        answer = json.dumps(work()).encode()
        while answer:
            answer = answer[os.write(write_end, answer) :]
    except BaseException:  # noqa: BLE001  # a forked child must never run its parent's code, whatever happened
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(0)


def _receive(read_end: int, deadline: float) -> bytes:
    """Everything until the child closes its end; stops early when time or patience for size is over."""
    chunks: list[bytes] = []
    while sum(map(len, chunks)) < _MAX_ANSWER_BYTES:
        ready, _, _ = select.select([read_end], [], [], max(0.0, deadline - monotonic()))
        if not ready:
            raise WorkStoppedError("the child ran out of time")
        chunk = os.read(read_end, 65536)
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks)
