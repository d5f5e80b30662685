"""What a monitor sees of the bot and of a worker, and that the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
from importlib import resources
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bot.acks import AckClock
from bot.metrics import BotMetrics
from bot.web import Metrics
from engine.contracts.failures import FailureCode
from engine.contracts.status import Lane, WorkerState, WorkerStatus
from tests.support.bot_core import Core, PlayedWorker
from tests.support.valkey import Valkey
from worker.metrics import WorkerMetrics


def _samples(text: bytes) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the labels' names…) -> value."""
    families = text_string_to_metric_families(text.decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def _status() -> WorkerStatus:
    return WorkerStatus(
        worker_id="w1",
        state=WorkerState.READY,
        base="tiny",
        lanes=tuple(Lane),
        busy={Lane.RENDER: "x"},
        contract_version=2,
        device="cuda",
        started_at=0.0,
        memory_bytes=80,
    )


async def test_bot_figures_tell_the_queue_its_age_and_what_became_of_jobs(core: Core, played_worker: PlayedWorker) -> None:
    """Depth and age by plan, jobs with workers, posts not yet made, events and failures."""
    metrics = BotMetrics(core.database, core.queue, core.clock)
    core.consumer = type(core.consumer)(core.database, core.queue, core.services.jobs.outcomes, core.services.posts, metrics.event)
    for _ in range(4):
        await core.generate()
    await core.queue.ping()
    await core.dispatcher.dispatch()
    await played_worker.fail(await played_worker.claim(Lane.RENDER), FailureCode.OUT_OF_MEMORY)
    await core.consume()
    core.clock.now += 60
    seen = _samples(await metrics.text())
    plan = core.settings.plan_without_purchase
    assert seen["callsheet_waiting_jobs", "render", plan, "shared"] == 2
    assert seen["callsheet_waiting_oldest_seconds", "render", plan, "shared"] == 60
    assert seen["callsheet_open_jobs", "dispatched"] == 1
    assert (seen["callsheet_outbox_posts",], seen["callsheet_outbox_oldest_seconds",]) == (1, 60)
    assert seen["callsheet_workers", "ready"] == 1
    assert seen["callsheet_redis_up",] == 1
    assert seen["callsheet_event_lag_seconds",] == 0
    assert seen["callsheet_job_failures_total", "out_of_memory"] == 1


async def test_bot_figures_are_told_when_redis_is_away(core: Core, valkey: Valkey) -> None:
    """A monitor hears of an outage from the bot, not by its silence."""
    await core.generate()
    valkey.kill()
    await core.queue.ping()
    seen = _samples(await BotMetrics(core.database, core.queue, core.clock).text())
    assert (seen["callsheet_redis_up",], seen["callsheet_waiting_jobs", "render", core.settings.plan_without_purchase, "shared"]) == (0, 1)


async def test_worker_serves_its_figures_when_it_has_a_port(unused_tcp_port: int) -> None:
    """Tries by ending, state, device memory."""
    metrics = WorkerMetrics(_status, lambda: 2)
    metrics.ended("train_lora", "job_succeeded", 61.0)
    metrics.ended("train_lora", "lost", 5.0)
    async with (
        metrics.served("127.0.0.1", unused_tcp_port) as port,
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        seen = _samples(await answer.read())
    assert seen["callsheet_worker_tries_total", "lost", "train_lora"] == 1
    assert seen["callsheet_worker_job_seconds_count", "train_lora"] == 1
    assert (seen["callsheet_worker_ready",], seen["callsheet_worker_draining",], seen["callsheet_worker_busy_lanes",]) == (1, 0, 1)
    assert (seen["callsheet_gpu_memory_bytes",], seen["callsheet_worker_child_restarts",]) == (80, 2)


def test_dashboard_asks_only_for_figures_that_exist(core: Core) -> None:
    """A renamed figure is seen here, not in an empty panel."""
    board = json.loads((resources.files("bot") / "monitoring" / "grafana.json").read_text())
    asked = {name for panel in board["panels"] for target in panel["targets"] for name in re.findall(r"callsheet_\w+", target["expr"])}
    bot = BotMetrics(core.database, core.queue, core.clock).registry
    texts = generate_latest(bot).decode() + generate_latest(WorkerMetrics(_status, lambda: 0).registry).decode()
    told = set(re.findall(r"^# TYPE (\w+)", texts, re.MULTILINE))
    assert asked - {f"{name}{end}" for name in told for end in ("", "_bucket", "_total")} == set()
    assert len(board["panels"]) > 10


@pytest.mark.parametrize(
    ("token", "remote", "headers", "may"),
    [
        (None, "127.0.0.1", {}, True),
        (None, "10.0.0.9", {}, False),
        (None, "127.0.0.1", {"X-Forwarded-For": "1.2.3.4"}, False),
        ("geheim", "10.0.0.9", {"Authorization": "Bearer geheim"}, True),
        ("geheim", "127.0.0.1", {}, False),
    ],
)
def test_figures_are_for_the_operator_only(token: str | None, remote: str, headers: dict[str, str], may: bool) -> None:
    """The download server is public, its figures are not."""

    async def text() -> bytes:
        return b""

    assert Metrics(text, token).may_read(cast("Any", SimpleNamespace(remote=remote, headers=headers))) is may


async def test_ack_clock_tells_the_time_of_the_first_answer_only() -> None:
    """Later answers to the same press, and answers to others, count nothing."""
    clock, told = AckClock(), []
    clock.observe = told.append
    clock.arrived(7)
    for path in ("/api/v10/interactions/7/token/callback", "/api/v10/interactions/7/token/callback", "/api/v10/channels/7/messages"):
        url = SimpleNamespace(path=path)
        request = SimpleNamespace(url=url, response=SimpleNamespace(status=204))
        await clock._ended(cast("Any", None), SimpleNamespace(), cast("Any", request))
    assert len(told) == 1
