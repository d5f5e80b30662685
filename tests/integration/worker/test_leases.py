"""The lease scripts against a real server, one race at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from arq.constants import in_progress_key_prefix
from redis.asyncio import Redis

from engine.contracts import wire
from engine.contracts.events import EVENT_ADAPTER, JobCancelled, JobStarted
from tests.support.contracts import JOB_ID
from tests.support.valkey import Valkey
from tests.support.workers import KEYS
from worker.connection import open_redis
from worker.lease import End, Lease, LeaseBook, Release

QUEUE = "callsheet:queue:tiny:train"
LEASE_KEY = in_progress_key_prefix + JOB_ID


class Room:
    """Two workers' lease books on one server."""

    def __init__(self, url: str) -> None:
        self.redis = open_redis(url)
        self.one = LeaseBook(self.redis, KEYS, "one", lease_s=60)
        self.other = LeaseBook(self.redis, KEYS, "other", lease_s=60)

    async def queue(self, *job_ids: str) -> None:
        for score, job_id in enumerate(job_ids, start=1):
            await self.redis.enqueue_job(wire.TASK, {}, _job_id=job_id, _queue_name=QUEUE)
            await self.redis.zadd(QUEUE, {job_id: score})

    async def claimed(self, book: LeaseBook) -> Lease:
        lease = await book.claim([QUEUE])
        assert lease is not None
        return lease

    async def begun(self, book: LeaseBook) -> Lease:
        lease = await self.claimed(book)
        assert await book.begin(lease, 1)
        return lease

    async def lapse(self) -> None:
        """What time does to a lease nobody renews."""
        await self.redis.delete(LEASE_KEY)


@pytest.fixture
async def room(valkey: Valkey) -> AsyncIterator[Room]:
    """A room with one queued job."""
    room = Room(valkey.url)
    await room.queue(JOB_ID)
    yield room
    await room.redis.aclose()


async def test_job_is_claimed_by_one_worker_only(room: Room) -> None:
    """The lease names its owner and expires by itself."""
    lease = await room.claimed(room.one)
    assert await room.other.claim([QUEUE]) is None
    assert await room.redis.get(LEASE_KEY) == lease.token.encode()
    assert 0 < await room.redis.pttl(LEASE_KEY) <= 60_000


async def test_claim_finds_a_free_job_behind_hundreds_of_running_ones(room: Room) -> None:
    """Running jobs stay in the queue; arq itself looks no further than its first hundred."""
    running = [f"running-{number:04d}" for number in range(450)]
    await room.queue(*running, "free")
    await room.redis.mset({in_progress_key_prefix + job_id: b"somebody" for job_id in (*running, JOB_ID)})
    assert (await room.claimed(room.one)).job_id == "free"


async def test_claim_prefers_the_first_queue_and_the_lowest_score(room: Room) -> None:
    """Queues come in order of preference; a score in the future of any clock does not hide a job."""
    await room.redis.zadd("second", {"b": 1})
    await room.redis.zadd(QUEUE, {"early": 0.5, "late": 9e15})
    order = [lease.job_id for _ in range(4) if (lease := await room.one.claim([QUEUE, "second"]))]
    assert order == ["early", JOB_ID, "late", "b"]


async def test_claim_that_reaches_redis_too_late_is_refused(room: Room) -> None:
    """Whoever sent it has given up, and nobody would renew the lease."""
    await room.one.start([QUEUE])  # learns the server's clock
    assert room.one._clock_offset_ms is not None
    room.one._clock_offset_ms -= 60_000
    assert await room.one.claim([QUEUE]) is None
    assert await room.one.claim([QUEUE]) is not None  # the refusal brought the right time


async def test_begin_counts_a_try_once_however_often_it_is_sent(room: Room) -> None:
    """A repeated command, after an answer that was lost, changes nothing."""
    lease = await room.begun(room.one)
    assert await room.one.begin(lease, 1)
    assert (lease.attempt, lease.crashed) == (1, 0)


async def test_begin_starts_from_the_number_the_bot_asks_for(room: Room) -> None:
    """After Redis lost everything, the bot knows better which tries there were."""
    lease = await room.claimed(room.one)
    assert await room.one.begin(lease, 5)
    assert lease.attempt == 5


async def test_try_that_was_never_closed_counts_as_crashed(room: Room) -> None:
    """That is what a worker leaves that was killed."""
    await room.begun(room.one)
    await room.lapse()
    again = await room.begun(room.other)
    assert (again.attempt, again.crashed) == (2, 1)


@pytest.mark.parametrize(("counted", "crashed"), [(True, 1), (False, 0)])
async def test_release_counts_the_try_only_when_told_to(room: Room, counted: bool, crashed: int) -> None:
    """A crash of the child uses up a try, a deploy does not; sent twice, it still counts once."""
    lease = await room.begun(room.one)
    lease.closing = Release(counted=counted)
    assert await room.one.close(lease, None, 60)
    assert await room.one.close(lease, None, 60)
    again = await room.begun(room.other)
    assert (again.attempt, again.crashed) == (2, crashed)


async def test_released_job_is_left_alone_for_its_pause(room: Room) -> None:
    """Trying at once what has just failed wastes a try."""
    lease = await room.begun(room.one)
    lease.closing = Release(counted=True, delay_s=600)
    await room.one.close(lease, None, 60)
    assert await room.other.claim([QUEUE]) is None
    over = int(await room.redis.hget(room.one.keys.tries(JOB_ID), "not_before")) - 600_000
    await room.redis.hset(room.one.keys.tries(JOB_ID), "not_before", over)
    assert await room.other.claim([QUEUE]) is not None


async def test_end_writes_its_events_in_order_and_cleans_up_in_one_step(room: Room) -> None:
    """Milestones still unsent come before the last word; queue, job and lease are gone with it."""
    lease = await room.begun(room.one)
    lease.closing = End(_cancelled(lease, 2), pending=(_started(lease),))
    assert await room.one.close(lease, b"result", 60)
    assert [kind for kind, _ in await _stream(room.redis)] == ["job_started", "job_cancelled"]
    assert await room.redis.zcard(QUEUE) == 0
    assert await room.redis.exists(LEASE_KEY, f"arq:job:{JOB_ID}") == 0
    assert await room.redis.get(f"arq:result:{JOB_ID}") == b"result"


async def test_end_sent_twice_is_told_once(room: Room) -> None:
    """The answer to the first may have been lost; the second must neither repeat it nor call it a failure."""
    lease = await room.begun(room.one)
    lease.closing = End(_cancelled(lease, 1))
    assert await room.one.close(lease, None, 60)
    assert await room.one.close(lease, None, 60)
    assert len(await _stream(room.redis)) == 1


async def test_loser_of_a_lease_can_write_nothing(room: Room) -> None:
    """Events, renewals and ends are fenced by the token, also after the winner has finished and gone."""
    loser = await room.begun(room.one)
    await room.lapse()
    winner = await room.begun(room.other)
    assert not await room.one.beat(loser)
    assert not await room.one.emit(loser, _started(loser))
    winner.closing = End(_cancelled(winner, 1))
    assert await room.other.close(winner, None, 60)
    loser.closing = End(_cancelled(loser, 2))
    assert not await room.one.close(loser, None, 60)
    assert not await room.one.beat(loser)
    assert [attempt for _, attempt in await _stream(room.redis)] == [2]
    assert loser.lost


async def test_owner_takes_up_a_lapsed_lease_that_nobody_wanted(room: Room) -> None:
    """An outage longer than a lease costs nothing when the owner is the first to come back."""
    lease = await room.begun(room.one)
    await room.lapse()
    assert await room.one.beat(lease)
    assert await room.other.claim([QUEUE]) is None


async def test_owner_goes_on_when_redis_has_lost_everything(room: Room) -> None:
    """No record speaks against it, and the bot's copy of the job must not run beside it."""
    lease = await room.begun(room.one)
    await room.redis.flushall()
    assert await room.one.beat(lease)
    await room.queue(JOB_ID)
    assert await room.other.claim([QUEUE]) is None


async def test_worker_holds_off_from_begun_jobs_after_an_outage(room: Room) -> None:
    """Their owners speak first; jobs that nobody has begun are free at once."""
    await room.begun(room.one)
    await room.lapse()
    await room.redis.zadd(QUEUE, {"fresh": 2})
    room.other.note_outage()
    assert (await room.claimed(room.other)).job_id == "fresh"
    assert await room.other.claim([QUEUE]) is None
    room.other.hold_off_until = 0.0
    assert (await room.claimed(room.other)).job_id == JOB_ID


async def test_restarted_worker_frees_what_its_former_process_held(room: Room) -> None:
    """Its own leases and nobody else's, and the interrupted try is counted."""
    await room.begun(room.one)
    await room.queue("other-job")
    await room.redis.set(in_progress_key_prefix + "other-job", "other|x|y")
    successor = LeaseBook(room.redis, KEYS, "one", lease_s=60)
    assert await successor.start([QUEUE]) == [JOB_ID]
    again = await room.begun(successor)
    assert (again.job_id, again.attempt, again.crashed) == (JOB_ID, 2, 1)


def _started(lease: Lease) -> JobStarted:
    return JobStarted(job_id=lease.job_id, attempt=lease.attempt, seq=1, at=0.0, worker_id="w", total_steps=1)


def _cancelled(lease: Lease, seq: int) -> JobCancelled:
    return JobCancelled(job_id=lease.job_id, attempt=lease.attempt, seq=seq, at=0.0, steps_done=0)


async def _stream(redis: Redis) -> list[tuple[str, int]]:
    events = [EVENT_ADAPTER.validate_json(fields[b"event"]) for _, fields in await redis.xrange(KEYS.events)]
    return [(event.kind, event.attempt) for event in events]
