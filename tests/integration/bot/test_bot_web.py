"""The download server over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from bot.services.links import LinkSigner
from bot.services.shares import Ingredient, SharedClip, Shares
from bot.web import WebServer, bind
from engine.contracts.model import StoredObject
from engine.store import ObjectStore
from tests.support import discord_values as values
from tests.support.bot_core import ManualClock
from tests.support.object_server import BUCKET, options

CONTENT = bytes(range(256)) * 40


class FakeShares:
    """Shared clips by id."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clips: dict[str, SharedClip] = {}

    def address(self, share_id: str) -> str:
        """Where it is."""
        return f"{self.url}/s/{share_id}"

    async def open(self, share_id: str) -> SharedClip | None:
        """What it is."""
        return self.clips.get(share_id)


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
    allowed: dict[str, bool]
    readers: list[int]
    shares: FakeShares

    def share(self, prompt: str = "zoko walking", maker: str = "maker") -> None:
        """The stored file is a shared clip under the id `known`."""
        job = values.generation(prompt=prompt)
        result = values.clip_result(file=self.obj, poster=None)
        record = values.finished(job, result=result, owner_name=maker)
        made_of = (Ingredient("zoko", "<i>mate</i>", 0.9), Ingredient(None, None, 0.5))
        self.shares.clips["known"] = SharedClip("known", record, job, result, made_of)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A server on a local folder."""
    store = ObjectStore.open((tmp_path / "store").as_uri())
    async with served(tmp_path, store, await store.put_bytes("jobs/a/1/clip.mp4", CONTENT, "video/mp4")) as running:
        yield running


@asynccontextmanager
async def served(folder: Path, store: ObjectStore, obj: StoredObject) -> AsyncIterator[Site]:
    """Start it on a free port."""
    clock, health = ManualClock(), {"redis": True}
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    signer = LinkSigner(b"key", url, 100.0, clock)

    async def checks() -> Mapping[str, bool]:
        return health

    allowed: dict[str, bool] = {}
    readers: list[int] = []

    async def gate(asked: StoredObject, reader_id: int) -> bool:
        readers.append(reader_id)
        return allowed.get(asked.sha256, True)

    shares = FakeShares(url)
    serving = asyncio.create_task(WebServer(listener, store, signer, folder / "downloads", checks, gate, cast("Shares", shares)).run())
    async with aiohttp.ClientSession() as http:
        yield Site(url, signer, store, obj, clock, health, http, allowed, readers, shares)
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


async def test_link_dies_with_what_it_leads_to_when_it_was_opened_before(site: Site) -> None:
    """A copy kept for ranges does not outlive its object, nor a takedown."""
    url = site.signer.url(site.obj, "a.mp4")
    async with site.http.get(url) as answer:
        assert answer.status == 200
    site.allowed[site.obj.sha256] = False
    async with site.http.get(url) as answer:
        assert answer.status == 410
    site.allowed.clear()
    async with site.http.get(url) as answer:
        assert answer.status == 200
    await site.store.delete(site.obj.key)
    async with site.http.get(url, headers={"Range": "bytes=0-9"}) as answer:
        assert answer.status == 410


async def test_link_is_handed_on_to_a_store_that_serves_files_itself_when_the_reader_may_have_it(tmp_path: Path, endpoint: str) -> None:
    """The store's own link is made at the click and lives a minute; whoever may no longer have the file gets none."""
    store = ObjectStore.open(f"s3://{BUCKET}/{tmp_path.name}", s3_options=options(endpoint))
    obj = await store.put_bytes("loras/a/b.safetensors", CONTENT, "application/x-safetensors")
    async with served(tmp_path, store, obj) as site:
        url = site.signer.url(obj, "zoko.safetensors", 7)
        async with site.http.get(url, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (302, "no-store")
        async with site.http.get(url, headers={"Range": "bytes=10-19"}) as answer:
            assert (answer.status, await answer.read()) == (206, CONTENT[10:20])
        site.allowed[obj.sha256] = False
        async with site.http.get(url, allow_redirects=False) as answer:
            assert answer.status == 410
        assert site.readers == [7, 7, 7]


async def test_share_page_shows_the_clip_and_its_makers_as_text(site: Site) -> None:
    """Prompt and names are text, whatever is in them; a private LoRA has no name; the page may load nothing but its clip."""
    site.share(prompt="</title><script>alert(1)</script> zoko", maker='"><img src=x>')
    async with site.http.get(f"{site.url}/s/known") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in page
    assert "<img" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    assert "AI-generated" in page
    assert "a private LoRA 0.5" in page
    assert f'content="{site.url}/s/known/clip.mp4"' in page
    assert policy.startswith("default-src 'none'; media-src 'self'")
    assert "unsafe" not in policy
    async with site.http.get(f"{site.url}/s/known/clip.mp4", headers={"Range": "bytes=10-19"}) as answer:
        assert (answer.status, await answer.read()) == (206, CONTENT[10:20])


async def test_share_is_not_found_when_it_is_guessed_closed_or_listed(site: Site) -> None:
    """A closed page, a guessed one and any listing are the same nothing."""
    site.share()
    for path in ("/s/", "/s", "/s/other", "/s/other/clip.mp4", "/s/known/poster.png", "/s/../d", "/d", "/", "/s/known/x", "/loras"):
        async with site.http.get(site.url + path) as answer:
            assert answer.status == 404, path
    site.shares.clips.clear()
    async with site.http.get(f"{site.url}/s/known") as closed, site.http.get(f"{site.url}/s/never") as never:
        assert (closed.status, await closed.text()) == (never.status, await never.text())


async def test_readiness_follows_what_the_bot_needs_when_redis_goes(site: Site) -> None:
    """/healthz says the process lives, /readyz whether it can work."""
    async with site.http.get(f"{site.url}/readyz") as answer:
        assert answer.status == 200
    site.health["redis"] = False
    async with site.http.get(f"{site.url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (503, {"redis": False})
    async with site.http.get(f"{site.url}/healthz") as answer:
        assert answer.status == 200
