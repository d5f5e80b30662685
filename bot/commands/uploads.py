"""Attachments to local disk: only from Discord's file servers, streamed, never more bytes than allowed.

discord.py would read a whole file into memory from any address in the payload (reference/discord.md A1), and ephemeral addresses expire,
so the bytes are copied inside the interaction that brought them.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import discord
from yarl import URL

from bot.errors import Refusal, RefusalCode
from bot.services.values import IncomingFile

_log = logging.getLogger(__name__)

CDN_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
CHUNK_BYTES = 64 * 1024
PARALLEL = 4
DOWNLOAD_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Upload:
    """One attachment as the payload announces it."""

    filename: str
    url: str
    size: int  # bytes, as announced

    @classmethod
    def of(cls, attachment: discord.Attachment) -> Upload:
        """From a command option."""
        return cls(attachment.filename, attachment.url, attachment.size)

    @classmethod
    def from_payload(cls, attachment: Mapping[str, Any]) -> Upload:
        """From the raw object in a modal submit."""
        return cls(str(attachment["filename"]), str(attachment["url"]), int(attachment["size"]))


@asynccontextmanager
async def scratch_folder(parent: Path) -> AsyncIterator[Path]:
    """A folder for the length of the block."""
    folder = await asyncio.to_thread(_new_folder, parent)
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _new_folder(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="sheet-", dir=parent))


class Downloader:
    """Copies attachments into temporary folders under `scratch`.

    `max_bytes` bounds one file; `session` is the caller's and must not follow proxies or redirects of its own.
    """

    def __init__(self, session: aiohttp.ClientSession, scratch: Path, max_bytes: int) -> None:
        self._session = session
        self._scratch = scratch
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(PARALLEL)

    @asynccontextmanager
    async def fetched(self, uploads: Sequence[Upload]) -> AsyncIterator[list[IncomingFile]]:
        """All of `uploads` on disk, in order; the copies are gone when the block ends.

        Raises:
            Refusal: FILE_TOO_LARGE, ATTACHMENT_UNAVAILABLE.
        """
        for upload in uploads:
            self._check(upload)
        self._scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="upload-", dir=self._scratch))
        try:
            # names on disk are ours: what a person calls a file never becomes a path
            targets = [folder / f"{number:02d}.bin" for number in range(len(uploads))]
            try:
                async with asyncio.TaskGroup() as group:
                    for upload, target in zip(uploads, targets, strict=True):
                        group.create_task(self._fetch(upload, target))
            except ExceptionGroup as failures:
                raise failures.exceptions[0] from None  # one sentence answers, so the first reason stands for all
            yield [IncomingFile(upload.filename, target, target.stat().st_size) for upload, target in zip(uploads, targets, strict=True)]
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _check(self, upload: Upload) -> None:
        url = URL(upload.url)
        if url.scheme != "https" or url.host not in CDN_HOSTS or url.port != 443 or url.user is not None:
            _log.warning("attachment with a foreign address refused", extra={"host": url.host})
            raise Refusal(RefusalCode.ATTACHMENT_UNAVAILABLE, filename=upload.filename)
        if upload.size > self._max_bytes:
            raise Refusal(RefusalCode.FILE_TOO_LARGE, filename=upload.filename, size=upload.size, limit=self._max_bytes)

    async def _fetch(self, upload: Upload, target: Path) -> None:
        unavailable = Refusal(RefusalCode.ATTACHMENT_UNAVAILABLE, filename=upload.filename)
        try:
            async with (
                self._slots,
                asyncio.timeout(DOWNLOAD_TIMEOUT_S),
                self._session.get(URL(upload.url, encoded=True), allow_redirects=False) as reply,
            ):
                if reply.status != 200:
                    _log.warning("attachment not delivered", extra={"status": reply.status})
                    raise unavailable
                await self._stream(reply, upload, target)
        except (aiohttp.ClientError, TimeoutError) as error:
            _log.warning("attachment not delivered: %s", error)
            raise unavailable from error

    async def _stream(self, reply: aiohttp.ClientResponse, upload: Upload, target: Path) -> None:
        received = 0
        with target.open("wb") as file:
            async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                received += len(chunk)
                if received > self._max_bytes:
                    raise Refusal(RefusalCode.FILE_TOO_LARGE, filename=upload.filename, size=received, limit=self._max_bytes)
                file.write(chunk)
