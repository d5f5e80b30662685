"""Units: never overspent, never lost, never invented."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiosqlite import Connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from ulid import ULID

from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.services.outcomes import Outcomes
from bot.services.plans import Plans
from bot.services.quotas import WINDOW_S, Quotas, bounds_of, charge_for, window_of
from bot.services.servers import Limits, QuotaWindow, Servers
from bot.storage import jobs as jobs_table
from bot.storage import ledger
from bot.storage.database import open_database
from engine.contracts.events import CheckpointSaved, Event, JobCancelled, JobFailed, JobStarted, JobSucceeded
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.status import JobStatus
from tests.support import contracts
from tests.support.bot_core import GUILD, Core, ManualClock, PlayedWorker, actor, rendered, trained
from tests.support.database import NOW, new_job
from tests.support.valkey import Valkey


async def test_quota_is_never_overspent_when_200_requests_come_at_once(core: Core) -> None:
    """200 concurrent requests against 10 units get exactly 10 units."""
    core.set(daily_units=10)
    core.set(max_open_jobs=1000)
    results = await asyncio.gather(*(core.generate() for _ in range(200)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Refusal)]
    assert len(results) - len(refused) == 10
    assert {refusal.code for refusal in refused} == {RefusalCode.QUOTA_EXCEEDED}
    assert (await core.services.quotas.status(actor())).left == 0
    assert len(await core.rows("jobs")) == len(await core.rows("ledger")) == 10


async def test_quota_refusal_says_when_units_return_when_the_day_is_spent(core: Core) -> None:
    """The fact is the next midnight in UTC, and then there are units again."""
    core.set(daily_units=1)
    await core.generate()
    with pytest.raises(Refusal) as refused:
        await core.generate()
    assert refused.value.facts == {
        "needed": 1,
        "left": 0,
        "limit": 1,
        "resets_at": window_of(NOW) + WINDOW_S,
        "scope": "person",
        "window": "day",
    }
    core.clock.now += WINDOW_S
    await core.generate()


async def test_refund_goes_to_the_day_of_the_reservation_when_the_job_ends_later(core: Core, played_worker: PlayedWorker) -> None:
    """Units given back after midnight do not make the new day longer."""
    submitted = await core.generate()
    core.clock.now += WINDOW_S
    await core.services.jobs.cancel(submitted.view.record.job_id, actor())
    status = await core.services.quotas.status(actor())
    assert (status.left, status.reserved) == (core.settings.daily_units, 0)


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


PEOPLE = (1, 2)
SERVERS = (10, 11)
DAILY, SERVERS_UNITS, MEMBERS_UNITS = 30, 40, 25


class CrashError(Exception):
    """The process dies before its commit."""


@dataclass
class Expected:
    """What the model knows of one job."""

    job: GenerateVideo | TrainLora
    user_id: int
    guild_id: int
    day: float
    units: int
    held: int
    spent: int = 0
    attempt: int = 0
    seq: int = 0


class LedgerMachine(RuleBasedStateMachine):
    """Two people in two servers: any order of submits, progress, ends (also twice), credits, crashes, restarts and new days."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.known: list[Expected] = []
        self._open()
        for guild in SERVERS:
            self._run(self.servers.change(guild, server_units=SERVERS_UNITS, window=QuotaWindow.WEEK))
        self._run(self.servers.change(10, limits=Limits(user_units=MEMBERS_UNITS)))

    def _open(self) -> None:
        self.opening = open_database(Path(self.folder.name) / "db")
        self.database = self._run(self.opening.__aenter__())
        self.servers = Servers(self.database)
        plans = Plans(BotSettings(daily_units=DAILY), self.database, self.clock)
        self.quotas = Quotas(self.database, self.clock, plans, self.servers)
        self.outcomes = Outcomes(self.quotas, self.clock)

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def _write(self, work: Callable[[Connection], Coroutine[Any, Any, Any]], crash: bool = False) -> Any:
        """One transaction; a crash comes when everything in it was done, but its commit was not."""

        async def attempt() -> Any:
            async with self.database.transaction() as tx:
                result = await work(tx)
                if crash:
                    raise CrashError
                return result

        return self._run(attempt())

    def _left(self, user_id: int, guild_id: int) -> int:
        """What the model would let a person spend here now."""
        today, week = window_of(self.clock.now), bounds_of(QuotaWindow.WEEK, self.clock.now)[0]

        def used(fits: Callable[[Expected], bool]) -> int:
            return sum(one.held + one.spent for one in self.known if fits(one))

        here = SERVERS_UNITS - used(lambda one: one.guild_id == guild_id and one.day >= week)
        own = DAILY - used(lambda one: one.user_id == user_id and one.day == today)
        member = MEMBERS_UNITS - used(lambda one: one.guild_id == guild_id and one.user_id == user_id and one.day >= week)
        return min(here, own, member) if guild_id == 10 else min(here, own)

    @rule(
        target=jobs,
        user_id=st.sampled_from(PEOPLE),
        guild_id=st.sampled_from(SERVERS),
        units=st.integers(0, 16),
        trains=st.booleans(),
        crash=st.booleans(),
    )
    def submit(self, user_id: int, guild_id: int, units: int, trains: bool, crash: bool) -> Any:
        """Granted exactly when it fits every limit; a crash before the commit leaves neither job nor entry."""
        job_id = str(ULID())
        job = contracts.train_lora(job_id=job_id) if trains else contracts.generate_video(job_id=job_id)
        fits = units <= self._left(user_id, guild_id)

        async def both(tx: Connection) -> None:
            await self.quotas.reserve(tx, actor(user_id, guild_id=guild_id), job_id, units)
            await jobs_table.insert(tx, new_job(job, owner_id=user_id, guild_id=guild_id, units=units))

        try:
            self._write(both, crash)
        except Refusal:
            assert not fits
            return multiple()
        except CrashError:
            assert fits
            return multiple()
        assert fits
        expected = Expected(job, user_id, guild_id, window_of(self.clock.now), units, held=units)
        self.known.append(expected)
        return expected

    @rule(one=jobs, crash=st.booleans(), steps=st.integers(0, 400))
    def progress(self, one: Expected, crash: bool, steps: int) -> None:
        """A worker begins (again) or reports a checkpoint: no unit moves."""
        one.attempt += 1
        events: list[Event] = [
            JobStarted(job_id=one.job.job_id, attempt=one.attempt, seq=0, at=NOW, worker_id="w", total_steps=400),
            CheckpointSaved(job_id=one.job.job_id, attempt=one.attempt, seq=1, at=NOW, step=steps),
        ]
        self._apply(events, crash)

    @rule(one=jobs, crash=st.booleans(), times=st.integers(1, 2))
    def settle(self, one: Expected, crash: bool, times: int) -> None:
        """A result costs the whole price, once; after another end it costs nothing more."""
        result = trained(one.job) if isinstance(one.job, TrainLora) else rendered(one.job)
        event = JobSucceeded(job_id=one.job.job_id, attempt=max(1, one.attempt), seq=5, at=NOW, result=result)
        if self._apply([event] * times, crash) and one.held:
            one.held, one.spent = 0, one.units

    @rule(one=jobs, crash=st.booleans(), times=st.integers(1, 2))
    def fail(self, one: Expected, crash: bool, times: int) -> None:
        """A failure of the newest attempt gives everything back; a late one changes nothing."""
        one.attempt += 1
        event = JobFailed(job_id=one.job.job_id, attempt=one.attempt, seq=6, at=NOW, code=FailureCode.INTERNAL, detail="", steps_done=3)
        if self._apply([event] * times, crash):
            one.held = 0

    @rule(one=jobs, crash=st.booleans(), steps=st.integers(0, 500))
    def cancel(self, one: Expected, crash: bool, steps: int) -> None:
        """A cancelled job pays its share of the price, rounded up, never more than the price."""
        event = JobCancelled(job_id=one.job.job_id, attempt=max(1, one.attempt), seq=7, at=NOW, steps_done=steps)
        record = self._run(jobs_table.get(self.database.reader, one.job.job_id))
        if self._apply([event], crash) and one.held:
            total = one.job.steps if isinstance(one.job, TrainLora) else record.total_steps
            one.held, one.spent = 0, charge_for(one.units, steps, total)

    @rule(one=jobs, crash=st.booleans())
    def credit(self, one: Expected, crash: bool) -> None:
        """An admin gives back what an ended job was charged, once; a job that still runs has nothing to give back."""
        with contextlib.suppress(CrashError):
            assert self._write(lambda tx: self.quotas.credit(tx, one.job.job_id), crash) == one.spent
            one.spent = 0

    @rule()
    def restart(self) -> None:
        """The bot stops and comes back on the same file."""
        self._run(self.opening.__aexit__(None, None, None))
        self._open()

    @rule()
    def next_day(self) -> None:
        """Midnight."""
        self.clock.now += WINDOW_S

    @invariant()
    def every_unit_is_where_it_should_be(self) -> None:
        """Entries, balances and model agree on every person, server and day, and nothing is negative."""
        sql = "SELECT guild_id, day, user_id, held, spent FROM balances WHERE held <> 0 OR spent <> 0"
        summed = """SELECT guild_id, window_start, user_id, sum(held), sum(spent) FROM ledger
            GROUP BY 1, 2, 3 HAVING sum(held) <> 0 OR sum(spent) <> 0"""
        wanted: dict[tuple[int, float, int], tuple[int, int]] = {}
        for one in self.known:
            held, spent = wanted.get((one.guild_id, one.day, one.user_id), (0, 0))
            wanted[one.guild_id, one.day, one.user_id] = (held + one.held, spent + one.spent)
        wanted = {key: amounts for key, amounts in wanted.items() if amounts != (0, 0)}
        for query in (sql, summed):
            rows = self._run(self.database.reader.execute_fetchall(query))
            assert {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows} == wanted
        assert all(held >= 0 and spent >= 0 for held, spent in wanted.values())
        assert all(self._left(user_id, guild_id) >= 0 for user_id in PEOPLE for guild_id in SERVERS)

    @invariant()
    def rows_say_what_the_ledger_says(self) -> None:
        """A job's price, its open entry and its charge belong together."""
        for one in self.known:
            record = self._run(jobs_table.get(self.database.reader, one.job.job_id))
            assert record.status.terminal == (record.units_charged is not None)
            assert record.units == one.units
            assert one.held == (0 if record.status.terminal else one.units)

    @invariant()
    def counted_jobs_are_those_of_the_rows(self) -> None:
        """What reports add up is what adding up every row would say."""
        day = f"CAST(created_at / {WINDOW_S} AS INTEGER) * {WINDOW_S}"
        counted = "SELECT guild_id, day, kind, status, jobs FROM job_counts WHERE jobs > 0"
        rows = f"SELECT guild_id, {day}, kind, status, count(*) FROM jobs GROUP BY 1, 2, 3, 4"
        found = [{tuple(row) for row in self._run(self.database.reader.execute_fetchall(sql))} for sql in (counted, rows)]
        assert found[0] == found[1]

    def _apply(self, events: list[Event], crash: bool) -> bool:
        """Apply the workers' events in one transaction; False when it crashed."""

        async def all_of_them(tx: Connection) -> None:
            for event in events:
                await self.outcomes.apply(tx, event)

        try:
            self._write(all_of_them, crash)
        except CrashError:
            return False
        return True

    def teardown(self) -> None:
        """Close everything."""
        self._run(self.opening.__aexit__(None, None, None))
        self.loop.close()
        self.folder.cleanup()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


async def test_three_limits_hold_at_once_when_many_people_ask(core: Core) -> None:
    """200 people at once against a server's 10 units get exactly 10; the refusal names the server's limit and when it returns."""
    await core.services.servers.change(GUILD, server_units=10, window=QuotaWindow.WEEK)
    results = await asyncio.gather(*(core.generate(actor(number, name=f"p{number}")) for number in range(200)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Refusal)]
    assert len(results) - len(refused) == 10
    assert {(no.code, no.facts["scope"], no.facts["resets_at"]) for no in refused} == {
        (RefusalCode.QUOTA_EXCEEDED, "server", bounds_of(QuotaWindow.WEEK, NOW)[1])
    }
    assert len(await core.rows("jobs")) == 10


async def test_role_replaces_the_servers_limits_when_somebody_has_it(core: Core) -> None:
    """Of several roles the most generous counts, for units and for waiting jobs; the other server is not touched."""
    servers = core.services.servers
    await servers.change(GUILD, limits=Limits(user_units=1, waiting=5))
    await servers.limit_role(GUILD, 70, Limits(user_units=2))
    await servers.limit_role(GUILD, 71, Limits(user_units=3, waiting=1))
    for roles, units, waiting in (((), 1, 5), ((70,), 2, 5), ((70, 71), 3, 1), ((99,), 1, 5)):
        limits = await core.services.quotas.limits(replace(actor(), role_ids=roles))
        assert (limits.user_units, limits.waiting) == (units, waiting)
    assert await core.services.quotas.limits(actor(guild_id=11)) == Limits()
    vip = replace(actor(), role_ids=(71,))
    await core.generate(vip)
    with pytest.raises(Refusal) as refused:
        await core.generate(vip)
    assert (refused.value.code, refused.value.facts) == (RefusalCode.TOO_MANY_JOBS, {"open": 1, "limit": 1, "here": True})


async def test_person_has_no_more_jobs_at_work_than_the_server_lets_them(core: Core, played_worker: PlayedWorker) -> None:
    """The limit of the moment of the submit holds in the dispatcher; others go past, and an end makes room."""
    await core.services.servers.change(GUILD, limits=Limits(running=1))
    first, second = [(await core.generate()).view.record for _ in range(2)]
    third = (await core.generate(actor(2, name="other"))).view.record
    await core.dispatcher.dispatch()
    assert await core.dispatcher.dispatch() == 0
    assert {row["job_id"]: row["status"] for row in await core.rows("jobs")} == {
        first.job_id: "dispatched",
        second.job_id: "queued",
        third.job_id: "dispatched",
    }
    await played_worker.succeed(await played_worker.claim(first.lane))
    await core.consume()
    await core.dispatcher.dispatch()
    assert (await core.record(second.job_id)).status is JobStatus.DISPATCHED


async def test_charge_is_given_back_once_when_an_admin_refunds_it(core: Core, played_worker: PlayedWorker) -> None:
    """The units return to their day; the entry of the charge stays where it is."""
    job = (await core.generate()).view.record
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(job.lane))
    await core.consume()
    assert (await core.services.quotas.status(actor())).used == job.units
    async with core.database.transaction() as tx:
        assert await core.services.quotas.credit(tx, job.job_id) == job.units
        assert await core.services.quotas.credit(tx, job.job_id) == 0
    assert (await core.services.quotas.status(actor())).used == 0
    assert [row["kind"] for row in await core.rows("ledger")] == ["reserve", "settle", "credit"]


async def test_balance_moves_along_when_a_person_is_forgotten(core: Core) -> None:
    """Entries without a name keep the server's sum; no row with the person's id is left."""
    first = (await core.generate()).view.record
    await core.generate()
    await core.services.jobs.cancel(first.job_id, actor())
    async with core.database.transaction() as tx:
        await tx.execute("UPDATE ledger SET user_id = 0")
    assert {row["user_id"] for row in await core.rows("balances")} == {0}
    assert (await ledger.of_server(core.database.reader, GUILD, 0)).held == first.units


async def test_refused_submit_leaves_no_row_when_the_quota_is_short(core: Core, valkey: Valkey) -> None:
    """No job, no card, no ledger entry for a refusal."""
    core.set(daily_units=0)
    with pytest.raises(Refusal):
        await core.generate()
    assert [await core.rows(table) for table in ("jobs", "cards", "ledger", "users")] == [[], [], [], []]
