"""Failure codes for whatever goes wrong around a job, and text for operators. Torch-free: torch's exceptions are known by name."""

from __future__ import annotations

import errno
import signal
import traceback

from engine.contracts.failures import FailureCode
from engine.errors import EngineError

MAX_DETAIL = 2000  # characters; JobFailed.detail


class ChildDiedError(Exception):
    """The GPU child ended while it had a job.

    Attributes:
        at_work: True when the child was working on this very job, which then uses up a try; a job that only waited does not.
    """

    code = FailureCode.CHILD_DIED

    def __init__(self, detail: str, *, at_work: bool) -> None:
        super().__init__(detail)
        self.at_work = at_work


def code_of(error: BaseException) -> FailureCode:
    """The code that fits an exception of either process.

    Out of memory is told by class name (`torch.OutOfMemoryError`, `MemoryError`). A full or failing scratch disk counts as storage that
    is not available: another worker, or this one later, may well succeed.
    """
    if isinstance(error, EngineError | ChildDiedError):
        return error.code
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return FailureCode.OUT_OF_MEMORY
    if isinstance(error, TimeoutError):
        return FailureCode.TIMED_OUT
    if is_disk_trouble(error):
        return FailureCode.STORE_UNAVAILABLE
    return FailureCode.INTERNAL


def is_disk_trouble(error: BaseException) -> bool:
    """True when the scratch disk is full or failing."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def describe(error: BaseException) -> str:
    """What an operator reads: the exception and the end of its traceback, at most `MAX_DETAIL` characters."""
    if isinstance(error, EngineError | ChildDiedError):
        return clip(f"{type(error).__name__}: {error}")
    return clip("".join(traceback.format_exception(error)))


def clip(detail: str) -> str:
    """The last `MAX_DETAIL` characters: the end of a traceback says most."""
    return detail if len(detail) <= MAX_DETAIL else "…" + detail[-(MAX_DETAIL - 1) :]


def describe_exit(returncode: int | None, stderr_tail: str) -> str:
    """How a child process ended, with its last words."""
    if returncode is None:
        ended = "the GPU child closed its pipe"
    elif returncode < 0:
        ended = f"the GPU child was killed by {signal.Signals(-returncode).name}"
    else:
        ended = f"the GPU child exited with code {returncode}"
    return clip(f"{ended}\n{stderr_tail}".strip())
