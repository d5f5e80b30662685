"""`python -m tests.support.chaos_bot`: the bot, and people who ask it for what the file in `CHAOS_PLAN` says, in this process.

Each wish has an interaction id of its own, so a bot that was killed in the middle goes on where it was, as Discord's people would
press again.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from bot import __main__ as product
from bot.errors import Refusal, RefusalCode
from bot.services.app import Services
from bot.services.clip_requests import GenerationRequest
from bot.services.values import Actor, IncomingFile, JobPlace
from bot.storage import jobs as jobs_table
from bot.storage import plans as plans_table
from bot.storage.database import Database
from bot.storage.plans import Holding, Plan, PlanSource
from engine.contracts.lora import LoraKind
from tests.support import hostile

AGAIN = (RefusalCode.QUEUE_UNAVAILABLE, RefusalCode.STORE_UNAVAILABLE, RefusalCode.NOBODY_SERVES, RefusalCode.MEDIA_CHECK_FAILED)
_serve = product._serve


async def _ask_all(database: Database, services: Services, wishes: list[dict[str, Any]]) -> None:
    """Each person asks for one thing after the other."""
    async with asyncio.TaskGroup() as people:
        for user in {wish["user"] for wish in wishes}:
            people.create_task(_ask_for(database, services, [wish for wish in wishes if wish["user"] == user]))


async def _ask_for(database: Database, services: Services, wishes: list[dict[str, Any]]) -> None:
    for wish in wishes:
        while True:
            try:
                await _ask(database, services, wish)
                break
            except Refusal as refusal:
                if refusal.code not in AGAIN:
                    raise
            await asyncio.sleep(0.2)
        await asyncio.sleep(wish["pause_s"])


async def _ask(database: Database, services: Services, wish: dict[str, Any]) -> None:
    actor = Actor(wish["user"], wish["guild"], f"user {wish['user']}")
    place = JobPlace(wish["guild"], wish["channel"], 10 * 2**20)
    if wish["premium"]:
        async with database.transaction() as tx:
            who = Holding(PlanSource.OPERATOR, f"wish-{wish['user']}", Plan.PREMIUM, wish["user"], None, 0.0, None)
            await plans_table.put(tx, who)
    record = await jobs_table.of_interaction(database.reader, wish["interaction"])
    if record is None and wish["kind"] == "train":
        report = await services.datasets.open(
            actor, name=wish["words"], kind=LoraKind.CHARACTER, trigger=wish["words"], files=await _pictures(services, wish["number"])
        )
        job = await services.jobs.submit_training(report.dataset.dataset_id, actor, place, wish["interaction"])
        record = job.view.record
    elif record is None:
        request = GenerationRequest(actor=actor, place=place, interaction_id=wish["interaction"], prompt=wish["words"])
        record = (await services.clips.submit(request)).view.record
    if wish["cancel"]:
        await asyncio.sleep(1.0)  # by now it may wait, run or be over
        try:
            await services.jobs.cancel(record.job_id, actor)
        except Refusal as refusal:
            if refusal.code is not RefusalCode.JOB_OVER:
                raise


async def _pictures(services: Services, number: int) -> list[IncomingFile]:
    folder = services.settings.scratch_dir / "incoming"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    files = []
    for index in range(4):
        path, data = folder / f"{number}-{index}.png", hostile.picture(10 * number + index)
        await asyncio.to_thread(path.write_bytes, data)
        files.append(IncomingFile(path.name, path, len(data)))
    return files


def _must_succeed(task: asyncio.Task[None]) -> None:
    """End the process when people were turned away for good: the test sees that, and the log says why."""
    if not task.cancelled() and (error := task.exception()) is not None:
        traceback.print_exception(error)
        os._exit(3)


async def _serve_with_people(settings: Any, database: Database, queue: Any, services: Services, *others: Any) -> None:
    plan = Path(os.environ["CHAOS_PLAN"])
    wishes = [json.loads(line) for line in plan.read_text().splitlines()]  # noqa: ASYNC240 - a small local file
    people = asyncio.create_task(_ask_all(database, services, wishes))
    people.add_done_callback(_must_succeed)
    try:
        await _serve(settings, database, queue, services, *others)
    finally:
        people.cancel()


if __name__ == "__main__":
    product._serve = _serve_with_people
    sys.exit(product.main([]))
