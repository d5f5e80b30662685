"""The download server over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bot.services.links import LinkSigner
from bot.web import WebServer, bind
from engine.contracts.model import StoredObject
from engine.store import ObjectStore
from tests.support.bot_core import ManualClock

CONTENT = bytes(range(256)) * 40


@dataclass
class Site:
    """A running server with one stored file."""

    url: str
    signer: LinkSigner
    store: ObjectStore
    obj: StoredObject
    clock: ManualClock
    health: dict[str, bool]
    http: aiohttp.ClientSession


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Start it on a free port."""
    store = ObjectStore.open((tmp_path / "store").as_uri())
    obj = await store.put_bytes("jobs/a/1/clip.mp4", CONTENT, "video/mp4")
    clock, health = ManualClock(), {"redis": True}
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    signer = LinkSigner(b"key", url, 100.0, clock)

    async def checks() -> Mapping[str, bool]:
        return health

    serving = asyncio.create_task(WebServer(listener, store, signer, tmp_path / "downloads", checks).run())
    async with aiohttp.ClientSession() as http:
        yield Site(url, signer, store, obj, clock, health, http)
    serving.cancel()
    await asyncio.wait([serving])
    listener.close()


async def test_link_delivers_the_file_when_it_is_fresh(site: Site) -> None:
    """The whole file, under its name, with headers that keep a browser from running it."""
    async with site.http.get(site.signer.url(site.obj, "zoko no. 1.mp4")) as answer:
        assert answer.status == 200
        assert await answer.read() == CONTENT
        assert answer.headers["Content-Type"] == "video/mp4"
        assert "zoko%20no.%201.mp4" in answer.headers["Content-Disposition"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_link_delivers_a_range_when_a_player_seeks(site: Site) -> None:
    """Partial content for players and resumed downloads."""
    async with site.http.get(site.signer.url(site.obj, "a.mp4"), headers={"Range": "bytes=10-19"}) as answer:
        assert (answer.status, await answer.read()) == (206, CONTENT[10:20])


async def test_link_is_refused_when_it_is_tampered_with_expired_or_its_file_deleted(site: Site) -> None:
    """404 for what we did not sign, 410 for what is over."""
    url = site.signer.url(site.obj, "a.mp4")
    head, token, filename = url.rsplit("/", 2)
    swapped = token[:50] + ("A" if token[50] != "A" else "B") + token[51:]
    for bad in (f"{head}/{swapped}/{filename}", f"{head}/{token}/b.mp4", f"{head}/x/a.mp4", f"{head}/%F0%9F/a.mp4", f"{site.url}/d/"):
        async with site.http.get(bad) as answer:
            assert answer.status == 404, bad
    site.clock.now += 101
    async with site.http.get(url) as answer:
        assert answer.status == 410
    site.clock.now -= 101
    await site.store.delete(site.obj.key)
    async with site.http.get(url) as answer:
        assert answer.status == 410


async def test_readiness_follows_what_the_bot_needs_when_redis_goes(site: Site) -> None:
    """/healthz says the process lives, /readyz whether it can work."""
    async with site.http.get(f"{site.url}/readyz") as answer:
        assert answer.status == 200
    site.health["redis"] = False
    async with site.http.get(f"{site.url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"redis": False})
    async with site.http.get(f"{site.url}/healthz") as answer:
        assert answer.status == 200
