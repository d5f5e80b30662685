"""Leases: who runs a job, how often it was tried, and fenced writes that only the owner can make.

A lease is arq's in-progress key with our token as its value and a short expiry that its owner renews. Every write that others
see (events, the end of a job) happens in a Lua script that first checks the token, so a worker that was frozen, or cut off
while another one took over, changes nothing. Measurements behind this: queue.md, sections 1 and 5.

A lease that expired while nobody else took the job (Redis was away) is taken up again by its owner, as long as the record of
tries still names the owner's token, or that record was lost together with everything else.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix, result_key_prefix, retry_key_prefix

from engine.contracts import wire
from engine.contracts.events import Event

logger = logging.getLogger(__name__)

T = TypeVar("T")

Args = list[str | bytes | int | float]

GHOST_MS = 3000
"""Upper bound of what counts as late. A claim that is later when Redis gets to it is refused: whoever sent it may have given up long
ago. A call that takes longer tells of an outage.

Why an idle worker can't take a running job after an outage: a lease is renewed every third of its life, so only an outage of at least
two thirds of it lets one lapse. A claim that carries no hold-off was sent when no call had been waiting for longer than "late", and
is refused when it is "late" itself; with a heartbeat's interval before the first waiting call, that is an outage of
`2 * late + heartbeat` at most. Late is a sixth of a lease or less, and a heartbeat comes at least three times in a lease.
"""

BACK_AGAIN_S = 1.0  # longest pause of the connection's retries, see `connection.open_redis`

FINISHED_TRIES_EXPIRES_S = 24 * 3600

# KEYS[1] lease, KEYS[2] tries; ARGV[1] token, ARGV[2] lease ms
_HOLD = """
local function hold()
  local owner = redis.call('GET', KEYS[1])
  if owner == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return true
  end
  if owner then return false end
  local tries = redis.call('HMGET', KEYS[2], 'token', 'open')
  if (not tries[1] and not tries[2]) or (tries[1] == ARGV[1] and tries[2] == '1') then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return true
  end
  return false
end
local function closed_by_us()
  local tries = redis.call('HMGET', KEYS[2], 'token', 'open')
  return tries[1] == ARGV[1] and tries[2] == '0'
end
"""

# KEYS queues in order of preference; ARGV token, lease ms, latest Redis time in ms, hold off, lease prefix, tries prefix.
# The order of a queue is its score; the score is not compared with a clock, so the bot's clock need not agree with ours.
_CLAIM = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if now > tonumber(ARGV[3]) then return {now} end
for _, queue in ipairs(KEYS) do
  local offset = 0
  while true do
    local found = redis.call('ZRANGE', queue, offset, offset + 199, 'WITHSCORES')
    if #found == 0 then break end
    for n = 1, #found, 2 do
      local lease = ARGV[5] .. found[n]
      local owner = redis.call('GET', lease)
      if owner == ARGV[1] then return {now, found[n], found[n + 1], queue} end
      if not owner then
        local tries = redis.call('HMGET', ARGV[6] .. found[n], 'open', 'not_before')
        local waits = (tries[2] and now < tonumber(tries[2])) or (ARGV[4] == '1' and tries[1] == '1')
        if not waits then
          redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
          return {now, found[n], found[n + 1], queue}
        end
      end
    end
    offset = offset + 200
  end
end
return {now}
"""

# KEYS queues in order of preference; ARGV lease prefix, prefix of arq's messages. Nothing is claimed.
_PEEK = """
for _, queue in ipairs(KEYS) do
  for _, id in ipairs(redis.call('ZRANGE', queue, 0, 9)) do
    if redis.call('EXISTS', ARGV[1] .. id) == 0 then
      return {id, redis.call('GET', ARGV[2] .. id)}
    end
  end
end
return {}
"""

# ARGV[3] lowest attempt number, ARGV[4] expiry of the record in s. Repeating it changes nothing.
_BEGIN = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {} end
local tries = redis.call('HMGET', KEYS[2], 'token', 'attempt', 'crashed', 'open')
local attempt = tonumber(tries[2] or '0')
local crashed = tonumber(tries[3] or '0')
if tries[1] == ARGV[1] then return {attempt, crashed} end
attempt = math.max(attempt + 1, tonumber(ARGV[3]))
if tries[4] == '1' then crashed = crashed + 1 end
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'attempt', attempt, 'crashed', crashed, 'open', '1')
redis.call('HDEL', KEYS[2], 'not_before')
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {attempt, crashed}
"""

_BEAT = _HOLD + "return hold() and 1 or 0"

# KEYS[3] stream; ARGV[3] stream length, ARGV[4] event
_EMIT = (
    _HOLD
    + """
if not hold() then return 0 end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'event', ARGV[4])
return 1
"""
)

# KEYS stream, queue, job, result, retry; ARGV stream length, tries expiry s, result ms, result, events…
_COMMIT = (
    _HOLD
    + """
if closed_by_us() then return 1 end
if not hold() then return 0 end
for n = 7, #ARGV do redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'event', ARGV[n]) end
if #ARGV[6] > 0 then redis.call('SET', KEYS[6], ARGV[6], 'PX', ARGV[5]) end
redis.call('ZREM', KEYS[4], string.sub(KEYS[1], #'arq:in-progress:' + 1))
redis.call('DEL', KEYS[5], KEYS[7], KEYS[1])
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'open', '0')
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
"""
)

# KEYS stream; ARGV stream length, tries expiry s, tries used up, pause ms, events…
_RELEASE = (
    _HOLD
    + """
if closed_by_us() then return 1 end
if not hold() then return 0 end
for n = 7, #ARGV do redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'event', ARGV[n]) end
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'open', '0')
redis.call('HINCRBY', KEYS[2], 'crashed', ARGV[5])
if tonumber(ARGV[6]) > 0 then
  local t = redis.call('TIME')
  redis.call('HSET', KEYS[2], 'not_before', t[1] * 1000 + math.floor(t[2] / 1000) + tonumber(ARGV[6]))
end
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('DEL', KEYS[1])
return 1
"""
)

# KEYS queues; ARGV lease prefix, worker prefix of tokens, prefix of this process's tokens, tries prefix.
# The try is closed as a crash here, so that the hold-off after an outage does not apply to it.
_RECLAIM = """
local freed = {}
for _, queue in ipairs(KEYS) do
  for _, id in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    local owner = redis.call('GET', ARGV[1] .. id)
    if owner and string.sub(owner, 1, #ARGV[2]) == ARGV[2] and string.sub(owner, 1, #ARGV[3]) ~= ARGV[3] then
      redis.call('DEL', ARGV[1] .. id)
      if redis.call('HGET', ARGV[4] .. id, 'open') == '1' then
        redis.call('HSET', ARGV[4] .. id, 'open', '0')
        redis.call('HINCRBY', ARGV[4] .. id, 'crashed', 1)
      end
      freed[#freed + 1] = id
    end
  end
end
return freed
"""


@dataclass(frozen=True)
class End:
    """The job is over: this terminal event is the last word on it. `pending` are milestones not yet on the stream.

    `event` is None only for an entry of a queue that can't be a job of ours at all (its id is no job id).
    """

    event: Event | None
    pending: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Release:
    """The job goes back to its queue; `counted` when the try was used up (a crash), not for a deploy."""

    counted: bool
    delay_s: float = 0.0
    pending: tuple[Event, ...] = ()


@dataclass
class Lease:
    """One claim of one job by this process. `attempt` is 0 until the try has begun."""

    job_id: str
    queue: str
    score: int
    token: str
    attempt: int = 0
    crashed: int = 0
    device_free: bool = False
    """True once nothing is computed for the job any more, so that its lane may claim the next one."""

    lost: bool = False
    closing: End | Release | None = None


@dataclass
class LeaseBook:
    """Claims, renews and closes leases for one worker process.

    Every method may raise one of `connection.OUTAGE`; each can be repeated without harm.
    """

    redis: ArqRedis
    keys: wire.Keys
    worker_id: str
    lease_s: float
    incarnation: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    hold_off_until: float = 0.0
    """Monotonic time before which jobs that somebody was running are left alone: after an outage their owners speak first."""

    def __post_init__(self) -> None:
        self._lease_ms = round(self.lease_s * 1000)
        self._ghost_ms = min(GHOST_MS, round(self.lease_s * 1000 / 6))
        self._clock_offset_ms: float | None = None
        self._in_flight: dict[int, float] = {}  # calls under way -> monotonic time they began
        script = self.redis.register_script
        self._claim, self._begin, self._beat = script(_CLAIM), script(_BEGIN), script(_BEAT)
        self._emit, self._commit, self._release, self._reclaim = script(_EMIT), script(_COMMIT), script(_RELEASE), script(_RECLAIM)
        self._peek = script(_PEEK)

    async def start(self, queues: Sequence[str]) -> list[str]:
        """Free what an earlier process of this worker still holds, and be careful when Redis itself has just come back.

        The caller makes sure that no other process runs under this worker id.

        Returns:
            Ids of the jobs whose leases were freed.
        """
        await self._learn_clock()
        info = await self.redis.info("server")
        up_s = float(info.get("uptime_in_seconds", self.lease_s))
        if up_s < self.lease_s:
            self.note_outage()
        mine = f"{self.worker_id}|"
        args: Args = [in_progress_key_prefix, mine, f"{mine}{self.incarnation}|", self.keys.tries("")]
        freed = await self.watched(self._reclaim(keys=list(queues), args=args))
        return [job_id.decode() for job_id in freed]

    def note_outage(self) -> None:
        """Redis was away: owners re-assert their leases within one beat of noticing its return, so wait for two."""
        self.hold_off_until = time.monotonic() + 2 * self.lease_s / 3 + BACK_AGAIN_S

    async def claim(self, queues: Sequence[str]) -> Lease | None:
        """Take the first free job of the first queue that has one."""
        if self._clock_offset_ms is None:
            await self._learn_clock()
        token = f"{self.worker_id}|{self.incarnation}|{uuid.uuid4().hex}"
        latest = round(time.monotonic() * 1000 + (self._clock_offset_ms or 0.0) + self._ghost_ms)
        args: Args = [token, self._lease_ms, latest, int(self._holding_off), in_progress_key_prefix, self.keys.tries("")]
        found = await self.watched(self._claim(keys=list(queues), args=args))
        self._clock_offset_ms = int(found[0]) - time.monotonic() * 1000
        if len(found) == 1:
            return None
        return Lease(job_id=found[1].decode(), queue=found[3].decode(), score=int(float(found[2])), token=token)

    async def peek(self, queues: Sequence[str]) -> tuple[str, bytes] | None:
        """Id and arq's message of the first job that nobody runs, left where it is."""
        args: Args = [in_progress_key_prefix, job_key_prefix]
        found = await self.watched(self._peek(keys=list(queues), args=args))
        return (found[0].decode(), found[1]) if len(found) == 2 and found[1] is not None else None

    async def _learn_clock(self) -> None:
        seconds, microseconds = await self.watched(self.redis.time())
        self._clock_offset_ms = seconds * 1000 + microseconds / 1000 - time.monotonic() * 1000

    async def begin(self, lease: Lease, lowest_attempt: int) -> bool:
        """Count a try of the job; sets `attempt` and `crashed`. False: the lease is lost."""
        args: Args = [lease.token, self._lease_ms, lowest_attempt, wire.JOB_EXPIRES_S]
        found = await self.watched(self._begin(keys=self._two(lease), args=args))
        if not found:
            lease.lost = True
            return False
        lease.attempt, lease.crashed = int(found[0]), int(found[1])
        return True

    async def beat(self, lease: Lease) -> bool:
        """Renew the lease. False: somebody else has the job."""
        return self._kept(lease, await self.watched(self._beat(keys=self._two(lease), args=[lease.token, self._lease_ms])))

    async def emit(self, lease: Lease, event: Event) -> bool:
        """Put one milestone on the stream, if the lease is still ours."""
        args: Args = [lease.token, self._lease_ms, wire.EVENTS_MAXLEN, event.model_dump_json()]
        return self._kept(lease, await self.watched(self._emit(keys=[*self._two(lease), self.keys.events], args=args)))

    async def close(self, lease: Lease, result: bytes | None, keep_result_s: float) -> bool:
        """End or release the job as `lease.closing` says, its last events included, in one step. False: the lease is lost."""
        closing = lease.closing or Release(counted=True)
        events = [event.model_dump_json() for event in closing.pending]
        if isinstance(closing, End) and closing.event is not None:
            events.append(closing.event.model_dump_json())
        args: Args = []
        common: Args = [lease.token, self._lease_ms, wire.EVENTS_MAXLEN]
        if isinstance(closing, End):
            keys = [
                *(*self._two(lease), self.keys.events, lease.queue),
                *(prefix + lease.job_id for prefix in (job_key_prefix, result_key_prefix, retry_key_prefix)),
            ]
            args = [*common, FINISHED_TRIES_EXPIRES_S, max(1, round(keep_result_s * 1000)), result or b"", *events]
            return self._kept(lease, await self.watched(self._commit(keys=keys, args=args)))
        args = [*common, wire.JOB_EXPIRES_S, int(closing.counted), round(closing.delay_s * 1000), *events]
        return self._kept(lease, await self.watched(self._release(keys=[*self._two(lease), self.keys.events], args=args)))

    def _two(self, lease: Lease) -> list[str]:
        return [in_progress_key_prefix + lease.job_id, self.keys.tries(lease.job_id)]

    def _kept(self, lease: Lease, answer: int) -> bool:
        if not answer:
            lease.lost = True
        return bool(answer)

    async def watched(self, call: Awaitable[T]) -> T:
        """Await a Redis call; one that fails, or takes or has taken long, tells that Redis was away. Heartbeats come here too."""
        before = time.monotonic()
        self._in_flight[id(call)] = before
        try:
            answer = await call
        except Exception:
            self.note_outage()
            raise
        finally:
            del self._in_flight[id(call)]
        if (time.monotonic() - before) * 1000 > self._ghost_ms:
            self.note_outage()
        return answer

    @property
    def _holding_off(self) -> bool:
        """True from an outage, noticed by any call of this process, until the owners of running jobs have had time to speak."""
        now = time.monotonic()
        return now < self.hold_off_until or any((now - since) * 1000 > self._ghost_ms for since in self._in_flight.values())
