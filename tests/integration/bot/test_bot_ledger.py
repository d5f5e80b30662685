"""Units: never overspent, never lost, never invented."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from bot.errors import Refusal, RefusalCode
from bot.services.quotas import WINDOW_S, Quotas, window_of
from bot.storage import ledger
from bot.storage.database import Database, open_database
from tests.support.bot_core import Core, ManualClock, PlayedWorker, actor
from tests.support.database import NOW
from tests.support.valkey import Valkey


async def test_quota_is_never_overspent_when_200_requests_come_at_once(core: Core) -> None:
    """200 concurrent requests against 10 units get exactly 10 units."""
    core.services.quotas._daily_units = 10
    object.__setattr__(core.settings, "max_open_jobs", 1000)
    results = await asyncio.gather(*(core.generate() for _ in range(200)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Refusal)]
    assert len(results) - len(refused) == 10
    assert {refusal.code for refusal in refused} == {RefusalCode.QUOTA_EXCEEDED}
    assert (await core.services.quotas.status(actor())).left == 0
    assert len(await core.rows("jobs")) == len(await core.rows("ledger")) == 10


async def test_quota_refusal_says_when_units_return_when_the_day_is_spent(core: Core) -> None:
    """The fact is the next midnight in UTC, and then there are units again."""
    core.services.quotas._daily_units = 1
    await core.generate()
    with pytest.raises(Refusal) as refused:
        await core.generate()
    assert refused.value.facts == {"needed": 1, "left": 0, "limit": 1, "resets_at": window_of(NOW) + WINDOW_S}
    core.clock.now += WINDOW_S
    await core.generate()


async def test_refund_goes_to_the_day_of_the_reservation_when_the_job_ends_later(core: Core, played_worker: PlayedWorker) -> None:
    """Units given back after midnight do not make the new day longer."""
    submitted = await core.generate()
    core.clock.now += WINDOW_S
    await core.services.jobs.cancel(submitted.view.record.job_id, actor())
    status = await core.services.quotas.status(actor())
    assert (status.left, status.reserved) == (core.settings.daily_units, 0)


async def test_persons_limit_goes_before_the_servers_when_both_are_set(database: Database) -> None:
    """Own limit, else the server's, else the installation's."""
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO guilds VALUES (10, 7)")
        assert await ledger.daily_limit(tx, 1, 10, 100) == 7
        await ledger.remember_user(tx, 1, "maker", NOW)
        await tx.execute("UPDATE users SET daily_units = 3 WHERE user_id = 1")
        assert await ledger.daily_limit(tx, 1, 10, 100) == 3
        assert await ledger.daily_limit(tx, 2, 11, 100) == 100


@pytest.mark.parametrize("statement", ["DELETE FROM ledger", "UPDATE ledger SET held = 0", "UPDATE ledger SET window_start = 0"])
async def test_ledger_entry_stays_when_somebody_tries_to_change_it(core: Core, statement: str) -> None:
    """SQLite itself keeps the ledger append-only; only the person's id may be anonymised."""
    await core.generate()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        async with core.database.transaction() as tx:
            await tx.execute(statement)
    async with core.database.transaction() as tx:
        await tx.execute("UPDATE ledger SET user_id = 0")


async def test_job_is_charged_at_most_its_price_when_the_ledger_is_asked_for_more(core: Core) -> None:
    """A charge above the reservation is a mistake of ours that SQLite refuses."""
    submitted = await core.generate()
    with pytest.raises(sqlite3.IntegrityError):
        async with core.database.transaction() as tx:
            await ledger.end(tx, submitted.view.record.job_id, submitted.view.record.units + 1, NOW)


class LedgerMachine(RuleBasedStateMachine):
    """Any order of reservations, ends (also twice), refusals, crashes before the commit and new days."""

    jobs = Bundle("jobs")
    LIMIT = 20

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.opening = open_database(Path(self.folder.name) / "db")
        self.database = self._run(self.opening.__aenter__())
        self.clock = ManualClock()
        self.quotas = Quotas(self.database, self.clock, self.LIMIT)
        self.count = 0
        self.held: dict[str, tuple[int, float]] = {}  # job -> units, day
        self.spent: dict[float, int] = {}  # day -> units

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @property
    def _today(self) -> float:
        return window_of(self.clock.now)

    def _used(self, day: float) -> int:
        return self.spent.get(day, 0) + sum(units for units, held_day in self.held.values() if held_day == day)

    @rule(target=jobs, units=st.integers(0, 12), crash=st.booleans())
    def reserve(self, units: int, crash: bool) -> str:
        """Granted exactly when it fits; a crash before the commit leaves nothing."""
        self.count += 1
        job_id = f"job{self.count}"
        fits = self._used(self._today) + units <= self.LIMIT

        async def attempt() -> None:
            async with self.database.transaction() as tx:
                await self.quotas.reserve(tx, actor(), job_id, units)
                if crash:
                    raise RuntimeError("crash")

        try:
            self._run(attempt())
        except Refusal:
            assert not fits
        except RuntimeError:
            assert fits
        else:
            assert fits
            self.held[job_id] = (units, self._today)
        return job_id

    @rule(job_id=consumes(jobs), share=st.integers(0, 100), times=st.integers(1, 3))
    def end(self, job_id: str, share: int, times: int) -> None:
        """Charged once, however often its end is reported; a job that holds nothing charges nothing."""
        units, day = self.held.pop(job_id, (0, self._today))
        charged = units * share // 100

        async def attempt() -> None:
            async with self.database.transaction() as tx:
                await self.quotas.end(tx, job_id, charged)

        for _ in range(times):
            self._run(attempt())
        self.spent[day] = self.spent.get(day, 0) + charged

    @rule()
    def next_day(self) -> None:
        """Midnight."""
        self.clock.now += WINDOW_S

    @invariant()
    def sums_match(self) -> None:
        """Every day's balance equals the model's, and stays within the limit."""
        for day in {self._today, *self.spent, *(day for _, day in self.held.values())}:
            balance = self._run(ledger.balance(self.database.reader, 1, day))
            assert balance.spent == self.spent.get(day, 0)
            assert balance.held == sum(units for units, held_day in self.held.values() if held_day == day)
            assert 0 <= balance.held + balance.spent <= self.LIMIT

    def teardown(self) -> None:
        """Close everything."""
        self._run(self.opening.__aexit__(None, None, None))
        self.loop.close()
        self.folder.cleanup()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


async def test_refused_submit_leaves_no_row_when_the_quota_is_short(core: Core, valkey: Valkey) -> None:
    """No job, no card, no ledger entry for a refusal."""
    core.services.quotas._daily_units = 0
    with pytest.raises(Refusal):
        await core.generate()
    assert [await core.rows(table) for table in ("jobs", "cards", "ledger", "users")] == [[], [], [], []]
