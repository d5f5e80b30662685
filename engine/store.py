"""The object store: a local folder or an S3 bucket, every object named by key and proved by its SHA-256.

Torch-free, used by bot and worker alike. Reads verify size and hash; writes become visible whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, S3Store
from pydantic import TypeAdapter, ValidationError

from engine.contracts.model import StoredObject, StoreKey
from engine.errors import InvalidConfigError, ObjectCorruptError, ObjectMissingError, StoreUnavailableError

CHUNK_BYTES = 4 * 1024 * 1024
MAX_BYTES_IN_MEMORY = 64 * 1024 * 1024
MAX_SIGNED_S = 7 * 24 * 3600  # AWS Signature V4 knows no longer life

_KEY = TypeAdapter[str](StoreKey)
_CONNECT_TIMEOUT = timedelta(seconds=3)
_REQUEST_TIMEOUT = timedelta(seconds=60)
_RETRY_TIMEOUT = timedelta(seconds=20)  # a dead store must be noticed while somebody waits, not after obstore's three minutes


@dataclass(frozen=True)
class StoredEntry:
    """One object of a listing."""

    key: str
    size: int  # bytes
    modified_at: float  # unix seconds, the store's clock


class ObjectStore:
    """Put, get, list and sign objects under one URL; safe to share between tasks.

    Every method raises `StoreUnavailableError` when the store does not answer or has no room, and `ValueError` for a key
    that `StoreKey` does not allow (our own mistake: no key is ever made of what a person typed).
    """

    def __init__(self, backend: LocalStore | S3Store, url: str) -> None:
        self._backend = backend
        self.url = url

    @classmethod
    def open(cls, url: str, *, s3_options: Mapping[str, str] | None = None) -> ObjectStore:
        """Open `file:///absolute/folder` (made when missing) or `s3://bucket/prefix`; S3 is not contacted yet.

        S3 credentials, region and endpoint come from the usual `AWS_*` variables (`AWS_ALLOW_HTTP=true` for a local server);
        `s3_options` overrides them, with obstore's names (`endpoint`, `region`, `access_key_id`, …).

        Raises:
            InvalidConfigError: The URL is neither of the two.
            StoreUnavailableError: The folder cannot be made.
        """
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            raise InvalidConfigError(f"{url!r} is not a store: leave out everything from the ? or # on.")
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            with _translated(url):
                return cls(LocalStore(prefix=Path(unquote(parts.path)), mkdir=True, automatic_cleanup=True), url)
        if parts.scheme == "s3" and parts.netloc:
            options = dict(s3_options or {})
            allow_http = options.pop("allow_http", os.environ.get("AWS_ALLOW_HTTP", "")).lower() in ("1", "true")
            with _translated(url):
                backend = S3Store(
                    parts.netloc,
                    prefix=parts.path.strip("/") or None,
                    config=options,  # type: ignore[arg-type]  # a TypedDict of the same strings
                    client_options={"connect_timeout": _CONNECT_TIMEOUT, "timeout": _REQUEST_TIMEOUT, "allow_http": allow_http},
                    retry_config={"max_retries": 4, "retry_timeout": _RETRY_TIMEOUT},
                )
            return cls(backend, url)
        raise InvalidConfigError(f"{url!r} is not a store: use file:///absolute/folder or s3://bucket/prefix.")

    async def put_bytes(self, key: str, data: bytes, media_type: str) -> StoredObject:
        """Store `data` under `key`, in place of what was there; returns the reference that travels in messages."""
        stored = StoredObject(key=_checked(key), sha256=hashlib.sha256(data).hexdigest(), size=len(data), media_type=media_type)
        with _translated(key):
            await obstore.put_async(self._backend, key, data, attributes=self._attributes(media_type), use_multipart=False)
        return stored

    async def put_file(self, key: str, path: Path, media_type: str) -> StoredObject:
        """Store the file at `path`; hash and content come from the same single read.

        Raises:
            OSError: The local file cannot be read.
        """
        _checked(key)
        source = await asyncio.to_thread(path.open, "rb")
        with source:
            head = await asyncio.to_thread(source.read, CHUNK_BYTES)
            if len(head) < CHUNK_BYTES:  # one small request instead of a multipart upload
                return await self.put_bytes(key, head, media_type)
            reader = _HashingReader(source, head)
            with _translated(key):
                await obstore.put_async(self._backend, key, reader.chunks(), attributes=self._attributes(media_type))
        return StoredObject(key=key, sha256=reader.digest.hexdigest(), size=reader.size, media_type=media_type)

    async def get_bytes(self, obj: StoredObject, max_bytes: int = MAX_BYTES_IN_MEMORY) -> bytes:
        """The verified content of `obj`, for small objects.

        Raises:
            ObjectMissingError: Nothing is stored under the key.
            ObjectCorruptError: Size or hash differ from the reference, or the object is larger than `max_bytes`.
        """
        if obj.size > max_bytes:
            raise ObjectCorruptError(f"{obj.key} has {obj.size} bytes where at most {max_bytes} are expected.")
        chunks = [chunk async for chunk in self._verified(obj)]
        return b"".join(chunks)

    async def get_file(self, obj: StoredObject, path: Path) -> Path:
        """Copy the verified content of `obj` to `path` (folders made when missing); `path` appears whole or not at all.

        Raises:
            ObjectMissingError: Nothing is stored under the key.
            ObjectCorruptError: Size or hash differ from the reference.
            OSError: The local file cannot be written.
        """
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        try:
            target = await asyncio.to_thread(part.open, "wb")
            with target:
                async for chunk in self._verified(obj):
                    await asyncio.to_thread(target.write, chunk)
            await asyncio.to_thread(part.replace, path)
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        return path

    async def exists(self, key: str) -> bool:
        """True when something is stored under `key`."""
        try:
            with _translated(_checked(key)):
                await obstore.head_async(self._backend, key)
        except ObjectMissingError:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Remove what is stored under `key`; nothing there is fine too."""
        try:
            with _translated(_checked(key)):
                await obstore.delete_async(self._backend, key)
        except ObjectMissingError:
            return

    async def list(self, prefix: str) -> list[str]:
        """Sorted keys below the folder `prefix` (whole key parts: `jobs/1` does not match `jobs/10`); `""` lists all."""
        if prefix:
            _checked(prefix.removesuffix("/"))
        with _translated(prefix or self.url):
            batches = obstore.list(self._backend, prefix.removesuffix("/") or None)
            return sorted([meta["path"] async for batch in batches for meta in batch])

    async def entries(self, prefix: str) -> Sequence[StoredEntry]:
        """Like `list`, with what the store knows of each object."""
        if prefix:
            _checked(prefix.removesuffix("/"))
        with _translated(prefix or self.url):
            batches = obstore.list(self._backend, prefix.removesuffix("/") or None)
            found = [
                StoredEntry(meta["path"], meta["size"], meta["last_modified"].timestamp()) async for batch in batches for meta in batch
            ]
        return sorted(found, key=lambda entry: entry.key)

    async def modified_at(self, key: str) -> float | None:
        """When the object was last written (unix seconds, the store's clock); None when there is none."""
        try:
            with _translated(_checked(key)):
                return (await obstore.head_async(self._backend, key))["last_modified"].timestamp()
        except ObjectMissingError:
            return None

    async def signed_url(self, key: str, expires_s: float) -> str | None:
        """A link that anyone may GET for `expires_s` seconds (at most a week), or None for a local folder."""
        _checked(key)
        if not isinstance(self._backend, S3Store):
            return None
        with _translated(key):
            return await obstore.sign_async(self._backend, "GET", key, timedelta(seconds=min(expires_s, MAX_SIGNED_S)))

    def _attributes(self, media_type: str) -> dict[str, str] | None:
        return {"Content-Type": media_type} if isinstance(self._backend, S3Store) else None  # a folder has no place for it

    async def _verified(self, obj: StoredObject) -> AsyncIterator[bytes]:
        """Chunks of `obj`; raises after the last one when the hash is wrong, so a consumer publishes only after exhaustion."""
        digest, size = hashlib.sha256(), 0
        with _translated(obj.key):
            result = await obstore.get_async(self._backend, obj.key)
            if result.meta["size"] != obj.size:
                raise ObjectCorruptError(f"{obj.key} has {result.meta['size']} bytes, its reference says {obj.size}.")
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                data = bytes(chunk)
                digest.update(data)
                size += len(data)
                yield data
        if size != obj.size or digest.hexdigest() != obj.sha256:
            raise ObjectCorruptError(f"{obj.key} does not match its SHA-256.")


class _HashingReader:
    """Feeds an upload from an open file and hashes what passes."""

    def __init__(self, source: IO[bytes], head: bytes) -> None:
        self._source = source
        self._head = head
        self.digest = hashlib.sha256()
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        data = self._head
        while data:
            self.digest.update(data)
            self.size += len(data)
            yield data
            data = await asyncio.to_thread(self._source.read, CHUNK_BYTES)


def _checked(key: str) -> str:
    try:
        return _KEY.validate_python(key)
    except ValidationError as error:
        raise ValueError(f"{key!r} is not a store key") from error


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn obstore's errors into ours; `what` names the object for operators."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise ObjectMissingError(f"{what} is not in the store.") from error
    except BaseError as error:
        raise StoreUnavailableError(f"The store did not answer for {what}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
