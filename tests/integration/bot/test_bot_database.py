"""The SQLite file: migrations, transactions, sole ownership."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import aiosqlite
import pytest

from bot.storage import jobs as jobs_table
from bot.storage.database import Database, DatabaseError, Migration, load_migrations, migrate, open_database
from tests.support.database import new_job


async def _versions(path: Path) -> list[int]:
    async with aiosqlite.connect(path) as connection:
        return [row[0] for row in await connection.execute_fetchall("SELECT version FROM migrations ORDER BY version")]


async def test_database_is_at_the_latest_version_when_opened_once_or_twice(tmp_path: Path) -> None:
    """Opening applies what is missing, and nothing the second time."""
    path = tmp_path / "new" / "callsheet.sqlite3"
    for _ in range(2):
        async with open_database(path):
            pass
    assert await _versions(path) == [migration.version for migration in load_migrations()]


async def test_database_is_refused_when_a_migration_was_edited_afterwards(tmp_path: Path) -> None:
    """What was applied must be what the file says."""
    async with aiosqlite.connect(tmp_path / "db", isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        await migrate(connection, [Migration(1, "0001_a.sql", "CREATE TABLE a (x);")])
        with pytest.raises(DatabaseError, match=r"0001_a\.sql was edited"):
            await migrate(connection, [Migration(1, "0001_a.sql", "CREATE TABLE a (y);")])


async def test_database_is_refused_when_a_newer_bot_wrote_it(tmp_path: Path) -> None:
    """An older bot keeps its hands off tables it does not know."""
    async with aiosqlite.connect(tmp_path / "db", isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        first = Migration(1, "0001_a.sql", "CREATE TABLE a (x);")
        await migrate(connection, [first, Migration(2, "0002_b.sql", "CREATE TABLE b (x);")])
        with pytest.raises(DatabaseError, match="newer bot"):
            await migrate(connection, [first])


async def test_migration_leaves_nothing_behind_when_its_second_statement_fails(tmp_path: Path) -> None:
    """A migration is applied whole or not at all."""
    async with aiosqlite.connect(tmp_path / "db", isolation_level=None) as connection:
        connection.row_factory = sqlite3.Row
        broken = Migration(1, "0001_a.sql", "CREATE TABLE a (x);\nCREATE TABLE a (x);")
        with pytest.raises(sqlite3.OperationalError):
            await migrate(connection, [broken])
        await migrate(connection, [Migration(1, "0001_a.sql", "CREATE TABLE a (x);")])
        assert await connection.execute_fetchall("SELECT * FROM a") == []


async def test_second_bot_is_refused_when_the_first_runs(tmp_path: Path) -> None:
    """Two bots on one file would post everything twice."""
    path = tmp_path / "callsheet.sqlite3"
    async with open_database(path):
        with pytest.raises(DatabaseError, match="Another bot"):
            async with open_database(path):
                pass
    async with open_database(path):
        pass


async def test_transaction_is_rolled_back_when_its_task_is_cancelled(database: Database) -> None:
    """A cancelled command leaves neither rows nor an open transaction."""
    inserted, never = asyncio.Event(), asyncio.Event()

    async def interrupted() -> None:
        async with database.transaction() as tx:
            await jobs_table.insert(tx, new_job())
            inserted.set()
            await never.wait()

    task = asyncio.create_task(interrupted())
    await inserted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as tx:
        assert await jobs_table.count_open(tx, 1) == 0


async def test_transactions_take_turns_when_cancelled_at_any_await(database: Database) -> None:
    """Tasks cancelled while they wait for, begin or commit a transaction never break the next one."""

    async def write() -> None:
        async with database.transaction() as tx:
            await jobs_table.insert(tx, new_job())

    tasks = [asyncio.create_task(write()) for _ in range(60)]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0)
        if number % 3 == 0:
            tasks[number // 2].cancel()
        del task
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    async with database.transaction() as tx:
        await jobs_table.insert(tx, new_job())


async def test_writer_works_in_the_loops_thread_and_reader_in_its_own(database: Database) -> None:
    """Short statements save the way to another thread; long reads do not stop the loop. aiosqlite's private hook still is one."""

    async def thread_of(connection: aiosqlite.Connection) -> int:
        await connection.create_function("thread", 0, threading.get_ident)
        rows = await connection.execute_fetchall("SELECT thread()")
        return int(next(iter(rows))[0])

    async with database.transaction() as tx:
        assert await thread_of(tx) == threading.get_ident()
    assert await thread_of(database.reader) != threading.get_ident()
