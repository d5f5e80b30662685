"""`python -m worker doctor`: whether this machine can be a worker, one line a check, with what to do."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from engine.contracts import checks, wire
from engine.contracts.bases import BASES
from engine.contracts.checks import Finding, failed, ok, report
from engine.contracts.status import Lane
from engine.store_check import disk_findings, store_findings
from worker.config import WorkerSettings
from worker.connection import OUTAGE, RedisRefusedError, open_redis

PROBE_S = 300.0


async def examine(settings: WorkerSettings) -> int:
    """Print findings; the exit code."""
    return await report(
        [
            ("redis", lambda: redis_findings(settings)),
            ("store", lambda: store_findings(settings.store_url)),
            ("disk", lambda: disk_findings(settings.home, settings.least_free_bytes)),
            ("gpu", lambda: gpu_findings(settings)),
        ]
    )


async def redis_findings(settings: WorkerSettings) -> list[Finding]:
    """Does it answer, let us do what we do, keep what it has, and agree about the time?"""
    redis = open_redis(settings.redis_url, retries=1)
    keys = wire.Keys(settings.key_prefix)
    try:
        async with asyncio.timeout(20):
            began = time.monotonic()
            await redis.ping()
            took_ms = (time.monotonic() - began) * 1000
            seconds, microseconds = await redis.time()
            await redis.eval("return redis.call('SET', KEYS[1], '1', 'EX', '5')", 1, keys.progress("doctor"))  # type: ignore[misc]
            await redis.delete(keys.progress("doctor"))
            info = await redis.info()
    except RedisRefusedError as error:
        return [failed("redis", f"{error}. Correct user and password in REDIS_URL, or its ACL (README, Operations).")]
    except OUTAGE as error:
        return [failed("redis", f"no answer: {error}. Start it, or correct REDIS_URL.")]
    finally:
        await redis.aclose()
    return checks.redis_findings(info, took_ms, seconds + microseconds / 1e6 - time.time())


async def gpu_findings(settings: WorkerSettings) -> list[Finding]:
    """Device, its memory for what this worker is to do, and the base's files; asked in a process of its own, for this one has no torch."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker.probe", settings.base, settings.device),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROBE_S):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return [failed("gpu", f"torch did not come up within {PROBE_S:.0f} s")]
    if process.returncode != 0:
        return [failed("gpu", f"torch can't be used: {errors.decode(errors='replace').strip().splitlines()[-1:]}")]
    return judged(json.loads(output.decode().strip().splitlines()[-1]), settings)


def judged(answer: dict[str, object], settings: WorkerSettings) -> list[Finding]:
    """Findings from what `worker.probe` answered."""
    if answer["device_problem"]:
        found = [failed("gpu", f"{answer['device']}: {answer['device_problem']}. Install torch with CUDA, or set CALLSHEET_DEVICE=cpu.")]
    else:
        memory = answer["memory_bytes"]
        size = f", {memory / 10**9:.0f} GB" if isinstance(memory, int) else ""
        found = [ok("gpu", f"{answer['device_name']}{size}, torch {answer['torch']}")]
        found += [lack for lane in settings.lanes if (lack := _too_small(settings.base, lane, memory))]
    if answer["weights_problem"]:
        found.append(failed("base", f"{answer['weights_problem']}; download it first, or choose another CALLSHEET_BASE."))
    else:
        found.append(ok("base", f"{settings.base} at {answer['weights']}"))
    return found


def _too_small(base: str, lane: Lane, memory: object) -> Finding | None:
    needed = BASES[base].memory_bytes.get(lane, 0) if base in BASES else 0
    if not needed or (isinstance(memory, int) and memory >= needed):
        return None
    return failed("gpu", f"{base} needs {needed / 10**9:.0f} GB for the {lane} lane; leave it out of CALLSHEET_LANES or use a larger GPU.")
