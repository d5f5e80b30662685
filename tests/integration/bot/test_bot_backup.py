"""A backup made while the bot works, and a bot that goes on from it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from bot.storage.backup import back_up, restore
from bot.storage.database import DatabaseError, open_database
from engine.contracts.status import JobStatus, Lane
from tests.support.bot_core import PlayedWorker, open_core
from tests.support.database import put_job
from tests.support.valkey import Valkey


async def test_backup_is_whole_when_it_is_made_while_jobs_come_in(tmp_path: Path) -> None:
    """It is the database of one moment, however busy the writer is."""
    path, copy = tmp_path / "callsheet.sqlite3", tmp_path / "backups" / "one.sqlite3"
    async with open_database(path) as database:
        for _ in range(50):
            await put_job(database)
        copying = asyncio.create_task(asyncio.to_thread(back_up, path, copy))
        later = 0
        while not copying.done():
            await put_job(database)
            later += 1
        assert await copying == copy.stat().st_size
    with sqlite3.connect(copy) as connection:
        (jobs,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
        assert 50 <= jobs <= 50 + later
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_bot_goes_on_from_a_backup_when_its_database_is_lost(tmp_path: Path, valkey: Valkey) -> None:
    """Jobs of the backup end once more or once only; events since then are read again from the stream."""
    folder, copy = tmp_path / "bot", tmp_path / "copy.sqlite3"
    async with open_core(folder, valkey.url) as core:
        worker = PlayedWorker(core.queue.redis)
        await worker.announce()
        job_id = (await core.generate()).view.record.job_id
        await core.dispatcher.dispatch()
        job = await worker.claim(Lane.RENDER)
        await core.consume()
        await asyncio.to_thread(back_up, core.settings.database_path, copy)
        await worker.succeed(job)
        await core.consume()
        path = core.settings.database_path
    kept = await asyncio.to_thread(restore, copy, path)
    assert kept is not None
    async with open_core(folder, valkey.url) as core:
        assert (await core.record(job_id)).status is JobStatus.RUNNING
        await core.consume()
        assert (await core.record(job_id)).status is JobStatus.SUCCEEDED
        assert [entry["kind"] for entry in await core.rows("ledger")] == ["reserve", "settle"]


async def test_restore_is_refused_when_a_bot_is_running(tmp_path: Path) -> None:
    """Nobody's file is pulled away."""
    path, copy = tmp_path / "callsheet.sqlite3", tmp_path / "copy.sqlite3"
    async with open_database(path):
        back_up(path, copy)
        with pytest.raises(DatabaseError, match="running"):
            restore(copy, path)


def test_backup_and_restore_say_what_to_do_when_a_file_is_not_right(tmp_path: Path) -> None:
    """Missing, in the way, damaged, not ours."""
    path, copy = tmp_path / "callsheet.sqlite3", tmp_path / "copy.sqlite3"
    with pytest.raises(DatabaseError, match="CALLSHEET_DATA_DIR"):
        back_up(path, copy)
    with pytest.raises(DatabaseError, match="no backup"):
        restore(copy, path)
    copy.write_bytes(b"SQLite format 3\x00" + b"rubbish" * 1000)
    with pytest.raises(DatabaseError, match="no database of the bot"):
        restore(copy, path)
    sqlite3.connect(path).close()
    path.write_bytes(b"")
    with pytest.raises(DatabaseError, match="exists already"):
        back_up(path, copy)
