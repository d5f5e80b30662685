"""The CDN: stored files under signed, expiring URLs on cdn.discordapp.com and media.discordapp.net."""

from __future__ import annotations

import hashlib
import io
import mimetypes
from pathlib import PurePosixPath
from urllib.parse import quote

import av
import av.error
from aiohttp import web
from PIL import Image

from bot.sandbox.core import Core
from bot.sandbox.world import Attachment

CDN = "https://cdn.discordapp.com"
URL_LIFETIME_S = 24 * 3600
_SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"


def store_file(
    core: Core, filename: str, data: bytes, *, channel_id: int, ephemeral: bool = False, description: str | None = None
) -> Attachment:
    """Keep `data` and give it a URL; Discord replaces other characters of a name than letters, digits, `_`, `-` and `.`."""
    attachment_id = core.world.ids.next()
    name = "".join(c if c in _SAFE else "_" for c in PurePosixPath(filename.replace("\\", "/")).name) or "file"
    folder = f"ephemeral-attachments/{core.world.application_id}" if ephemeral else f"attachments/{channel_id}"
    path = f"/{folder}/{attachment_id}/{quote(name)}"
    expires = int(core.clock.now()) + URL_LIFETIME_S
    url = f"{CDN}{path}?ex={expires:x}&is={int(core.clock.now()):x}&hm={_signature(core, path, f'{expires:x}')}&"
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    size = _dimensions(content_type, data)
    attachment = Attachment(
        attachment_id,
        name,
        content_type,
        data,
        url,
        ephemeral=ephemeral,
        description=description,
        width=size[0] if size else None,
        height=size[1] if size else None,
    )
    core.world.files[path] = attachment
    return attachment


def _signature(core: Core, path: str, expires: str) -> str:
    return hashlib.sha256(f"{core.token}{path}{expires}".encode()).hexdigest()


def _dimensions(content_type: str, data: bytes) -> tuple[int, int] | None:
    """Width and height when the content can be read; Discord shows none for what it cannot."""
    try:
        if content_type.startswith("image/"):
            with Image.open(io.BytesIO(data)) as image:
                return image.size
        if content_type.startswith("video/"):
            with av.open(io.BytesIO(data)) as container:
                stream = container.streams.video[0]
                return stream.width, stream.height
    except (OSError, ValueError, IndexError, Image.DecompressionBombError, av.error.FFmpegError):
        return None
    return None


class Cdn:
    """Answers GET for stored files; a URL past its expiry or with another signature answers 404."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.downloads: list[str] = []
        self.broken: set[str] = set()  # file names that answer 500

    async def serve(self, request: web.Request) -> web.Response:
        """One file."""
        path = quote(request.path)
        attachment = self._core.world.files.get(path)
        expires = request.query.get("ex", "")
        if "Authorization" in request.headers:
            self._core.violation(f"CDN {request.path}", "the bot token was sent to the CDN")
        if (
            attachment is None
            or request.query.get("hm") != _signature(self._core, path, expires)
            or int(expires, 16) < self._core.clock.now()
        ):
            return web.Response(status=404, text="This content is no longer available.")
        if attachment.filename in self.broken:
            return web.Response(status=500, text="")
        self.downloads.append(attachment.filename)
        return web.Response(body=attachment.data, headers={"Content-Type": attachment.content_type})
