"""Failure codes and operator texts of a worker."""

from __future__ import annotations

import errno

import pytest

from engine.contracts.failures import FailureCode
from engine.errors import AdapterIncompatibleError, StoreUnavailableError
from worker.failures import MAX_DETAIL, ChildDiedError, clip, code_of, describe, describe_exit


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AdapterIncompatibleError("x"), FailureCode.ADAPTER_INCOMPATIBLE),
        (StoreUnavailableError("x"), FailureCode.STORE_UNAVAILABLE),
        (ChildDiedError("x", at_work=True), FailureCode.CHILD_DIED),
        (OutOfMemoryError("CUDA out of memory"), FailureCode.OUT_OF_MEMORY),
        (MemoryError(), FailureCode.OUT_OF_MEMORY),
        (TimeoutError(), FailureCode.TIMED_OUT),
        (OSError(errno.ENOSPC, "No space left on device"), FailureCode.STORE_UNAVAILABLE),
        (FileNotFoundError(errno.ENOENT, "x"), FailureCode.INTERNAL),
        (ZeroDivisionError(), FailureCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_code_fits_the_exception(error: BaseException, code: FailureCode) -> None:
    """What can be healed by another try or another machine is told apart from what can't."""
    assert code_of(error) is code


def test_detail_fits_the_event_and_keeps_its_end() -> None:
    """The end of a traceback says most."""
    text = clip("x" * 5000 + "the cause")
    assert len(text) == MAX_DETAIL
    assert text.endswith("the cause")


def test_detail_of_our_own_errors_has_no_traceback() -> None:
    """An expected refusal is one sentence."""
    assert describe(AdapterIncompatibleError("Another base.")) == "AdapterIncompatibleError: Another base."


@pytest.mark.parametrize(
    ("returncode", "expected"),
    [(-9, "killed by SIGKILL"), (-11, "killed by SIGSEGV"), (3, "exited with code 3"), (None, "closed its pipe")],
)
def test_exit_is_described_with_its_cause_and_last_words(returncode: int | None, expected: str) -> None:
    """An operator sees a segfault as such."""
    assert expected in describe_exit(returncode, "last words")
    assert describe_exit(returncode, "last words").endswith("last words")
