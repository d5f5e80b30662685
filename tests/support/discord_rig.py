"""The real client on a loopback Discord with fakes of our own services behind it: what people see, without Redis, SQLite or a worker."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from bot.client import CallsheetClient
from bot.config import BotSettings
from bot.errors import Refusal, RefusalCode
from bot.media import MediaError
from bot.outbox import Outbox
from bot.sandbox.server import GuildSpec, LoopbackDiscord
from bot.services.app import Services
from bot.services.cards import Card
from bot.services.clip_requests import GenerationRequest, StoryboardRequest
from bot.services.clips import Length
from bot.services.datasets import DatasetReport
from bot.services.freezing import Storage
from bot.services.gate import Gate
from bot.services.jobs import JobView, SubmittedJob
from bot.services.library import Details, Filters, Page
from bot.services.likenesses import Likeness
from bot.services.loras import Lora
from bot.services.origins import Origin
from bot.services.plans import Plan, Standing, terms_of
from bot.services.policy import Subject
from bot.services.posts import Post, PostKind
from bot.services.quotas import QuotaStatus, UsageDay
from bot.services.servers import ServerSettings
from bot.services.shelf import Choice
from bot.services.values import Actor, IncomingFile, JobPlace
from bot.status_cards import StatusCards
from bot.storage.blocks import Block
from bot.storage.datasets import DatasetState, ItemRecord
from bot.storage.jobs import JobRecord
from engine.contracts.assessment import assess
from engine.contracts.generation import Extension, Quality, Upscale, Variation
from engine.contracts.jobs import GenerateVideo
from engine.contracts.media import ItemVerdict
from engine.contracts.model import StoredObject
from engine.contracts.status import JobStatus
from engine.errors import ObjectCorruptError, StoreUnavailableError
from tests.support import discord_values as values


def job_id(number: int) -> str:
    """The `number`th job id."""
    return f"01JD{number:022d}"


class FakeDatasets:
    """One draft at a time; keeps the bytes it was given."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.captions: dict[str, str] = {}  # by content
        self.suggested: dict[str, str] = {}  # likewise
        self.draft = values.dataset(items=0)
        self.refuse: Exception | None = None

    async def open(
        self,
        owner: Actor,
        *,
        name: str,
        kind: Any,
        trigger: str | None,
        files: Sequence[IncomingFile],
        control: Any = None,
        person_id: int | None = None,
    ) -> DatasetReport:
        """Take the files."""
        if self.refuse is not None:
            raise self.refuse
        if not files:
            raise Refusal(RefusalCode.NO_ATTACHMENT)
        self.draft = values.dataset(owner_id=owner.user_id, name=name, kind=kind, trigger=trigger, items=0, control=control)
        return self._grow(files)

    async def report(self, dataset_id: str, actor: Actor) -> DatasetReport:
        """The set as it is."""
        await self.get(dataset_id, actor)
        return self._reported(())

    async def caption(self, dataset_id: str, actor: Actor, captions: Mapping[str, str]) -> DatasetReport:
        """Remember captions."""
        await self.get(dataset_id, actor)
        self.captions.update({sha256: text for sha256, text in captions.items() if text != self.suggested.get(sha256)})
        return self._reported(())

    async def add(self, dataset_id: str, actor: Actor, files: Sequence[IncomingFile]) -> DatasetReport:
        """Take more."""
        await self.get(dataset_id, actor)
        return self._grow(files)

    async def get(self, dataset_id: str, actor: Actor) -> Any:
        """The draft, for its owner."""
        if dataset_id != self.draft.dataset_id:
            raise Refusal(RefusalCode.DATASET_UNKNOWN)
        if actor.user_id != self.draft.owner_id:
            raise Refusal(RefusalCode.NOT_OWNER)
        return self.draft

    async def discard(self, dataset_id: str, actor: Actor) -> None:
        """Drop it."""
        await self.get(dataset_id, actor)
        self.draft = replace(self.draft, state=DatasetState.DISCARDED)

    def _grow(self, files: Sequence[IncomingFile]) -> DatasetReport:
        self.received += [(file.filename, file.path.read_bytes()) for file in files]
        self.draft = replace(self.draft, items=len(self.received))
        return self._reported(tuple(values.verdict(file.filename) for file in files))

    def _reported(self, verdicts: tuple[ItemVerdict, ...]) -> DatasetReport:
        items = []
        for number, (filename, content) in enumerate(self.received):
            media = values.stored(f"uploads/1/{number}.png", "image/png").model_copy(update={"sha256": f"{number:064x}"})
            verdict = values.verdict(filename).model_copy(update={"fingerprint": values.fingerprint(number)})
            caption = self.captions.get(media.sha256) or None
            suggested = self.suggested.get(media.sha256)
            items.append(ItemRecord(media, filename, caption, 64, 64, 1, verdict=verdict, thumb=content, suggested=suggested))
        assessment = assess(self.draft.kind, [item.judged for item in items])
        return DatasetReport(self.draft, verdicts, values.plan(len(self.received)), assessment, tuple(items))


@dataclass
class FakeCaptioning:
    """Is asked and, when the test says so, answers."""

    datasets: FakeDatasets

    async def ask(self, dataset_id: str) -> bool:
        """Somebody is at it."""
        self.datasets.draft = replace(self.datasets.draft, captions_due=True)
        return True

    async def forget(self, dataset_id: str) -> None:
        """Nobody is any more."""
        self.datasets.draft = replace(self.datasets.draft, captions_due=False)

    async def answer(self, captions: Mapping[str, str]) -> None:
        """They are there."""
        self.datasets.suggested.update(captions)
        await self.forget("")


class FakeJobs:
    """Jobs in a dict; a repeated interaction id returns the first job."""

    def __init__(self) -> None:
        self.rows: dict[str, JobRecord] = {}
        self.refuse: Exception | None = None

    def put(self, record: JobRecord) -> JobRecord:
        """Insert or replace a row."""
        self.rows[record.job_id] = record
        return record

    def _new(self, job: Any, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        for row in self.rows.values():
            if row.interaction_id == interaction_id:
                return SubmittedJob(self._view(row), duplicate=True)
        row = values.record(
            job,
            owner_id=actor.user_id,
            guild_id=place.guild_id,
            channel_id=place.channel_id,
            interaction_id=interaction_id,
            created_at=time.time(),
        )
        return SubmittedJob(self._view(self.put(row)), duplicate=False)

    def _view(self, row: JobRecord) -> JobView:
        return values.view(row, position=1 if row.status is JobStatus.QUEUED else None, eta=time.time() + 60)

    async def submit_training(self, dataset_id: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Queue a training."""
        if self.refuse is not None:
            raise self.refuse
        return self._new(values.training(job_id=job_id(100 + len(self.rows))), actor, place, interaction_id)

    async def cancel(self, job_id: str, actor: Actor) -> JobView:
        """Cancel at once."""
        row = (await self.get(job_id)).record
        if row.status.terminal:
            raise Refusal(RefusalCode.JOB_OVER, status=row.status)
        return self._view(self.put(replace(row, status=JobStatus.CANCELLED, units_charged=0)))

    async def delete_result(self, job_id: str, actor: Actor) -> JobRecord:
        """A clip is deleted; of a training only the message goes."""
        row = (await self.get(job_id)).record
        return self.put(replace(row, deleted=isinstance(row.job, GenerateVideo)))

    async def get(self, job_id: str) -> JobView:
        """One job."""
        if job_id not in self.rows:
            raise Refusal(RefusalCode.JOB_UNKNOWN)
        return self._view(self.rows[job_id])

    async def mine(self, actor: Actor, *, limit: int = 10) -> list[JobView]:
        """All of one person."""
        return [self._view(row) for row in self.rows.values() if row.owner_id == actor.user_id][:limit]


class FakeClips:
    """Clips queued beside the trainings of `FakeJobs`; remembers what was asked for."""

    def __init__(self, jobs: FakeJobs) -> None:
        self.jobs = jobs
        self.requests: list[GenerationRequest] = []
        self.storyboards: list[StoryboardRequest] = []
        self.files: list[dict[str, bytes]] = []  # by option, as they lay on disk

    async def lengths(self, actor: Actor, aspect: str | None, quality: Quality | None) -> list[Length]:
        """Two of them."""
        return [Length(1.0, 2), Length(2.0, 4 if quality is Quality.FAST else 5)]

    async def submit(self, request: GenerationRequest) -> SubmittedJob:
        """Queue a clip."""
        if self.jobs.refuse is not None:
            raise self.jobs.refuse
        self.requests.append(request)
        given = {"image": request.image, "guide": request.guide, "clip": request.clip}
        self.files.append({name: file.path.read_bytes() for name, file in given.items() if file is not None})
        job = values.generation(job_id=job_id(100 + len(self.jobs.rows)), prompt=request.prompt, seed=request.seed or 7)
        return self.jobs._new(job, request.actor, request.place, request.interaction_id)

    async def storyboard(self, request: StoryboardRequest) -> SubmittedJob:
        """Queue a film."""
        if self.jobs.refuse is not None:
            raise self.jobs.refuse
        self.storyboards.append(request)
        job = values.generation(job_id=job_id(100 + len(self.jobs.rows)), prompt=request.scenes[0])
        return self.jobs._new(job, request.actor, request.place, request.interaction_id)

    async def again(self, origin: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Queue the same with another seed."""
        return await self._remade(origin, actor, place, interaction_id, seed=999)

    async def vary(self, origin: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Queue a relative."""
        seed = (await self.jobs.get(origin)).record.job.seed
        return await self._remade(origin, actor, place, interaction_id, seed=999, vary=Variation(seed=seed))

    async def extend(self, origin: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Queue what comes after."""
        return await self._remade(origin, actor, place, interaction_id, extend=Extension(video=values.stored()))

    async def upscale(self, origin: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Queue a larger one."""
        return await self._remade(origin, actor, place, interaction_id, upscale=Upscale(video=values.stored()))

    async def animate(self, origin: str, actor: Actor, place: JobPlace, interaction_id: int) -> SubmittedJob:
        """Queue a clip from a training's still."""
        job = values.generation(job_id=job_id(200 + len(self.jobs.rows)), image=values.stored("jobs/x/1/poster.png", "image/png"))
        return self.jobs._new(job, actor, place, interaction_id)

    async def _remade(self, origin: str, actor: Actor, place: JobPlace, interaction_id: int, **changes: Any) -> SubmittedJob:
        old = (await self.jobs.get(origin)).record.job
        fresh = old.model_copy(update={"job_id": job_id(200 + len(self.jobs.rows)), **changes})
        return self.jobs._new(fresh, actor, place, interaction_id)


class FakeOrigins:
    """Says what the test wants; keeps the bytes it was shown."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.origin: Origin | Exception = Origin(values.origin_report(), None)

    async def examine(self, file: IncomingFile) -> Origin:
        """Look."""
        self.seen.append(file.path.read_bytes())
        if isinstance(self.origin, Exception):
            raise self.origin
        return self.origin


class FakeLoras:
    """A fixed list."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self.broken = False

    async def makers(self, uses: Sequence[Any], but: int) -> tuple[int, ...]:
        """Nobody else."""
        return ()

    async def of_training(self, lora_id: str) -> Lora | None:
        """Gone."""
        return None

    async def complete(self, text: str, actor: Actor) -> list[Choice]:
        """The choices."""
        if self.broken:
            raise RuntimeError("database on fire")
        return self.choices


class FakeLibrary:
    """One page of a fixed list."""

    def __init__(self) -> None:
        self.found: list[Lora] = []

    async def page(self, actor: Actor, filters: Filters, number: int) -> Page:
        """The list."""
        return Page(tuple(self.found), 1, len(self.found), True, filters)

    async def show_named(self, name: str, actor: Actor) -> Details:
        """One of it."""
        return Details(next(lora for lora in self.found if lora.name == name), (), mine=True)


class FakeScreening:
    """Nothing is withheld, unless the test says so."""

    def __init__(self) -> None:
        self.withhold: str | None = None
        self.given_up: list[str] = []

    async def release(self, record: JobRecord) -> JobRecord:
        """The row."""
        return replace(record, withheld=self.withhold)

    async def give_up(self, record: JobRecord, error: Exception) -> JobRecord:
        """The row without its result."""
        self.given_up.append(record.job_id)
        return replace(record, withheld="unchecked", units_charged=0)

    async def shows_preview(self, record: JobRecord, preview: StoredObject) -> bool:
        """Seen unless withheld."""
        return self.withhold is None


class FakeLikenesses:
    """Nobody real, unless the test says so."""

    open: Likeness | None = None

    async def question(self, dataset_id: str) -> Likeness | None:
        """What has to be asked."""
        return self.open

    async def asked(self, dataset_id: str) -> None:
        """Somebody was."""


class FakeQuotas:
    """A fixed state."""

    async def status(self, actor: Actor) -> QuotaStatus:
        """Some of it is used."""
        return QuotaStatus(limit=300, used=100, reserved=20, resets_at=time.time() + 3600)

    async def meters(self, actor: Actor) -> list[QuotaStatus]:
        """The only limit."""
        return [await self.status(actor)]

    async def history(self, actor: Actor, days: int) -> list[UsageDay]:
        """The same every day."""
        return [UsageDay(values.NOW - back * 86400, 8, 2) for back in reversed(range(days))]


class FakeFreezing:
    """Some files, none of them frozen."""

    async def storage(self, actor: Actor) -> Storage:
        """One gigabyte of five."""
        return Storage(2**30, 5 * 2**30, 0, None)


@dataclass
class FakeFacts:
    """What the gate asks, in dicts; the gate and its rules are the real ones."""

    jobs: FakeJobs
    datasets: FakeDatasets
    library: FakeLibrary
    config: BotSettings
    blocks: dict[int, Block] = field(default_factory=dict)  # by person
    servers: dict[int | None, ServerSettings] = field(default_factory=dict)
    plans: dict[int, Standing] = field(default_factory=dict)  # by person
    disagree: set[int] = field(default_factory=set)  # with the terms

    async def require_terms(self, actor: Actor) -> None:
        """Everybody has agreed, unless the test says otherwise."""
        if actor.user_id in self.disagree:
            raise Refusal(RefusalCode.TERMS_NEEDED)

    async def block(self, guild_id: int | None, user_id: int) -> Block | None:
        """Blocked everywhere, or not."""
        return self.blocks.get(user_id)

    async def settings(self, guild_id: int | None) -> ServerSettings:
        """The defaults, unless the test sets some."""
        return self.servers.get(guild_id, ServerSettings(guild_id or 0))

    async def standing(self, guild_id: int | None, user_id: int) -> Standing:
        """The plan without a purchase, unless the test sells one."""
        default = Standing(terms_of(Plan(self.config.plan_without_purchase), self.config), False, None, None, None)
        return self.plans.get(user_id, default)

    async def subject(self, target: str, subject_id: str) -> Subject | None:
        """Whose job or draft it is."""
        if target == "job":
            row = self.jobs.rows.get(subject_id)
            return None if row is None else Subject(row.owner_id, row.guild_id)
        if target in ("lora", "version"):
            lora = next((lora for lora in self.library.found if lora.lora_id == subject_id.partition(".")[0]), None)
            return None if lora is None else Subject(lora.owner_id, lora.guild_id)
        draft = self.datasets.draft
        return Subject(draft.owner_id, draft.guild_id) if draft.dataset_id == subject_id.partition(".")[0] else None


@dataclass
class FakeServers:
    """The settings of `FakeFacts`."""

    facts: FakeFacts

    async def get(self, guild_id: int | None) -> ServerSettings:
        """The defaults, unless the test sets some."""
        return await self.facts.settings(guild_id)

    async def change(self, guild_id: int, **changes: Any) -> ServerSettings:
        """Set some."""
        self.facts.servers[guild_id] = replace(await self.get(guild_id), **changes)
        return self.facts.servers[guild_id]


class FakeAdministration:
    """Writes nothing down."""

    async def settings_changed(self, actor: Actor, what: str) -> None:
        """Nowhere."""


class FakePosts:
    """An outbox of its own; `outcomes` says what became of each post."""

    def __init__(self) -> None:
        self.waiting: dict[int, Post] = {}
        self.outcomes: dict[int, tuple[str, Any]] = {}
        self.not_before: dict[int, float] = {}
        self.news = asyncio.Event()
        self.changed = asyncio.Event()
        self.forget_sent = False
        self.held = False
        self.forgotten = asyncio.Event()

    def put(self, view: JobView, kind: PostKind = PostKind.RESULT, **changes: Any) -> Post:
        """Write a post."""
        number = len(self.waiting) + len(self.outcomes) + 1
        post = replace(Post(number, kind, f"post-{number}", view, 0, None), **changes)
        self.waiting[number] = post
        self.news.set()
        return post

    async def due(self, *, limit: int = 10) -> list[Post]:
        """Those whose time has come; none between a crash and `wake`."""
        if self.held:
            return []
        now = time.monotonic()
        return [post for post in self.waiting.values() if self.not_before.get(post.post_id, 0.0) <= now][:limit]

    async def wait(self, timeout_s: float) -> None:
        """Until there is news; polls fast, so that tests with delays end soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_s, 0.05)):
                await self.news.wait()
        self.news.clear()

    def wake(self) -> None:
        """The process that died is back."""
        self.held = False
        self.news.set()

    async def begin(self, post_id: int) -> None:
        """Remember the first time."""
        post = self.waiting[post_id]
        self.waiting[post_id] = replace(post, first_try_at=post.first_try_at or time.time())

    async def sent(self, post_id: int, *, channel_id: int, message_id: int) -> None:
        """Done, unless the test wants the process to forget it."""
        if self.forget_sent:
            self.forget_sent = False
            self.held = True
            self.forgotten.set()
            raise RuntimeError("killed between the send and its commit")
        self._end(post_id, "sent", (channel_id, message_id))

    async def later(self, post_id: int, *, delay_s: float, error: str) -> None:
        """Count; again, much sooner than asked."""
        post = self.waiting[post_id]
        self.waiting[post_id] = replace(post, tries=post.tries + 1)
        self.not_before[post_id] = time.monotonic() + min(delay_s, 0.02)

    async def undeliverable(self, post_id: int, *, error: str) -> None:
        """Given up."""
        self._end(post_id, "undeliverable", error)

    def _end(self, post_id: int, word: str, detail: Any) -> None:
        self.waiting.pop(post_id)
        self.outcomes[post_id] = (word, detail)
        self.changed.set()

    async def outcome(self, post: Post, timeout_s: float = 60.0) -> tuple[str, Any]:
        """What became of `post`."""
        async with asyncio.timeout(timeout_s):
            while post.post_id not in self.outcomes:
                self.changed.clear()
                await self.changed.wait()
        return self.outcomes[post.post_id]


class FakeCards:
    """Cards in a dict, over the rows of `FakeJobs`."""

    def __init__(self, jobs: FakeJobs, ring: Callable[[], None]) -> None:
        self.jobs = jobs
        self.ring = ring  # wakes whoever waits with `LoopbackDiscord.until`
        self.message_ids: dict[str, int] = {}
        self.closed: set[str] = set()

    async def live(self) -> list[Card]:
        """Every job's card that is not closed."""
        return [
            Card(self.jobs._view(row), f"card-{job_id[-10:]}", row.guild_id, row.channel_id, self.message_ids.get(job_id))
            for job_id, row in self.jobs.rows.items()
            if job_id not in self.closed
        ]

    async def attach(self, job_id: str, message_id: int) -> None:
        """Posted."""
        self.message_ids[job_id] = message_id
        self.ring()

    async def close(self, job_id: str) -> None:
        """Over."""
        self.closed.add(job_id)
        self.ring()


class FakeFiles:
    """Objects by key; `fit` truncates, unless told that nothing fits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content: dict[str, bytes] = {}
        self.fits = True
        self.down = 0
        self.damaged: set[str] = set()
        self._made = 0

    def _path(self) -> Path:
        self._made += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"copy-{self._made}"

    @property
    def left_behind(self) -> list[Path]:
        """Copies nobody deleted."""
        return list(self.folder.iterdir()) if self.folder.exists() else []

    async def fetch(self, obj: StoredObject) -> Path:
        """A copy."""
        if self.down > 0:
            self.down -= 1
            raise StoreUnavailableError("the store sleeps")
        if obj.key in self.damaged:
            raise ObjectCorruptError(f"{obj.key} does not match its SHA-256.")
        path = self._path()
        path.write_bytes(self.content.get(obj.key, b"0123456789" * 10))
        return path

    async def fit(self, video: Path, max_bytes: int) -> Path:
        """Fewer bytes."""
        if not self.fits:
            raise MediaError("no encoding fits")
        path = self._path()
        await asyncio.to_thread(lambda: path.write_bytes(video.read_bytes()[:max_bytes]))
        return path

    def link(self, obj: StoredObject, filename: str, reader_id: int = 0) -> str:
        """A link."""
        return f"https://files.example/{filename}"


@dataclass
class Rig:
    """One client on one loopback Discord."""

    discord: LoopbackDiscord
    client: CallsheetClient
    settings: BotSettings
    datasets: FakeDatasets
    captioning: FakeCaptioning
    jobs: FakeJobs
    clips: FakeClips
    origins: FakeOrigins
    loras: FakeLoras
    library: FakeLibrary
    screening: FakeScreening
    likenesses: FakeLikenesses
    quotas: FakeQuotas
    posts: FakePosts
    cards: FakeCards
    files: FakeFiles
    facts: FakeFacts
    services: Services
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def run_outbox(self) -> None:
        """Start the real outbox."""
        self.tasks.append(asyncio.create_task(Outbox(self.client, self.services, self.settings).run()))

    def run_cards(self) -> None:
        """Start the real status cards."""
        self.tasks.append(asyncio.create_task(StatusCards(self.client, self.services, self.settings).run()))

    def finished(self, owner: str = "maker", channel: str = "general", **changes: Any) -> JobView:
        """A finished clip of `owner` in `channel`, known to the jobs."""
        place = self.discord.channel(channel)
        given = {
            "owner_id": self.discord.user(owner).account.id,
            "guild_id": place.guild_id,
            "channel_id": place.id,
            "finished_at": time.time(),
        }
        return values.view(self.jobs.put(values.finished(**(given | changes))))


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def rig(
    folder: Path, *, guild: GuildSpec | None = None, discord: LoopbackDiscord | None = None, **settings: Any
) -> AsyncIterator[Rig]:
    """A ready client on a fresh (or the given) loopback Discord; no violation may be left at the end."""
    async with contextlib.AsyncExitStack() as stack:
        server = discord or await stack.enter_async_context(LoopbackDiscord(guild))
        given = {"data_dir": folder, "discord_endpoint": server.endpoint, "discord_ca_file": server.ca_file, "card_edit_interval_s": 0.1}
        configured = BotSettings(**(given | settings))
        jobs, datasets, library = FakeJobs(), FakeDatasets(), FakeLibrary()
        facts = FakeFacts(jobs, datasets, library, configured)
        screening = FakeScreening()
        fakes = {
            "datasets": datasets,
            "captioning": FakeCaptioning(datasets),
            "jobs": jobs,
            "clips": FakeClips(jobs),
            "origins": FakeOrigins(),
            "loras": FakeLoras(),
            "screening": screening,
            "likenesses": FakeLikenesses(),
            "library": library,
            "quotas": FakeQuotas(),
            "plans": facts,
            "servers": FakeServers(facts),
            "administration": FakeAdministration(),
            "freezing": FakeFreezing(),
            "posts": FakePosts(),
            "cards": FakeCards(jobs, server._core.bell.ring),
            "files": FakeFiles(folder / "copies"),
        }
        # what the Discord surface never calls
        others = {field.name: None for field in fields(Services) if field.name not in {*fakes, "settings", "clock", "gate"}}
        gate = Gate(configured, facts)
        services = Services(settings=configured, clock=server.clock.now, gate=gate, **cast("dict[str, Any]", fakes | others))
        client = await stack.enter_async_context(CallsheetClient(configured, services))
        running = asyncio.create_task(client.start(server.token))
        built = Rig(
            server,
            client,
            configured,
            services=services,
            facts=facts,
            **{name: fake for name, fake in fakes.items() if name not in ("plans", "servers", "administration", "freezing")},
        )  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(120):
                ready = asyncio.create_task(client.wait_until_ready())
                await asyncio.wait([ready, running], return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
            yield built
        finally:
            await _stop(built.tasks)
            await client.close()
            await asyncio.gather(running, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, folder / "copies", ignore_errors=True)
        assert server.violations == []
