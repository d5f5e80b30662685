"""A real SQLite file with every migration applied, and rows to put in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ulid import ULID

from bot.storage import jobs as jobs_table
from bot.storage.database import Database, open_database
from bot.storage.jobs import JobRecord, NewJob
from engine.contracts.jobs import GenerateVideo, TrainLora
from tests.support import contracts

NOW = 1_800_000_000.0
"""A Friday in 2027, 08:00:00 UTC."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of the latest version."""
    async with open_database(tmp_path / "callsheet.sqlite3") as opened:
        yield opened


def new_job(job: TrainLora | GenerateVideo | None = None, **changes: Any) -> NewJob:
    """A clip of user 1 in channel 20 of server 10, with ids of its own."""
    job = job if job is not None else contracts.generate_video(job_id=str(ULID()))
    values: dict[str, Any] = {
        "owner_id": 1,
        "owner_name": "maker",
        "guild_id": 10,
        "channel_id": 20,
        "interaction_id": int(ULID.from_str(job.job_id)) % 2**62,
        "units": 1,
        "created_at": NOW,
    }
    return NewJob(job=job, **(values | changes))


async def put_job(database: Database, new: NewJob | None = None) -> JobRecord:
    """Insert a queued job and read it back."""
    new = new or new_job()
    async with database.transaction() as tx:
        await jobs_table.insert(tx, new)
    record = await jobs_table.get(database.reader, new.job.job_id)
    assert record is not None
    return record
