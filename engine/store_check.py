"""Checks that bot and worker share: the object store, and a folder's free space. Torch-free."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from pathlib import Path

from engine.contracts.checks import CLOCK_TOLERANCE_S, Finding, failed, ok, warning
from engine.errors import EngineError
from engine.store import ObjectStore

LEAST_FREE_BYTES = 2 * 2**30


async def store_findings(url: str) -> list[Finding]:
    """Write, read, list and delete a small object; and compare clocks, for signed links fail with a wrong one."""
    key, began = f"jobs/doctor/{secrets.token_hex(8)}", time.monotonic()
    try:
        store = ObjectStore.open(url)
        stored = await store.put_bytes(key, b"doctor", "text/plain")
        try:
            await store.get_bytes(stored)
            modified_at = await store.modified_at(key)
            listed = key in await store.list("jobs/doctor")
        finally:
            await store.delete(key)
    except EngineError as error:
        return [failed("store", f"{error} Check CALLSHEET_STORE_URL and the AWS_* variables.")]
    if not listed or modified_at is None:
        return [failed("store", f"{url}: an object is not listed right after it was written; another store is needed.")]
    findings = [ok("store", f"{url}, write, read, list and delete took {(time.monotonic() - began) * 1000:.0f} ms")]
    if abs(skew := modified_at - time.time()) > CLOCK_TOLERANCE_S:
        findings.append(warning("clock", f"the store's clock differs by {skew:+.0f} s; run NTP on this machine"))
    return findings


async def disk_findings(folder: Path, least_bytes: int = 0) -> list[Finding]:
    """Free space where we write; with less than `least_bytes` nothing works."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    line = f"{folder}: {free / 2**30:.1f} GiB free"
    if free < least_bytes:
        return [failed("disk", f"{line}, {least_bytes / 2**30:.1f} GiB are needed for any job; make room.")]
    return [ok("disk", line) if free >= LEAST_FREE_BYTES else warning("disk", f"{line}; make room before it is full")]
