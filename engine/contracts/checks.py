"""What `doctor` says: one line a check, and what to do about each that failed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    detail: str

    def __str__(self) -> str:
        """`ok       redis     Valkey 9.1.2, 0.4 ms`."""
        return f"{self.verdict:<8} {self.subject:<10} {self.detail}"


Check = Callable[[], Awaitable[list[Finding]]]


def ok(subject: str, detail: str) -> Finding:
    """All is well."""
    return Finding(subject, Verdict.OK, detail)


def warning(subject: str, detail: str) -> Finding:
    """It works, and will not always."""
    return Finding(subject, Verdict.WARNING, detail)


def failed(subject: str, detail: str) -> Finding:
    """It does not work."""
    return Finding(subject, Verdict.FAILED, detail)


async def examined(checks: list[tuple[str, Check]]) -> AsyncIterator[Finding]:
    """Findings one after the other; a check that breaks is a finding too."""
    for subject, check in checks:
        try:
            for finding in await check():
                yield finding
        except Exception as error:  # noqa: BLE001 - a doctor must get through the whole list
            yield failed(subject, f"{type(error).__name__}: {error}")


async def report(checks: list[tuple[str, Check]]) -> int:
    """Print every finding as it comes. The exit code: 1 when something failed."""
    code = 0
    async for finding in examined(checks):
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
        code |= finding.verdict is Verdict.FAILED
    return int(code)
