"""A copy of the database while the bot runs, and the way back."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bot.storage.database import DatabaseError, load_migrations, sole_owner

PAGES_AT_ONCE = 500
PAUSE_S = 0.01
"""The writer gets its turn between two portions."""


def back_up(database: Path, target: Path) -> int:
    """Copy the database as of one moment to `target`, checked; safe while a bot works on it. Size in bytes.

    Raises:
        DatabaseError: There is no database, `target` exists, or the copy is damaged.
        OSError: `target` cannot be written.
    """
    if not database.is_file():
        raise DatabaseError(f"There is no database at {database}; set CALLSHEET_DATA_DIR to the bot's folder.")
    if target.exists():
        raise DatabaseError(f"{target} exists already; name another file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy, pages=PAGES_AT_ONCE, sleep=PAUSE_S)
            copy.execute("PRAGMA journal_mode = DELETE")
        _check(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def restore(backup: Path, database: Path) -> Path | None:
    """Put a backup in the place of the database; what was there is kept beside it, and its path returned.

    Raises:
        DatabaseError: The backup is missing, damaged or of a newer bot, or a bot is running.
        OSError: The file cannot be written.
    """
    if not backup.is_file():
        raise DatabaseError(f"There is no backup at {backup}.")
    _check(backup)
    database.parent.mkdir(parents=True, exist_ok=True)
    with sole_owner(database):
        part = database.with_name(database.name + ".restored")
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(f"file:{backup}?mode=ro", uri=True)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
        kept = None
        if database.exists():
            kept = database.with_name(f"{database.name}.before-{time.strftime('%Y%m%d-%H%M%S')}")
            with closing(sqlite3.connect(database)) as old:  # what is still in its log belongs to it
                old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.rename(kept)
        for leftover in ("-wal", "-shm"):
            database.with_name(database.name + leftover).unlink(missing_ok=True)
        part.rename(database)
    return kept


def _check(path: Path) -> None:
    """Raise unless the file is a whole database of ours that this bot can read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
            versions = {row[0] for row in connection.execute("SELECT version FROM migrations")}
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path} is no database of the bot: {error}.") from error
    if verdict != "ok":
        raise DatabaseError(f"{path} is damaged: {verdict}.")
    if versions - {migration.version for migration in load_migrations()}:
        raise DatabaseError(f"{path} was written by a newer bot; install that version first.")
