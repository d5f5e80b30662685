"""The bot's small web server: signed downloads, and what an operator's monitor asks."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from bot.services.links import LinkSigner
from engine.contracts.model import StoredObject
from engine.contracts.objects import extension_of
from engine.errors import ObjectMissingError, StoreError
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

Health = Callable[[], Awaitable[Mapping[str, bool]]]
"""Names of what the bot needs -> whether it is there."""

KEPT_S = 3600.0
"""Local copies older than this are deleted at the next download."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "private, max-age=300",
}


class WebServer:
    """Serves on a socket that is bound already, so that the port is known before anything links to it."""

    def __init__(self, bound: socket.socket, store: ObjectStore, signer: LinkSigner, folder: Path, health: Health) -> None:
        self._socket = bound
        self._store = store
        self._signer = signer
        self._folder = folder
        self._health = health

    def application(self) -> web.Application:
        """The routes; there is no listing of anything."""
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/d/{token}/{filename}", self._download)
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

    async def _download(self, request: web.Request) -> web.StreamResponse:
        filename = request.match_info["filename"]
        download = self._signer.open(request.match_info["token"], filename)
        if download is None:
            raise web.HTTPNotFound(text="There is nothing here.\n")
        if self._signer.expired(download):
            raise web.HTTPGone(text="This link has expired; ask for a new one in Discord.\n")
        try:
            path = await self._local(download.obj)
        except ObjectMissingError:
            raise web.HTTPGone(text="This file was deleted.\n") from None
        except StoreError as error:
            logger.warning("download failed: %s", error)
            raise web.HTTPServiceUnavailable(text="The file store does not answer; try again in a minute.\n") from None
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
            "Content-Type": download.obj.media_type,
        }
        return web.FileResponse(path, headers=headers)

    async def _local(self, obj: StoredObject) -> Path:
        """A verified copy on disk, from which ranges can be served."""
        path = self._folder / f"{obj.sha256}.{extension_of(obj.media_type)}"
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


def _clear(folder: Path, age_s: float) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            if path.stat().st_mtime < time.time() - age_s:
                path.unlink(missing_ok=True)
