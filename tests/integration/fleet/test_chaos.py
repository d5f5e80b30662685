"""A fleet that loses nothing: everything breaks, and afterwards the books are right.

`CHAOS_JOBS`, `CHAOS_ROUNDS` and `CHAOS_SEED` make it longer or other; the figures of a long run are in the pull request's note.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.sandbox.server import LoopbackDiscord
from bot.storage.references import keys_in
from bot.ui.views import Press
from engine.contracts.jobs import JOB_ADAPTER, TrainLora
from engine.contracts.model import StoredObject
from engine.store import ObjectStore
from tests.support.chaos import FIRST_INTERACTION, Fleet, Wish, wishes
from tests.support.fake_child import calm_weights
from tests.support.object_server import options
from tests.support.severed import SeverableWay
from tests.support.valkey import Valkey

logger = logging.getLogger(__name__)

JOBS = int(os.environ.get("CHAOS_JOBS", "48"))
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
SETTLE_S = 240.0 + 2 * JOBS


@pytest.fixture
async def fleet(tmp_path: Path, endpoint: str) -> AsyncIterator[Fleet]:
    """Everything, not started yet."""
    valkey = Valkey(tmp_path / "valkey", append_only=True)
    try:
        async with LoopbackDiscord() as discord, SeverableWay(valkey.port) as way:
            folder = tmp_path / "fleet"
            folder.mkdir()
            fleet = Fleet(folder, discord, valkey, way, endpoint, folder / "plan.jsonl")
            try:
                yield fleet
            finally:
                await fleet.close()
    finally:
        valkey.close()


@pytest.mark.timeout(1200 + 5 * JOBS)
async def test_nothing_is_lost_or_done_twice_when_everything_breaks(fleet: Fleet) -> None:
    """Every job ends once, every result and every failure has one post, ledger and store add up, trainings equal undisturbed ones."""
    wanted = wishes(SEED, JOBS)
    channel = fleet.discord.channel("general")
    fleet.plan.write_text("\n".join(wish.line(fleet.discord.guild.id, channel.id) for wish in wanted))
    await fleet.start()
    await fleet.torment(SEED, ROUNDS)
    took = await fleet.settled(JOBS, SETTLE_S)
    jobs = {row["interaction_id"] - FIRST_INTERACTION: row for row in fleet.rows("SELECT * FROM jobs")}
    figures = {"accidents": fleet.accidents, "bot lives": fleet.lives, "settled after s": round(took, 1), **_figures(jobs)}
    figures |= {"started again after s": _spread(await fleet.recoveries())}
    logger.info("%s", json.dumps(figures))

    _check_endings(wanted, jobs)
    _check_posts(fleet, jobs)
    _check_ledger(fleet)
    store = ObjectStore.open(fleet.store_url, s3_options=options(fleet.object_server))
    await _check_store(fleet, store)
    await _check_trainings(jobs, store)
    await _check_redis(fleet)
    assert fleet.discord.violations == []


def _figures(jobs: dict[int, dict[str, Any]]) -> dict[str, Any]:
    statuses = Counter(f"{row['status']} {row['failure'] or ''}".strip() for row in jobs.values())
    plans = Counter(row["plan"] for row in jobs.values())
    return {
        "jobs": statuses,
        "plans": plans,
        "tries": sum(row["attempt"] for row in jobs.values()),
        "losses": sum(row["losses"] for row in jobs.values()),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"n": len(values), "median": round(median(values), 1), "max": round(max(values), 1)} if values else {"n": 0}


def _check_endings(wanted: list[Wish], jobs: dict[int, dict[str, Any]]) -> None:
    assert sorted(jobs) == [wish.number for wish in wanted], "a submit was lost or made twice"
    for wish in wanted:
        row = jobs[wish.number]
        allowed = {"failed"} if wish.fails else {"succeeded"}
        if wish.cancel:
            allowed |= {"cancelled"}
        assert row["status"] in allowed, f"{wish}: {row['status']} {row['failure']} {row['failure_detail']}"


def _check_posts(fleet: Fleet, jobs: dict[int, dict[str, Any]]) -> None:
    text = [json.dumps(message.components) for message in fleet.discord.messages("general")]
    for row in jobs.values():
        marker = Press("job", "delete", row["job_id"]).custom_id
        posts = sum(marker in message for message in text)
        assert posts == (row["status"] != "cancelled"), f"{posts} posts of {row['job_id']}, {row['status']}"
    sent = fleet.rows("SELECT kind, state, count(*) AS n FROM outbox GROUP BY kind, state")
    assert {post["state"] for post in sent} == {"sent"}, sent
    assert sum(post["n"] for post in sent) == sum(row["status"] != "cancelled" for row in jobs.values())


def _check_ledger(fleet: Fleet) -> None:
    (sums,) = fleet.rows("SELECT sum(held) AS held, sum(spent) AS spent FROM ledger")
    (charged,) = fleet.rows("SELECT sum(units_charged) AS units FROM jobs")
    assert (sums["held"], sums["spent"]) == (0, charged["units"])
    per_job = fleet.rows("SELECT job_id, sum(kind = 'reserve') AS begun, sum(kind <> 'reserve') AS ended FROM ledger GROUP BY job_id")
    assert all((row["begun"], row["ended"]) == (1, 1) for row in per_job)
    assert fleet.rows("SELECT count(*) AS n FROM jobs WHERE status = 'failed' AND units_charged > 0") == [{"n": 0}]


async def _check_store(fleet: Fleet, store: ObjectStore) -> None:
    """The bot's own clean-up leaves exactly what rows refer to."""

    def needed() -> set[str]:
        rows = fleet.rows("SELECT result, preview FROM jobs WHERE deleted = 0")
        rows += fleet.rows("SELECT media FROM dataset_items") + fleet.rows("SELECT file, preview, poster FROM loras WHERE state <> 'gone'")
        return {key for row in rows for value in row.values() if value for key in keys_in(value)}

    for _ in range(100):
        if not (extra := set(await store.list("")) - needed()):
            break
        await asyncio.sleep(0.3)
    assert not extra, f"orphans: {sorted(extra)[:10]}"
    assert not (missing := needed() - set(await store.list(""))), f"missing: {sorted(missing)[:10]}"


async def _check_trainings(jobs: dict[int, dict[str, Any]], store: ObjectStore) -> None:
    trainings = [row for row in jobs.values() if row["kind"] == "train_lora" and row["status"] == "succeeded"]
    assert trainings
    for row in trainings:
        job = JOB_ADAPTER.validate_json(row["request"])
        assert isinstance(job, TrainLora)
        file = StoredObject.model_validate(json.loads(row["result"])["file"])
        assert (await store.get_bytes(file)).decode() == calm_weights(job), "a training is not what an undisturbed one would be"


async def _check_redis(fleet: Fleet) -> None:
    """No job is left in a queue or under a lease, and every key that is not the installation's own expires."""
    for worker in fleet.workers.values():
        assert await worker.stop() == 0
    async with Redis.from_url(fleet.valkey.url) as redis:
        keys = {key.decode(): await redis.ttl(key) async for key in redis.scan_iter()}
    stuck = [key for key in keys if key.startswith(("arq:in-progress:", "arq:job:", "arq:retry:")) or ":queue:" in key]
    assert not stuck
    for_ever = {key for key, ttl in keys.items() if ttl < 0}
    assert for_ever <= {"callsheet:events", "callsheet:workers"}, for_ever
