"""Databases of every earlier version come up to date with everything that was in them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from bot.config import BotSettings
from bot.services.plans import Plan, Plans
from bot.services.quotas import Quotas, window_of
from bot.services.servers import Servers
from bot.storage import jobs, ledger, line, loras, usage
from bot.storage.database import load_migrations, migrate, open_database
from engine.contracts.status import JobStatus
from tests.support.bot_core import ManualClock, actor

ROOT = Path(__file__).parents[3]
DUMP = ROOT / "tests" / "golden" / "database_0001.sql"
"""A database of the first version with something in every table."""
NOW = 1_790_000_000.0
VERSIONS = [migration.version for migration in load_migrations()]
PLAYER = """
import sys
from pathlib import Path
import asyncio
from bot.storage.database import DatabaseError, open_database

async def main():
    try:
        async with open_database(Path(sys.argv[1])):
            print("open")
    except DatabaseError as error:
        print(error)

asyncio.run(main())
"""


@pytest.mark.parametrize("version", VERSIONS)
async def test_database_of_every_version_comes_up_to_date_with_its_data(version: int, tmp_path: Path) -> None:
    """The first version's data, brought to `version` by an older bot, then opened by this one."""
    path = tmp_path / "callsheet.sqlite3"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(DUMP.read_text())
    async with aiosqlite.connect(path, isolation_level=None) as older_bot:
        older_bot.row_factory = sqlite3.Row
        await migrate(older_bot, [migration for migration in load_migrations() if migration.version <= version])
    async with open_database(path) as database:
        db = database.reader
        assert [row["version"] for row in await db.execute_fetchall("SELECT version FROM migrations ORDER BY version")] == VERSIONS
        assert await db.execute_fetchall("PRAGMA foreign_key_check") == []
        assert (next(iter(await db.execute_fetchall("PRAGMA integrity_check"))))[0] == "ok"
        records = await jobs.select(db, "true ORDER BY job_id", ())
        assert [record.status for record in records] == [
            *(JobStatus.SUCCEEDED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED),
            *(JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.QUEUED),
        ]
        assert [record.job_id for record in await line.waiting(db, "tiny", records[5].lane, records[5].pool, 9, 99)] == [
            records[5].job_id,
            records[6].job_id,
        ]
        lora = await loras.named(db, "zoko", 1, 10)
        assert lora is not None
        assert (lora.uses, lora.file is not None, lora.job_id) == (3, True, records[0].job_id)
        counted = await usage.job_counts(db, 10, 0)
        assert sum(count.jobs for count in counted) == sum(record.guild_id == 10 for record in records) > 0


async def test_every_unit_of_the_first_version_is_still_there(tmp_path: Path) -> None:
    """Balances are the sums of the entries, limits that were set hold, and open jobs can still end."""
    path = tmp_path / "callsheet.sqlite3"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(DUMP.read_text())
        before = {user: (held, spent) for user, held, spent in old.execute("SELECT user_id, sum(held), sum(spent) FROM ledger GROUP BY 1")}
    async with open_database(path) as database:
        clock = ManualClock(NOW)
        servers = Servers(database)
        quotas = Quotas(database, clock, Plans(BotSettings(), database, clock), servers)
        for user_id, (held, spent) in before.items():
            assert await ledger.of_user(database.reader, user_id, window_of(NOW)) == ledger.Balance(held, spent)
        assert (await servers.get(10)).limits.user_units == 500
        guest = actor(2)
        assert [(meter.scope, meter.limit) for meter in await quotas.meters(guest)] == [("person", 7), ("member", 500)]
        async with database.transaction() as tx:
            assert await ledger.end(tx, "01JD0000000000000000000005", 1, NOW)
            assert await ledger.credit(tx, "01JD0000000000000000000001", NOW) == 200
        assert (await ledger.of_user(database.reader, 1, window_of(NOW))).spent == before[1][1] + 1 - 200
        assert await Plans(BotSettings(), database, clock).plan_of(10, 1) is Plan.PREMIUM


def test_second_process_is_refused_while_the_first_has_the_file(tmp_path: Path) -> None:
    """Two bots on one database: the second one says so and goes away; when the first is gone, it may start."""
    path = str(tmp_path / "callsheet.sqlite3")
    hold = PLAYER.replace('print("open")', 'print("open", flush=True); sys.stdin.read()')
    with subprocess.Popen([sys.executable, "-c", hold, path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        second = subprocess.run([sys.executable, "-c", PLAYER, path], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
        assert second.stdout.startswith("Another bot is running on ")
        first.stdin.close()
        assert first.wait(60) == 0
    third = subprocess.run([sys.executable, "-c", PLAYER, path], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert third.stdout == "open\n"
