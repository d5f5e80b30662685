"""Being forgotten, proved by a scan of every byte that is kept; the export; retention; a server that is left."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.errors import Refusal, RefusalCode
from bot.services.library import Filters
from bot.storage import privacy as table
from bot.storage.loras import Visibility
from engine.contracts.events import JobSucceeded
from engine.contracts.lora import LoraKind
from engine.contracts.model import StoredObject
from engine.contracts.results import LoraTrained, VideoRendered
from engine.contracts.status import JobStatus, Lane
from tests.support.bot_core import GUILD, Core, PlayedWorker, actor, place, rendered, trained

ANN, BOB = 314159265358979323, 271828182845904523
SECRET_PROMPT = "a lighthouse nobody else thought of"
SECRET_NAME = "Annabelle the Unmistakable"


def ann() -> Any:
    """Who will be forgotten."""
    return actor(ANN, name=SECRET_NAME)


def bob() -> Any:
    """Who stays."""
    return actor(BOB, name="bob")


async def put(core: Core, key: str, content: bytes, media_type: str) -> StoredObject:
    """A file as a worker leaves it."""
    return await core.store.put_bytes(key, content, media_type)


async def train(core: Core, worker: PlayedWorker, who: Any, name: str) -> None:
    """A finished training with real files, on pictures nobody else has."""
    files = core.pictures(4, start=0 if who.user_id == ANN else 100)
    report = await core.services.datasets.open(who, name=name, kind=LoraKind.CHARACTER, trigger=name, files=files)
    await core.services.jobs.submit_training(report.dataset.dataset_id, who, place(), 5000 + core.number())
    await worker.announce()  # a slow machine outlives one heartbeat
    await core.dispatcher.dispatch()
    job = await worker.claim(Lane.TRAIN)
    base = trained(job)  # type: ignore[arg-type]
    result = LoraTrained.model_validate(
        base.model_dump()
        | {
            "file": (await put(core, base.file.key, f"weights of {name} {who.user_id}".encode(), "application/x-safetensors")).model_dump(),
            "poster": (await put(core, f"jobs/{job.job_id}/1/poster.png", f"poster {who.user_id}".encode(), "image/png")).model_dump(),
        }
    )
    await put(core, f"checkpoints/{job.job_id}/state.json", b"{}", "application/json")
    await end(worker, job, result)
    await core.consume()


async def end(worker: PlayedWorker, job: Any, result: Any) -> None:
    """The claimed job succeeds with `result`."""
    await worker._end(job, JobSucceeded, result=result)


async def clip(core: Core, worker: PlayedWorker, who: Any, **options: Any) -> Any:
    """A finished clip with a real file."""
    submitted = await core.generate(who, **options)
    await worker.announce()  # a slow machine outlives one heartbeat
    await core.dispatcher.dispatch()
    job = await worker.claim(Lane.RENDER)
    base = rendered(job)  # type: ignore[arg-type]
    file = await put(core, base.file.key, f"clip {job.job_id}".encode(), "video/mp4")
    await end(worker, job, VideoRendered.model_validate(base.model_dump() | {"file": file.model_dump()}))
    await core.consume()
    return await core.record(submitted.view.record.job_id)


async def redis_bytes(worker: PlayedWorker) -> AsyncIterator[bytes]:
    """Every key and value in Redis."""
    redis = worker.redis
    async for key in redis.scan_iter():
        yield key
        match await redis.type(key):
            case b"string":
                yield await redis.get(key) or b""
            case b"hash":
                for field, value in (await redis.hgetall(key)).items():
                    yield field + b"=" + value
            case b"zset":
                for member in await redis.zrange(key, 0, -1):
                    yield member
            case b"stream":
                for entry, fields in await redis.xrange(key):
                    yield entry + b"".join(name + value for name, value in fields.items())
            case kind:
                raise AssertionError(f"{key!r} is a {kind!r}: teach the scan to read it")


async def everything(core: Core, worker: PlayedWorker) -> list[tuple[str, bytes]]:
    """(where, bytes) of all that is kept: database with its log, object store with its paths, the bot's other files, Redis."""
    found = []
    for path in sorted(core.folder.rglob("*")):
        if "incoming-" in path.name:  # the test's own upload, before the bot had it
            continue
        found.append((f"path {path.name}", str(path.relative_to(core.folder)).encode()))
        if path.is_file():
            found.append((str(path.relative_to(core.folder)), path.read_bytes()))
    found += [("redis", data) async for data in redis_bytes(worker)]
    return found


def needles(hashes: list[str]) -> dict[str, bytes]:
    """What must not be found: the id as text and as SQLite stores it, the name, the prompt, hashes of files."""
    wanted = {"id as text": str(ANN).encode(), "id as a number": struct.pack(">q", ANN), "name": SECRET_NAME.encode()}
    wanted["prompt"] = SECRET_PROMPT.encode()
    return wanted | {f"hash {value[:8]}": value.encode() for value in hashes}


async def hashes_of(core: Core, user_id: int, but: int) -> list[str]:
    """SHA-256 of every file a person has here; a clip also names LoRAs of others, whose hashes are not theirs."""

    async def found(who: int, *tables: str) -> set[str]:
        rows = await table.export(core.database.reader, who)
        text = json.dumps({name: rows[name] for name in tables or rows})
        return set(re.findall(r'"sha256": "([0-9a-f]{64})"', text))

    return sorted(await found(user_id) - await found(but, "loras", "lora_versions", "dataset_items"))


def hits(kept: list[tuple[str, bytes]], wanted: dict[str, bytes]) -> list[str]:
    """Where something of a person is."""
    return [f"{name} in {where}" for where, data in kept for name, needle in wanted.items() if needle in data]


async def fill(core: Core, worker: PlayedWorker) -> None:
    """Ann and Bob use everything there is; one clip of Ann still runs, one waits, and Bob's waiting clip loads her LoRA."""
    await train(core, worker, ann(), "zoko")
    await train(core, worker, bob(), "ink")
    picture = core.pictures(1, start=900)[0]
    first = await clip(core, worker, ann(), prompt=SECRET_PROMPT, loras="zoko, ink:0.5", image=picture)
    await clip(core, worker, bob(), prompt="a lake", loras="ink, zoko:0.3")
    await core.services.casts.save("duo", "zoko, ink", ann())
    await core.services.casts.save("pair", "ink, zoko", bob())
    await core.services.shares.share(first.job_id, ann())
    await core.services.datasets.open(ann(), name="draft", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4, start=500))
    await core.services.privacy.export(ann())
    await core.generate(ann(), prompt=SECRET_PROMPT + " runs")
    await worker.announce()  # a slow machine outlives one heartbeat
    await core.dispatcher.dispatch()
    await worker.claim(Lane.RENDER)
    await core.consume()
    await core.generate(ann(), prompt=SECRET_PROMPT + " waits")
    await core.generate(bob(), prompt="bob's own", loras="zoko")


async def test_nothing_is_left_of_a_person_who_is_forgotten(core: Core, played_worker: PlayedWorker) -> None:
    """No byte of their id, name, prompts or file hashes in database, write-ahead log, store, Redis; the ledger's sums stay."""
    await fill(core, played_worker)
    wanted = needles(await hashes_of(core, ANN, but=BOB))
    assert len(wanted) > 12
    before = hits(await everything(core, played_worker), wanted)
    assert {name.split(" in ")[0] for name in before} == set(wanted), "the scan finds everything while it is there"
    spent = sum(row["spent"] for row in await core.rows("ledger"))

    leaving = await core.services.privacy.request(ann())
    assert leaving.open_jobs == 1, "the running one has to let go first"
    assert await core.services.privacy.leaving() == []
    with pytest.raises(Refusal) as refused:
        await core.generate(ann(), prompt="again")
    assert refused.value.code is RefusalCode.BEING_FORGOTTEN
    running = next(row for row in await core.rows("jobs") if row["status"] == "running")
    job = (await core.record(running["job_id"])).job
    await played_worker.cancelled(job, 3)
    await core.consume()
    assert await core.services.privacy.leaving() == [ANN]
    told = await core.queue.redis.get(core.queue.keys.forgotten)
    await core.services.privacy.finish(ANN)

    assert await core.queue.redis.get(core.queue.keys.forgotten) != told, "workers are to drop their copies"
    assert hits(await everything(core, played_worker), wanted) == []
    assert await core.services.privacy.leaving() == []
    ledger = await core.rows("ledger")
    assert sum(row["spent"] for row in ledger) >= spent
    assert sum(row["held"] for row in ledger if row["user_id"] < 0) == 0
    assert all(row["user_id"] == BOB or row["user_id"] < 0 for row in ledger)


async def test_others_keep_what_is_theirs_when_somebody_is_forgotten(core: Core, played_worker: PlayedWorker) -> None:
    """Bob's LoRA, clips, cast and files are untouched; his clip that loaded the LoRA of the forgotten one was stopped and refunded."""
    await fill(core, played_worker)
    bobs = {key for key in await core.store.list("") if str(BOB) in key}
    await core.services.privacy.request(ann())
    running = next(row for row in await core.rows("jobs") if row["status"] == "running")
    await played_worker.cancelled((await core.record(running["job_id"])).job, 3)
    await core.consume()
    await core.services.privacy.finish(ANN)
    assert bobs <= set(await core.store.list(""))
    views = await core.services.jobs.mine(bob())
    stopped, done, training = (view.record for view in sorted(views, key=lambda view: view.record.job_id, reverse=True))
    assert (stopped.status, stopped.units_charged) == (JobStatus.CANCELLED, 0)
    assert (done.status, training.status) == (JobStatus.SUCCEEDED, JobStatus.SUCCEEDED)
    assert [use.name for use in done.job.adapters] == ["ink"]  # type: ignore[union-attr]
    assert await core.store.exists(done.result.file.key)  # type: ignore[union-attr]
    assert [[lora.name for lora, _ in cast.members] for cast in await core.services.casts.listed(bob())] == [["ink"]]
    assert (await core.generate(bob(), loras="@pair")).view.record.status is JobStatus.QUEUED


async def test_forgetting_goes_on_after_a_restart_and_when_the_store_was_away(core: Core, played_worker: PlayedWorker) -> None:
    """The request is a row: whatever fails, it is tried again until nothing is left."""
    await train(core, played_worker, ann(), "zoko")
    await core.services.privacy.request(ann())
    held, core.store._backend = core.store._backend, None  # type: ignore[assignment]
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a store that is not there says
        await core.services.privacy.finish(ANN)
    core.store._backend = held
    assert await core.services.privacy.leaving() == [ANN]
    await core.services.privacy.finish(ANN)
    assert hits(await everything(core, played_worker), needles([])) == []


async def test_every_column_about_a_person_is_covered(core: Core) -> None:
    """A new table with somebody's id must say what becomes of it."""
    covered = set(table.covered()) | {("erasures", "user_id")}
    for row in await core.database.reader.execute_fetchall("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for column in await core.database.reader.execute_fetchall(f"PRAGMA table_info({row['name']})"):
            if column["name"] in table.PERSON_COLUMNS:
                assert (row["name"], column["name"]) in covered, f"{row['name']}.{column['name']}"


async def test_export_is_everything_about_one_person(core: Core, played_worker: PlayedWorker) -> None:
    """Rows and files of theirs, none of somebody else's; the link works and goes when they do."""
    await fill(core, played_worker)
    link, size = await core.services.privacy.export(ann())
    download = core.services.files.signer.open(*link.rsplit("/", 2)[1:])
    assert download is not None
    data = await core.store.get_bytes(download.obj)
    assert len(data) == size
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        rows = json.loads(archive.read("data.json"))
        names = archive.namelist()
        text = archive.read("data.json").decode()
    assert {row["name"] for row in rows["loras"]} == {"zoko"}
    assert SECRET_PROMPT in text
    assert str(BOB) not in text
    assert any(name.startswith("files/loras/") for name in names)
    assert any(name.startswith(f"files/uploads/{ANN}/") for name in names)
    assert not any(str(BOB) in name for name in names)


async def test_uploads_expire_after_their_training(core: Core, played_worker: PlayedWorker) -> None:
    """Pictures of a training go when the time is up; the LoRA stays."""
    await train(core, played_worker, ann(), "zoko")
    uploads = await core.store.list(f"uploads/{ANN}")
    assert len(uploads) == 4
    assert await core.services.privacy.expire() == 0
    core.clock.now += core.settings.upload_retention_s + 1
    assert await core.services.privacy.expire() == 4
    assert await core.store.list(f"uploads/{ANN}") == []
    assert (await core.generate(ann(), loras="zoko")).duplicate is False


async def test_old_exports_expire(core: Core, played_worker: PlayedWorker) -> None:
    """A zip with everything does not lie around for ever."""
    await core.services.privacy.export(ann())
    made = len(await core.store.list("exports"))
    core.clock.now += 10 * 365 * 86400  # the file's own name says when it was made
    assert await core.services.privacy.expire() == made == 1


async def test_server_that_removes_the_bot_leaves_loras_to_their_owners(core: Core, played_worker: PlayedWorker) -> None:
    """Waiting jobs stop, settings go, and what was made there is seen by its maker only."""
    await train(core, played_worker, ann(), "zoko")
    waiting = await core.generate(bob(), loras="zoko")
    await core.services.privacy.forget_guild(GUILD)
    assert (await core.record(waiting.view.record.job_id)).status is JobStatus.CANCELLED
    assert (await core.services.library.page(bob(), Filters(), 1)).loras == ()
    mine = (await core.services.library.page(ann(), Filters(), 1)).loras
    assert [(lora.name, lora.visibility) for lora in mine] == [("zoko", Visibility.PRIVATE)]
