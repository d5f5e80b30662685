"""A full house: thousands of LoRAs, jobs and members in SQLite, and what every command asks of the database there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from ulid import ULID

from bot.services.library import Filters, Scope
from bot.services.quotas import WINDOW_S, window_of
from bot.services.servers import Limits
from bot.services.values import Actor
from bot.storage import cards as cards_table
from bot.storage import jobs as jobs_table
from bot.storage import line as line_table
from bot.storage import notices as notices_table
from bot.storage import privacy as privacy_table
from bot.storage.database import Database
from bot.storage.reports import ReportReason
from engine.contracts.events import JobStarted
from engine.contracts.lora import LoraKind
from engine.contracts.status import JobStatus
from tests.support import contracts
from tests.support.bot_core import CHANNEL, GUILD, Core, place, rendered
from tests.support.database import NOW

FIRST_MEMBER = 1000
DAYS = 60
SHARES = 40


@dataclass(frozen=True)
class Size:
    """How many of what."""

    loras: int = 10_000
    jobs: int = 100_000
    members: int = 1_000
    open_jobs: int = 1_050


@dataclass
class Crowd:
    """What is in the house, for picking from."""

    size: Size
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    jobs: list[tuple[str, int]] = field(default_factory=list)  # ended: id, owner
    waiting: list[tuple[str, int]] = field(default_factory=list)
    loras: list[tuple[str, str, int]] = field(default_factory=list)  # id, name, owner

    def member(self, user_id: int | None = None, *, is_admin: bool = False) -> Actor:
        """Somebody in the server."""
        chosen = user_id if user_id is not None else FIRST_MEMBER + self.dice.randrange(self.size.members)
        return Actor(chosen, GUILD, f"member {chosen}", (70, 71), is_admin)


def name_of(number: int) -> str:
    """A LoRA name: no two alike."""
    return f"hero{number:05d}"


async def fill(database: Database, size: Size) -> Crowd:
    """Fill an empty database as if it had grown over two months."""
    crowd = Crowd(size)
    await asyncio.to_thread(_plan, crowd)
    async with database.transaction() as tx:
        await tx.executemany(
            "INSERT INTO users (user_id, display_name, seen_at) VALUES (?, ?, ?)",
            [(FIRST_MEMBER + number, f"member {FIRST_MEMBER + number}", NOW) for number in range(size.members)],
        )
        await tx.executemany(
            "INSERT INTO terms (user_id, version, accepted_at) VALUES (?, 99, ?)",
            [(FIRST_MEMBER + number, NOW) for number in range(size.members)],
        )
        await tx.executemany(_INSERT_JOB, _job_rows(crowd))
        await tx.executemany(
            """INSERT INTO ledger (job_id, user_id, guild_id, window_start, kind, held, spent, created_at)
            SELECT job_id, owner_id, guild_id, CAST(created_at / 86400 AS INTEGER) * 86400.0, ?, iif(? = 'reserve', 1, -1) * units,
                iif(? = 'reserve', 0, units), created_at FROM jobs WHERE ? = 'reserve' OR finished_at IS NOT NULL ORDER BY job_id""",
            [(kind,) * 4 for kind in ("reserve", "settle")],
        )
        await tx.executemany(_INSERT_LORA, _lora_rows(crowd))
        await tx.execute(
            """INSERT INTO lora_versions (lora_id, version, job_id, file, manifest, created_at)
            SELECT lora_id, 1, job_id, file, manifest, created_at FROM loras"""
        )
        await tx.execute(
            "INSERT INTO lanes (base, lane, pool) SELECT DISTINCT base, lane, pool FROM jobs WHERE true ON CONFLICT DO NOTHING"
        )
        for number, (job_id, _) in enumerate(crowd.waiting):
            await cards_table.insert(tx, job_id, f"c{number}")
        await tx.executemany(
            "INSERT INTO shares VALUES (?, ?, ?)", [(f"share-{number}", crowd.jobs[number][0], NOW) for number in range(SHARES)]
        )
        await tx.executemany(
            "INSERT INTO holdings VALUES ('discord', ?, 'premium', ?, NULL, ?, NULL)",
            [(f"e{number}", FIRST_MEMBER + number, NOW - DAYS * WINDOW_S) for number in range(0, size.members, 2)],
        )
    return crowd


_INSERT_JOB = """INSERT INTO jobs (job_id, kind, lane, base, status, request, owner_id, owner_name, guild_id, channel_id,
    interaction_id, units, units_charged, created_at, started_at, finished_at, fair_start, fair_due, result, attempt)
    VALUES (?, 'generate_video', 'render', 'tiny', ?, ?, ?, ?, ?, ?, ?, 2, ?, ?, ?, ?, ?, ?, ?, 1)"""
_INSERT_LORA = """INSERT INTO loras (lora_id, owner_id, owner_name, guild_id, name, kind, trigger_word, base, state, file, manifest,
    created_at, visibility) VALUES (?, ?, ?, ?, ?, ?, ?, 'tiny', 'ready', ?, ?, ?, ?)"""


def _plan(crowd: Crowd) -> None:
    """Who owns what; a tenth of the people own half of it."""
    size, dice = crowd.size, crowd.dice
    busy = max(1, size.members // 10)

    def owner() -> int:
        return FIRST_MEMBER + (dice.randrange(busy) if dice.random() < 0.5 else dice.randrange(size.members))

    crowd.loras = [(str(ULID()), name_of(number), owner()) for number in range(size.loras)]
    ids = sorted(str(ULID()) for _ in range(size.jobs))
    people = [owner() for _ in ids]
    ended = size.jobs - size.open_jobs
    crowd.jobs = list(zip(ids[:ended], people[:ended], strict=True))
    crowd.waiting = list(zip(ids[ended:], people[ended:], strict=True))


def _job_rows(crowd: Crowd) -> Iterator[tuple[object, ...]]:
    uses = tuple(contracts.adapter_use(lora_id=lora_id, name=name) for lora_id, name, _ in crowd.loras[:1])
    request = contracts.generate_video(adapters=uses).model_dump_json()
    plain = rendered()
    result = plain.model_dump_json()
    total = len(crowd.jobs) + len(crowd.waiting)
    for number, (job_id, owner_id) in enumerate([*crowd.jobs, *crowd.waiting]):
        over = number < len(crowd.jobs)
        at = window_of(NOW) - DAYS * WINDOW_S * (1 - (number + 1) / total) + 3600
        guild_id = GUILD if number % 5 else GUILD + 1
        made = result.replace(plain.file.sha256, f"{number:064x}") if over else None
        yield (
            *(job_id, JobStatus.SUCCEEDED if over else JobStatus.QUEUED, request.replace(contracts.JOB_ID, job_id)),
            *(owner_id, f"member {owner_id}", guild_id, CHANNEL + number % 7, 10_000_000 + number),
            *(2 if over else None, at, at + 1 if over else None, at + 4 if over else None, at, at, made),
        )


def _lora_rows(crowd: Crowd) -> Iterator[tuple[object, ...]]:
    file = contracts.stored("loras/x/y.safetensors", "application/x-safetensors", size=10**6).model_dump_json()
    for number, (lora_id, name, owner_id) in enumerate(crowd.loras):
        visibility = ("server", "server", "private", "public")[number % 4]
        manifest = contracts.manifest(name=name).model_dump_json()
        kind = list(LoraKind)[number % 4]
        at = NOW - DAYS * WINDOW_S + number
        yield (lora_id, owner_id, f"member {owner_id}", GUILD, name, kind, name, file, manifest, at, visibility)


Operation = Callable[[Core, Crowd], Awaitable[object]]


def operations() -> dict[str, Operation]:
    """What each command, button and autocomplete asks of its services."""
    dice = random.Random(3)

    def some_lora(crowd: Crowd) -> tuple[str, str, int]:
        return dice.choice(crowd.loras)

    async def generate(core: Core, crowd: Crowd) -> None:
        lora_id, name, owner_id = some_lora(crowd)
        del lora_id
        await core.generate(crowd.member(owner_id), loras=name)

    async def again(core: Core, crowd: Crowd) -> None:
        job_id, owner_id = dice.choice(crowd.jobs)
        await core.services.clips.again(job_id, crowd.member(owner_id), place(), 50_000_000 + core.number())

    async def cancel(core: Core, crowd: Crowd) -> None:
        job_id, owner_id = crowd.waiting.pop(dice.randrange(len(crowd.waiting)))
        async with core.database.transaction() as tx:
            record = await jobs_table.get(tx, job_id)
            assert record is not None
            await jobs_table.request_cancel(tx, job_id)
            await core.services.jobs.outcomes.cancel(tx, record, 0)
        del owner_id

    async def started(core: Core, crowd: Crowd) -> None:
        job_id, _ = dice.choice(crowd.waiting)
        async with core.database.transaction() as tx:
            event = JobStarted(job_id=job_id, attempt=core.number() + 1, seq=0, at=NOW, worker_id="w", total_steps=16)
            await core.services.jobs.outcomes.apply(tx, event)

    async def quota(core: Core, crowd: Crowd) -> None:
        actor = crowd.member()
        await core.services.plans.standing(actor.guild_id, actor.user_id)
        await core.services.quotas.meters(actor)
        await core.services.quotas.history(actor, 14)
        await core.services.freezing.storage(actor)

    async def block(core: Core, crowd: Crowd) -> None:
        await core.services.administration.block(crowd.member(1, is_admin=True), dice.randrange(10**6, 10**7), "spam", everywhere=False)

    async def refund(core: Core, crowd: Crowd) -> None:
        job_id, _ = crowd.jobs.pop(dice.randrange(len(crowd.jobs)))
        await core.services.administration.refund(Actor(1, (await core.record(job_id)).guild_id, "boss", is_admin=True), job_id)

    async def page(core: Core, crowd: Crowd, **filters: object) -> None:
        await core.services.library.page(crowd.member(), Filters(**filters), dice.randrange(1, 40))  # type: ignore[arg-type]

    async def show(core: Core, crowd: Crowd) -> None:
        lora_id, _, owner_id = some_lora(crowd)
        await core.services.library.show(lora_id, crowd.member(owner_id))

    async def gate(core: Core, crowd: Crowd) -> None:
        job_id, owner_id = dice.choice(crowd.jobs)
        await core.services.gate.check("job:delete", crowd.member(owner_id), (CHANNEL,), job_id)
        await core.services.gate.check("/train", crowd.member(FIRST_MEMBER), (CHANNEL,))

    async def hand_out(core: Core, _: Crowd) -> None:
        for base, lane, pool in await line_table.waiting_lanes(core.database.reader):
            await line_table.handed_out(core.database.reader, base, lane, pool)
            await line_table.waiting(core.database.reader, base, lane, pool, 8, 99)

    async def settings(core: Core, _: Crowd) -> None:
        core.services.servers.forget(GUILD)
        await core.services.servers.change(GUILD, limits=Limits(waiting=dice.randrange(500, 900)), server_units=10**8)

    async def taken(core: Core, crowd: Crowd) -> None:
        await core.services.datasets.refuse_taken(core.database.reader, crowd.member(), f"new{core.number()}")
        await core.services.freezing.require_room(crowd.member(FIRST_MEMBER))

    async def verified(core: Core, crowd: Crowd) -> None:
        await jobs_table.made_at(core.database.reader, f"{dice.randrange(2**256):064x}")

    async def shared(core: Core, crowd: Crowd) -> None:
        job_id, owner_id = dice.choice(crowd.jobs)
        await core.services.shares.share(job_id, crowd.member(owner_id))

    async def watched(core: Core, crowd: Crowd) -> None:
        await core.services.shares.open(f"share-{dice.randrange(SHARES)}")

    async def reported(core: Core, crowd: Crowd) -> None:
        job_id, _ = dice.choice(crowd.jobs)
        reporter = crowd.member(10**8 + core.number())
        here = Actor(reporter.user_id, (await core.record(job_id)).guild_id, "reporter")
        await core.services.moderation.report(job_id, here, ReportReason.OTHER, "a note")

    async def taken_down(core: Core, crowd: Crowd) -> None:
        while not (waiting := await core.services.moderation.queue(admin(crowd))):
            await reported(core, crowd)
        report = waiting[0]
        await core.services.moderation.uphold(report.report.report_id, admin(crowd))

    async def leave(core: Core, crowd: Crowd) -> None:
        await core.services.privacy.leaving()
        await privacy_table.traces(core.database.reader, crowd.member().user_id)

    def admin(crowd: Crowd) -> Actor:
        return crowd.member(1, is_admin=True)

    return {
        "gate": gate,
        "/generate": generate,
        "/generate:loras": lambda core, crowd: core.services.loras.complete(name_of(dice.randrange(crowd.size.loras))[:6], crowd.member()),
        "job:again": again,
        "job:cancel": cancel,
        "/train": taken,
        "/jobs": lambda core, crowd: core.services.jobs.mine(crowd.member(), limit=8),
        "/jobs of the busiest": lambda core, crowd: core.services.jobs.mine(crowd.member(FIRST_MEMBER), limit=8),
        "/quota": quota,
        "/loras browse": page,
        "/loras browse mine": lambda core, crowd: page(core, crowd, scope=Scope.MINE),
        "/loras browse search": lambda core, crowd: page(core, crowd, text="hero00"),
        "/loras browse search, nothing": lambda core, crowd: page(core, crowd, text="no such thing"),
        "/loras show": show,
        "/cast list": lambda core, crowd: core.services.casts.listed(crowd.member()),
        "/settings": settings,
        "/verify": verified,
        "job:share": shared,
        "share page": watched,
        "job:report": reported,
        "/reports open": lambda core, crowd: core.services.moderation.queue(admin(crowd)),
        "report:uphold": taken_down,
        "/reports log": lambda core, crowd: core.services.audit.latest(admin(crowd)),
        "/privacy likeness": lambda core, crowd: core.services.likenesses.showing(crowd.member()),
        "/privacy export": lambda core, crowd: privacy_table.export(core.database.reader, crowd.member().user_id),
        "/privacy delete": leave,
        "/admin usage, 90 days": lambda core, crowd: core.services.administration.usage(GUILD, 90),
        "/admin block": block,
        "/admin refund": refund,
        "/admin cancel:job": lambda core, crowd: core.services.administration.choices(admin(crowd), "", running=True),
        "/admin refund:job": lambda core, crowd: core.services.administration.choices(admin(crowd), "member 10", running=False),
        "worker began": started,
        "hand out": hand_out,
    }


def background() -> dict[str, Operation]:
    """What the bot's own tasks ask, once in a while."""
    return {
        "status cards, all open": lambda core, _: core.services.cards.live(),
        "freezing": lambda core, _: core.services.freezing.sweep(),
        "language of a notice": lambda core, crowd: notices_table.last_server(core.database.reader, crowd.member().user_id),
        "posts due": lambda core, _: core.services.posts.due(),
        "open jobs": lambda core, _: jobs_table.open_jobs(core.database.reader, JobStatus.DISPATCHED, JobStatus.RUNNING),
    }
