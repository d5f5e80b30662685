"""The SQLite file: one writer connection behind a lock, one connection for reads, plain SQL migrations.

Measured choices are in `reference/queue.md` §7: WAL, short `BEGIN IMMEDIATE` transactions, never a network call inside one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import aiosqlite

MAPPED_BYTES = 2**30
"""Of the file, read without a system call per page; addresses only, no memory is set aside."""

BUSY_TIMEOUT_MS = 5000
CHECKPOINT_S = 1.0
PRAGMAS = (
    "secure_delete = ON",  # a row that is deleted is gone from the file, not only from sight
    "journal_mode = WAL",
    f"busy_timeout = {BUSY_TIMEOUT_MS}",
    "foreign_keys = ON",
    "synchronous = NORMAL",
)
CHECKPOINT_TRIES = 20
CHECKPOINT_PAUSE_S = 0.05


class DatabaseError(Exception):
    """The file cannot be used as it is; the message says why."""


@dataclass(frozen=True)
class Migration:
    """One file of `migrations/`: `0001_initial.sql` is version 1."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Proves that an applied migration was not edited afterwards."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Database:
    """Open database. Readers see the last commit, and never wait for the writer."""

    def __init__(self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self.path = path
        self._writer = writer
        self._lock = asyncio.Lock()
        self.reader = reader

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[aiosqlite.Connection]:
        """A connection of its own for long reads: it sees one commit throughout, and nobody waits for it."""
        connection = await _connect(self.path)
        try:
            await connection.execute("PRAGMA query_only = ON")
            await connection.execute("BEGIN")
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """The writer inside `BEGIN IMMEDIATE`: committed at the end, rolled back on any exception, cancellation included."""
        async with self._lock:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                await self._writer.execute("COMMIT")
            except BaseException:
                # a cancelled task must not leave its transaction to the next one
                await asyncio.shield(self._rollback())
                raise

    async def compact(self) -> None:
        """Write the file anew and empty the write-ahead log: no page and no log frame keeps what was deleted. Seconds for a large file."""
        async with self._lock:
            await self._writer.execute("VACUUM")
            for _ in range(CHECKPOINT_TRIES):
                rows = list(await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)"))
                if not rows[0][0]:  # nobody was reading an older state
                    return
                await asyncio.sleep(CHECKPOINT_PAUSE_S)

    async def _rollback(self) -> None:
        # the connection's thread works first in, first out: a BEGIN or COMMIT whose waiter was cancelled has run before this does
        with contextlib.suppress(sqlite3.OperationalError):  # nothing open any more
            await self._writer.execute("ROLLBACK")


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[Database]:
    """Open (or make) the file, bring it to the latest version, and keep every other process from writing it.

    Raises:
        DatabaseError: another bot has it open, a migration was edited, or a newer bot wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with sole_owner(path):
        writer = await _connect(path)
        keeper = asyncio.create_task(_keep_log_short(path))
        try:
            await migrate(writer, load_migrations())
            _work_in_place(writer)
            await writer.execute("PRAGMA wal_autocheckpoint = 0")
            reader = await _connect(path)
            try:
                await reader.execute("PRAGMA query_only = ON")
                yield Database(path, writer, reader)
            finally:
                await reader.close()
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await writer.close()


def _work_in_place(connection: aiosqlite.Connection) -> None:
    """Let a connection work in the event loop's own thread instead of aiosqlite's.

    A statement of ours takes some 20 microseconds, the way to the other thread and back five times as much, and much longer where many
    processes share few cores; a job takes about forty statements. What does take long, syncing the log into the file, is left to
    `_keep_log_short`.
    """

    async def execute(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    setattr(connection, "_execute", execute)  # noqa: B010 - it has no public name; a test pins it


async def _keep_log_short(path: Path) -> None:
    """Move the write-ahead log into the database, in a thread of its own; writers don't wait for it."""
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            await connection.execute_fetchall("PRAGMA wal_checkpoint(PASSIVE)")


async def _connect(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    # a row that is deleted is gone from the file, not only from sight
    for pragma in (
        "secure_delete = ON",
        "journal_mode = WAL",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "foreign_keys = ON",
        "synchronous = NORMAL",
        f"mmap_size = {MAPPED_BYTES}",
    ):
        await connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def sole_owner(path: Path) -> Iterator[None]:
    """Hold `<path>.lock`: two bots on one file would post everything twice."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseError(f"Another bot is running on {path}; stop it first.") from None
        yield


def load_migrations() -> list[Migration]:
    """The packaged migrations in order."""
    folder = resources.files("bot.storage") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(int(name.split("_")[0]), name, (folder / name).read_text(encoding="utf-8")) for name in names]


async def migrate(connection: aiosqlite.Connection, migrations: list[Migration]) -> None:
    """Apply what is missing, each migration in a transaction of its own.

    Raises:
        DatabaseError: an applied migration differs from its file, or the file knows versions this bot does not.
    """
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations "
        "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at REAL NOT NULL) STRICT"
    )
    rows = await connection.execute_fetchall("SELECT version, name, checksum FROM migrations")
    applied = {int(row["version"]): row for row in rows}
    known = {migration.version: migration for migration in migrations}
    for version, row in applied.items():
        if version not in known:
            raise DatabaseError(f"The database was written by a newer bot (migration {row['name']}); install that version.")
        if row["checksum"] != known[version].checksum:
            raise DatabaseError(f"Migration {row['name']} was edited after it was applied; restore the original file.")
    for migration in migrations:
        if migration.version not in applied:
            await _apply(connection, migration)


async def _apply(connection: aiosqlite.Connection, migration: Migration) -> None:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements(migration.sql):
            await connection.execute(statement)
        await connection.execute(
            "INSERT INTO migrations (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
            (migration.version, migration.name, migration.checksum, time.time()),
        )
        await connection.execute("COMMIT")
    except BaseException:
        await connection.execute("ROLLBACK")
        raise


def statements(sql: str) -> Iterator[str]:
    """The single statements of a script, triggers whole; `executescript` would commit in between."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():
        raise DatabaseError(f"The last statement of a migration is not complete: {pending.strip()[:80]}")
