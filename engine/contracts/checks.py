"""What `doctor` says: one line a check, and what to do about each that failed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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


CLOCK_TOLERANCE_S = 5.0


def redis_findings(info: Mapping[str, Any], took_ms: float, skew_s: float) -> list[Finding]:
    """What `INFO` says of a Redis that answered: will it keep what it has, and does it agree about the time?"""
    findings = [ok("redis", f"{info.get('valkey_version') or info.get('redis_version')}, answers in {took_ms:.1f} ms")]
    if not info.get("aof_enabled"):
        findings.append(warning("redis", "no append-only file: after its crash jobs are handed out again; set appendonly yes"))
    if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
        findings.append(warning("redis", "it may evict jobs when it is full; set maxmemory-policy noeviction"))
    if abs(skew_s) > CLOCK_TOLERANCE_S:
        findings.append(warning("clock", f"Redis's clock differs by {skew_s:+.1f} s; run NTP on both machines"))
    return findings


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
