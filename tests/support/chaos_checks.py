"""What must be true of a fleet after everything that was done to it; see `tests/support/chaos.py`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from redis.asyncio import Redis

from bot.storage.references import keys_in
from bot.ui.views import Press
from engine.contracts.jobs import JOB_ADAPTER, TrainLora
from engine.contracts.model import StoredObject
from engine.store import ObjectStore
from tests.support.chaos import FIRST_INTERACTION, Fleet, Wish
from tests.support.fake_child import calm_weights
from tests.support.object_server import options

Jobs = dict[int, dict[str, Any]]
"""Rows of the bot's jobs by the number of the wish."""


def jobs_of(fleet: Fleet) -> Jobs:
    """What the bot wrote down."""
    return {row["interaction_id"] - FIRST_INTERACTION: row for row in fleet.rows("SELECT * FROM jobs")}


async def check_all(fleet: Fleet, wanted: list[Wish], jobs: Jobs) -> None:
    """Everything; ends the workers on the way."""
    check_endings(wanted, jobs)
    check_posts(fleet, jobs)
    check_ledger(fleet)
    store = ObjectStore.open(fleet.store_url, s3_options=options(fleet.object_server))
    await check_store(fleet, store)
    await check_trainings(jobs, store)
    await check_redis(fleet)
    assert fleet.discord.violations == []


def check_endings(wanted: list[Wish], jobs: Jobs) -> None:
    """Every job ended once, and as it had to."""
    assert sorted(jobs) == [wish.number for wish in wanted], "a submit was lost or made twice"
    for wish in wanted:
        row = jobs[wish.number]
        allowed = {"failed"} if wish.fails else {"succeeded"}
        if wish.cancel:
            allowed |= {"cancelled"}
        assert row["status"] in allowed, f"{wish}: {row['status']} {row['failure']} {row['failure_detail']}"


def check_posts(fleet: Fleet, jobs: Jobs) -> None:
    """One message for every result and every failure, none for a cancel."""
    text = [json.dumps(message.components) for message in fleet.discord.messages("general")]
    for row in jobs.values():
        marker = Press("job", "delete", row["job_id"]).custom_id
        posts = sum(marker in message for message in text)
        assert posts == (row["status"] != "cancelled"), f"{posts} posts of {row['job_id']}, {row['status']}"
    sent = fleet.rows("SELECT kind, state, count(*) AS n FROM outbox GROUP BY kind, state")
    assert {post["state"] for post in sent} == {"sent"}, sent
    assert sum(post["n"] for post in sent) == sum(row["status"] != "cancelled" for row in jobs.values())


def check_ledger(fleet: Fleet) -> None:
    """Nothing is held, what was charged is what was spent, failures cost nothing."""
    (sums,) = fleet.rows("SELECT sum(held) AS held, sum(spent) AS spent FROM ledger")
    (charged,) = fleet.rows("SELECT sum(units_charged) AS units FROM jobs")
    assert (sums["held"], sums["spent"]) == (0, charged["units"])
    per_job = fleet.rows("SELECT job_id, sum(kind = 'reserve') AS begun, sum(kind <> 'reserve') AS ended FROM ledger GROUP BY job_id")
    assert all((row["begun"], row["ended"]) == (1, 1) for row in per_job)
    assert fleet.rows("SELECT count(*) AS n FROM jobs WHERE status = 'failed' AND units_charged > 0") == [{"n": 0}]


async def check_store(fleet: Fleet, store: ObjectStore) -> None:
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


async def check_trainings(jobs: Jobs, store: ObjectStore) -> None:
    """Every training made the file of an undisturbed one."""
    trainings = [row for row in jobs.values() if row["kind"] == "train_lora" and row["status"] == "succeeded"]
    assert trainings
    for row in trainings:
        job = JOB_ADAPTER.validate_json(row["request"])
        assert isinstance(job, TrainLora)
        file = StoredObject.model_validate(json.loads(row["result"])["file"])
        assert (await store.get_bytes(file)).decode() == calm_weights(job), "a training is not what an undisturbed one would be"


async def check_redis(fleet: Fleet) -> None:
    """No job is left in a queue or under a lease, and every key that is not the installation's own expires."""
    for worker in fleet.workers.values():
        assert await worker.stop() == 0
    async with Redis.from_url(fleet.valkey.url) as redis:
        keys = {key.decode(): await redis.ttl(key) async for key in redis.scan_iter()}
    stuck = [key for key in keys if key.startswith(("arq:in-progress:", "arq:job:", "arq:retry:")) or ":queue:" in key]
    assert not stuck
    for_ever = {key for key, ttl in keys.items() if ttl < 0}
    assert for_ever <= {"callsheet:events", "callsheet:workers", "callsheet:forgotten"}, for_ever
