"""The bot's small web server: signed downloads, pages of shared clips, and what an operator's monitor asks."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import web
from jinja2 import Environment, PackageLoader
from prometheus_client import CONTENT_TYPE_LATEST

from bot.services.links import LinkSigner
from bot.services.shares import SharedClip, Shares
from bot.ui import format as fmt
from engine.contracts.bases import BASES
from engine.contracts.model import StoredObject
from engine.contracts.objects import extension_of
from engine.errors import ObjectMissingError, StoreError
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

Gate = Callable[[StoredObject, int], Awaitable[bool]]
"""Whether an object may be handed to a reader (0: anybody); asked at every request, so that a link dies with what it leads to."""

Health = Callable[[], Awaitable[Mapping[str, bool]]]
"""Names of what the bot needs -> whether it is there."""

HANDED_ON_S = 60.0
"""Life of the store's own link that a download is handed on to."""

KEPT_S = 3600.0
"""Local copies older than this are deleted at the next download."""

NOTHING = "There is nothing here.\n"

_NO_WAY_OUT = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "private, max-age=300",
}


@dataclass(frozen=True)
class Metrics:
    """Figures for a monitor: with a token for whoever has it, without one for this machine only, and not through a proxy."""

    text: Callable[[], Awaitable[bytes]]
    token: str | None

    def may_read(self, request: web.Request) -> bool:
        """True for a monitor of the operator."""
        if self.token is not None:
            return hmac.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {self.token}".encode())
        return request.remote in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers and "Forwarded" not in request.headers


class WebServer:
    """Serves on a socket that is bound already, so that the port is known before anything links to it."""

    def __init__(
        self,
        bound: socket.socket,
        store: ObjectStore,
        signer: LinkSigner,
        folder: Path,
        health: Health,
        gate: Gate,
        shares: Shares,
        metrics: Metrics | None = None,
    ) -> None:
        self._socket = bound
        self._store = store
        self._signer = signer
        self._folder = folder
        self._health = health
        self._gate = gate
        self._shares = shares
        self._metrics = metrics
        self._page = Environment(loader=PackageLoader("bot", "pages"), autoescape=True, trim_blocks=True).get_template("share.html")

    def application(self) -> web.Application:
        """The routes; there is no listing of anything."""
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get("/d/{token}/{filename}", self._download)
        app.router.add_get("/s/{share}", self._share_page)
        app.router.add_get("/s/{share}/clip.mp4", self._share_clip)
        app.router.add_get("/s/{share}/poster.png", self._share_poster)
        app.on_response_prepare.append(_secure)
        return app

    async def run(self) -> None:
        """Serve until cancelled."""
        runner = web.AppRunner(self.application(), access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket).start()
            await asyncio.get_running_loop().create_future()
        finally:
            await runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        checks = await self._health()
        return web.json_response(dict(checks), status=200 if all(checks.values()) else 503)

    async def _scrape(self, request: web.Request) -> web.Response:
        if self._metrics is None or not self._metrics.may_read(request):
            raise web.HTTPNotFound(text=NOTHING)
        return web.Response(body=await self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _download(self, request: web.Request) -> web.StreamResponse:
        filename = request.match_info["filename"]
        download = self._signer.open(request.match_info["token"], filename)
        if download is None:
            raise web.HTTPNotFound(text=NOTHING)
        if self._signer.expired(download):
            raise web.HTTPGone(text="This link has expired; ask for a new one in Discord.\n")
        if not await self._gate(download.obj, download.reader_id):
            raise await self._deleted(download.obj)
        try:
            address = await self._store.signed_url(download.obj.key, HANDED_ON_S)
        except StoreError as error:
            raise _unavailable(error) from None
        if address is not None:  # a store that serves files itself does it better
            raise web.HTTPFound(address, headers={"Cache-Control": "no-store"})
        return await self._file(download.obj, {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}"})

    async def _share_page(self, request: web.Request) -> web.Response:
        clip = await self._shared(request)
        nonce = secrets.token_urlsafe(16)
        result, profile = clip.result, BASES.get(clip.record.base)
        page = self._page.render(
            nonce=nonce,
            share_id=clip.share_id,
            address=self._shares.address(clip.share_id),
            title=fmt.plain(clip.job.prompt, 80),
            prompt=fmt.plain(clip.job.prompt, 2000),
            maker=fmt.plain(clip.record.owner_name, 64),
            base=profile.title if profile is not None else clip.record.base,
            seed=result.seed,
            width=result.posted_width,
            height=result.posted_height,
            seconds=f"{result.geometry.seconds:.1f}",
            poster=result.poster is not None,
            ingredients=[
                (each.name or "a private LoRA", fmt.plain(each.maker or "", 64), fmt.weight(each.weight)) for each in clip.ingredients
            ],
        )
        policy = f"default-src 'none'; media-src 'self'; img-src 'self'; style-src 'nonce-{nonce}'; {_NO_WAY_OUT}"
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _share_clip(self, request: web.Request) -> web.StreamResponse:
        return await self._file((await self._shared(request)).result.file, {"Content-Disposition": "inline"})

    async def _share_poster(self, request: web.Request) -> web.StreamResponse:
        poster = (await self._shared(request)).result.poster
        if poster is None:
            raise web.HTTPNotFound(text=NOTHING)
        return await self._file(poster, {"Content-Disposition": "inline"})

    async def _shared(self, request: web.Request) -> SharedClip:
        clip = await self._shares.open(request.match_info["share"])
        if clip is None:
            raise web.HTTPNotFound(text=NOTHING)
        return clip

    async def _file(self, obj: StoredObject, headers: Mapping[str, str]) -> web.StreamResponse:
        """The content of an object, whole or in ranges."""
        try:
            if not await self._store.exists(obj.key):
                raise await self._deleted(obj)
            path = await self._local(obj)
        except ObjectMissingError:
            raise await self._deleted(obj) from None
        except StoreError as error:
            raise _unavailable(error) from None
        return web.FileResponse(path, headers={**headers, "Content-Type": obj.media_type})

    async def _deleted(self, obj: StoredObject) -> web.HTTPGone:
        """The answer for what there was; a copy kept for ranges goes along."""
        await asyncio.to_thread(self._copy_of(obj).unlink, missing_ok=True)
        return web.HTTPGone(text="This file was deleted.\n")

    def _copy_of(self, obj: StoredObject) -> Path:
        return self._folder / f"{obj.sha256}.{extension_of(obj.media_type)}"

    async def _local(self, obj: StoredObject) -> Path:
        """A verified copy on disk, from which ranges can be served."""
        path = self._copy_of(obj)
        if not await asyncio.to_thread(path.exists):
            await asyncio.to_thread(_clear, self._folder, KEPT_S)
            await self._store.get_file(obj, path)
        return path


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one.

    Raises:
        OSError: the address is not ours or taken.
    """
    return socket.create_server((host, port), backlog=128)


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _unavailable(error: StoreError) -> web.HTTPServiceUnavailable:
    logger.warning("download failed: %s", error)
    return web.HTTPServiceUnavailable(text="The file store does not answer; try again in a minute.\n")


def _clear(folder: Path, age_s: float) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            if path.stat().st_mtime < time.time() - age_s:
                path.unlink(missing_ok=True)
