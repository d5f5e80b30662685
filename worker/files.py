"""Local files of a worker: one locked home folder, caches of downloads and of features by content, a folder per try, stored checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from engine.contracts import objects
from engine.contracts.model import Contract, StoredObject
from engine.errors import StoreError
from engine.hashing import file_sha256
from engine.store import ObjectStore

logger = logging.getLogger(__name__)

PARALLEL_DOWNLOADS = 8
ROOM_LOOK_S = 0.5


class HomeInUseError(Exception):
    """Another worker process on this host uses the same folder, so it has the same worker id."""


@contextlib.contextmanager
def locked_home(home: Path) -> Iterator[Path]:
    """Make `home` and own it; what an earlier process left of its jobs is deleted. The lock dies with the process.

    Raises:
        HomeInUseError: Another process owns it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeInUseError(f"Another worker runs in {home}: give this one another CALLSHEET_WORKER_ID.") from error
        shutil.rmtree(home / "jobs", ignore_errors=True)
        yield home


class Scratch:
    """Downloads, features of training sets and job folders under an owned home."""

    def __init__(self, home: Path, store: ObjectStore, cache_bytes: int, least_free_bytes: int = 0) -> None:
        self._home = home
        self._jobs = home / "jobs"
        self._cache = home / "cache"
        self._store = store
        self.features = home / "features"
        """Latents and text features for all trainings, named by what they depend on; the GPU child puts them here."""

        self._cache_bytes = cache_bytes
        self._least_free_bytes = least_free_bytes
        self._room, self._look_at = True, 0.0
        self._forgotten: str | None = None
        self._downloads = asyncio.Semaphore(PARALLEL_DOWNLOADS)
        self._one_by_one: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by name in the cache
        for folder in (self._cache, self.features):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def has_room(self) -> bool:
        """False while the disk is too full for a job, even without the cache; looked at every `ROOM_LOOK_S`."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + ROOM_LOOK_S
            room = self._free() >= self._least_free_bytes
            if not room:
                self.empty_cache()
                room = self._free() >= self._least_free_bytes
            if room is not self._room:
                logger.warning("there is room for jobs again" if room else "the disk is full: no job is taken until there is room")
            self._room = room
        return self._room

    def _free(self) -> int:
        try:
            return shutil.disk_usage(self._home).free
        except OSError:  # a disk that fails has no room either
            return -1

    def empty_cache(self) -> None:
        """Give back the room of what is kept for reuse; running jobs keep theirs."""
        for path in self._kept():
            path.unlink(missing_ok=True)

    def _kept(self) -> Iterator[Path]:
        """Whole files of the caches; what begins with a dot is still being written."""
        return (path for folder in (self._cache, self.features) for path in folder.iterdir() if not path.name.startswith("."))

    def obey(self, forgotten: str) -> None:
        """Drop the caches when somebody was forgotten since the last call, also one of an earlier process. `forgotten` tells when."""
        note = self._home / "forgotten"
        if self._forgotten is None:
            self._forgotten = note.read_text() if note.exists() else ""
        if forgotten != self._forgotten:
            self.empty_cache()
            note.write_text(forgotten)
            self._forgotten = forgotten
            logger.info("somebody was forgotten: nothing is kept for reuse")

    @contextlib.asynccontextmanager
    async def job_folder(self, job_id: str, attempt: int) -> AsyncIterator[Path]:
        """A new empty folder for one try; deleted afterwards."""
        folder = _fresh(self._jobs / f"{job_id}-{attempt}")
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._trim()

    async def fetch(self, wanted: Sequence[StoredObject], into: Path) -> tuple[Path, ...]:
        """Local copies of stored objects, in order. They are links into the cache, so trimming it takes nothing away from a job.

        Raises:
            StoreError: One is missing, damaged, or the store does not answer.
        """
        _fresh(into)
        paths = await asyncio.gather(*(self._fetch_one(obj, into / f"{index:05d}") for index, obj in enumerate(wanted)))
        self._trim()
        return tuple(paths)

    async def warm(self, wanted: Sequence[StoredObject]) -> tuple[Path, ...]:
        """Bring objects into the cache before a job asks for them; where they lie there, until they are trimmed.

        Raises:
            StoreError: One is missing, damaged, or the store does not answer.
        """
        paths = await asyncio.gather(*(self._cached(obj) for obj in wanted))
        self._trim()
        return tuple(paths)

    async def _fetch_one(self, obj: StoredObject, stem: Path) -> Path:
        cached = await self._cached(obj)
        # No await between here and the check or download before: `_trim` runs in this loop too and must not come between.
        path = stem.with_name(f"{stem.name}{cached.suffix}")
        path.hardlink_to(cached)
        return path

    async def _cached(self, obj: StoredObject) -> Path:
        """The object's file in the cache, downloaded by the first who wants it."""
        cached = self._cache / f"{obj.sha256}.{objects.extension_of(obj.media_type)}"
        async with self._one_by_one.setdefault(cached.name, asyncio.Lock()), self._downloads:
            if cached.exists():
                os.utime(cached)
            else:
                await self._store.get_file(obj, cached)
        return cached

    def _trim(self) -> None:
        """Forget the files used longest ago until the caches fit their limit."""
        found = []
        for path in self._kept():
            with contextlib.suppress(FileNotFoundError):  # the child renames what it puts there
                facts = path.stat()
                found.append((facts.st_mtime, facts.st_size, path))
        total = 0
        for _, size, path in sorted(found, reverse=True):
            total += size
            if total > self._cache_bytes:
                path.unlink(missing_ok=True)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class _CheckpointFile(Contract):
    name: str
    object: StoredObject


class _CheckpointIndex(Contract):
    step: int
    files: tuple[_CheckpointFile, ...]


@dataclass(frozen=True)
class _IndexName:
    """The name of an index object tells its hash, so that it can be verified like everything else: `index-STEP-ATTEMPT-SIZE-SHA.json`."""

    step: int
    attempt: int
    key: str
    size: int
    sha256: str


_INDEX = re.compile(r"index-(\d+)-(\d+)-(\d+)-([0-9a-f]{64})\.json$")


class Checkpoints:
    """Resume states in the store. A new one becomes visible whole (its index is written last), then older ones are deleted.

    `key` names the objects of a job: its checkpoints, or the features of its training set, which are kept the same way.
    """

    def __init__(self, store: ObjectStore, key: Callable[[str, str], str] = objects.checkpoint_key) -> None:
        self._store = store
        self._key = key
        self._stored: dict[str, dict[str, StoredObject]] = {}  # job -> content -> where it lies already

    async def save(self, job_id: str, attempt: int, step: int, files: Sequence[Path]) -> None:
        """Store `files` as the job's state after `step`.

        Raises:
            StoreError: Nothing changed for a reader.
        """
        entries = []
        before, now = self._stored.get(job_id, {}), {}
        for path in files:
            sha256 = await asyncio.to_thread(file_sha256, path)
            stored = before.get(sha256)  # a checkpoint kept for the choice is part of many states, and is stored once
            if stored is None:
                key = self._key(job_id, f"{step:06d}-{attempt}-{path.name}")
                stored = await self._store.put_file(key, path, "application/octet-stream")
            now[sha256] = stored
            entries.append(_CheckpointFile(name=path.name, object=stored))
        data = _CheckpointIndex(step=step, files=tuple(entries)).model_dump_json().encode()
        name = f"index-{step:06d}-{attempt}-{len(data)}-{hashlib.sha256(data).hexdigest()}.json"
        await self._store.put_bytes(self._key(job_id, name), data, "application/json")
        self._stored[job_id] = now
        keep = {self._key(job_id, name), *(entry.object.key for entry in entries)}
        for key in await self._store.list(self._key(job_id, "")):
            if key not in keep:
                await self._store.delete(key)

    async def restore(self, job_id: str, into: Path) -> int | None:
        """Bring the newest complete state to `into`; a damaged one is passed over for an older one.

        Returns:
            Its step, or None when there is no usable state.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        for index in await self._indexes(job_id):
            obj = StoredObject(key=index.key, sha256=index.sha256, size=index.size, media_type="application/json")
            _fresh(into)
            try:
                content = _CheckpointIndex.model_validate_json(await self._store.get_bytes(obj))
                for entry in content.files:
                    await self._store.get_file(entry.object, into / Path(entry.name).name)
            except StoreError as error:
                if error.code.retryable:
                    raise
                logger.warning("checkpoint of step %d is unusable: %s", index.step, error, extra={"job_id": job_id})
                shutil.rmtree(into, ignore_errors=True)
                continue
            return content.step
        return None

    async def drop(self, job_id: str) -> None:
        """Delete every state of a job that is over; what can't be deleted now is left to the store's clean-up."""
        self._stored.pop(job_id, None)
        try:
            for key in await self._store.list(self._key(job_id, "")):
                await self._store.delete(key)
        except StoreError as error:
            logger.warning("checkpoints not deleted: %s", error, extra={"job_id": job_id})

    async def _indexes(self, job_id: str) -> list[_IndexName]:
        found = []
        for key in await self._store.list(self._key(job_id, "")):
            match = _INDEX.search(key)
            if match:
                found.append(_IndexName(int(match[1]), int(match[2]), key, int(match[3]), match[4]))
        return sorted(found, key=lambda index: (index.step, index.attempt), reverse=True)
