"""TLS and access lists for real: a client proves the server, the server limits the client."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import pytest
import trustme
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from bot.queue import QueueUnavailableError, open_queue
from engine.contracts import wire
from engine.contracts.status import JobStatus
from tests.support.bot_core import open_core
from tests.support.severed import SeverableWay
from tests.support.valkey import Valkey
from tests.support.workers import WorkerProcess, eventually
from worker.connection import RedisRefusedError, open_redis


@asynccontextmanager
async def _behind_tls(valkey: Valkey, folder: Path, host: str) -> AsyncIterator[tuple[int, Path]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    async with SeverableWay(valkey.port, context) as way:
        yield way.port, folder / "ca.pem"


async def test_bot_and_worker_talk_tls_when_the_certificate_is_the_hosts(valkey: Valkey, tmp_path: Path) -> None:
    """`rediss://` with an authority of one's own."""
    async with _behind_tls(valkey, tmp_path, "localhost") as (port, authority):
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={authority}"
        async with open_queue(url, wire.Keys()) as queue:
            assert await eventually(queue.ping)  # which asks for an answer within less than a second
        redis = open_redis(url, retries=1)
        assert await redis.ping()
        await redis.aclose()


async def test_both_refuse_at_once_when_the_certificate_is_another_hosts(valkey: Valkey, tmp_path: Path) -> None:
    """A certificate of a known authority for another host proves nothing, and waiting does not make it better."""
    async with _behind_tls(valkey, tmp_path, "elsewhere.example") as (port, authority):
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={authority}"
        async with open_queue(url, wire.Keys()) as queue:
            assert not await queue.ping()
            with pytest.raises(QueueUnavailableError, match="certificate"):
                await queue.workers()
        redis = open_redis(url)
        with pytest.raises(RedisRefusedError, match="trusted"):
            await redis.ping()
        await redis.aclose()


async def test_both_refuse_when_nobody_known_signed_the_certificate(valkey: Valkey, tmp_path: Path) -> None:
    """Without the authority's file the system's are asked, and do not know it."""
    async with _behind_tls(valkey, tmp_path, "localhost") as (port, _):
        redis = open_redis(f"rediss://localhost:{port}/0")
        with pytest.raises(RedisRefusedError, match="trusted"):
            await redis.ping()
        await redis.aclose()


@pytest.fixture
async def guarded(valkey: Valkey) -> Valkey:
    """A Valkey with the access list we ship."""
    listed = (resources.files("bot") / "monitoring" / "users.acl").read_text()
    async with Redis.from_url(valkey.url) as redis:
        for line in reversed(listed.replace("BOT_PASSWORD", "b").replace("WORKER_PASSWORD", "w").splitlines()):
            _, user, *rules = line.split()
            await redis.execute_command("ACL", "SETUSER", user, *rules)
    return valkey


async def test_shipped_access_list_lets_a_job_through_and_nothing_else(guarded: Valkey, tmp_path: Path) -> None:
    """Bot and worker do all they do as its users, and can't read, wipe or configure anything beyond."""
    bot, worker = (f"redis://{user}:{password}@127.0.0.1:{guarded.port}/0" for user, password in (("bot", "b"), ("worker", "w")))
    studio = tmp_path / "studio"
    studio.mkdir()
    store = (studio / "store").as_uri()
    process = await WorkerProcess.start(studio, guarded, CALLSHEET_REDIS_URL=worker, CALLSHEET_STORE_URL=store)
    try:
        async with open_core(tmp_path / "bot", bot, store_url=store) as core:
            await eventually(core.queue.workers)
            job_id = (await core.generate()).view.record.job_id

            async def ended() -> bool:
                await core.dispatcher.dispatch()
                await core.consume()
                await core.dispatcher.reconcile()
                return (await core.record(job_id)).status is JobStatus.SUCCEEDED

            await eventually(ended)
        assert await process.stop() == 0, process.log.read_text()
    finally:
        if process.process.returncode is None:
            process.kill()
    assert "NOPERM" not in process.log.read_text()
    for url in (bot, worker):
        async with Redis.from_url(url) as redis:
            for forbidden in (redis.flushall(), redis.keys("*"), redis.config_get("*"), redis.get("somebody:else"), redis.acl_list()):
                with pytest.raises(NoPermissionError):
                    await forbidden
