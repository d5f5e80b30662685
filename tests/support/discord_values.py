"""Values the Discord surface shows, valid by default; every builder takes what a test wants to differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bot.services.datasets import DatasetReport, PlanWarning, TrainingPlan
from bot.services.jobs import JobView
from bot.services.library import Details, Filters, Page, Version
from bot.services.loras import Lora
from bot.services.moderation import OpenReport
from bot.services.quotas import QuotaStatus
from bot.storage.datasets import DatasetRecord, DatasetState
from bot.storage.jobs import JobRecord
from bot.storage.likenesses import Consent, Likeness
from bot.storage.loras import LoraState
from bot.storage.prompt_rules import PromptRule, RuleKind
from bot.storage.reports import ReportReason, ReportRecord, ReportState
from engine.contracts.events import Phase, Progress
from engine.contracts.jobs import DatasetItem, GenerateVideo, TrainLora, lane_of
from engine.contracts.lora import AdapterUse, LoraKind, LoraManifest
from engine.contracts.lora_facts import LoraDialect, LoraFacts
from engine.contracts.media import ItemVerdict, MediaNote, MediaProblem, Problem
from engine.contracts.model import StoredObject
from engine.contracts.provenance import Finding, OriginReport
from engine.contracts.results import LoraTrained, VideoRendered
from engine.contracts.status import JobStatus
from tests.support import contracts
from tests.support.provenance import parameters

JOB_ID = "01JD0000000000000000000001"
DATASET_ID = "01JD0000000000000000000002"
LORA_ID = "01JD0000000000000000000003"
OWNER_ID = 4001
GUILD_ID = 5001
CHANNEL_ID = 6001
NOW = 1_800_000_000.0
QUOTA = QuotaStatus(limit=1000, used=0, reserved=0, resets_at=NOW + 3600)


def stored(key: str = "jobs/x/1/clip.mp4", media_type: str = "video/mp4", size: int = 1000) -> StoredObject:
    """An object reference."""
    return contracts.stored(key, media_type, size)


def use(name: str = "zoko", weight: float = 0.9) -> AdapterUse:
    """One LoRA of a stack."""
    return contracts.adapter_use(lora_id=LORA_ID, name=name, trigger=name, weight=weight)


def generation(**changes: Any) -> GenerateVideo:
    """A job of `/generate` with two LoRAs."""
    stack = (use(), use("watercolour", 0.6))
    return contracts.generate_video(**({"job_id": JOB_ID, "adapters": stack, "geometry": contracts.geometry(num_frames=9)} | changes))


def training(**changes: Any) -> TrainLora:
    """A job of `/train` with twenty pictures."""
    items = tuple(DatasetItem(media=stored("uploads/1/a.png", "image/png"), filename=f"{n}.png") for n in range(20))
    return contracts.train_lora(**({"job_id": JOB_ID, "lora_id": LORA_ID, "items": items} | changes))


def clip_result(**changes: Any) -> VideoRendered:
    """What a finished clip leaves."""
    given: dict[str, Any] = {
        "file": stored(),
        "poster": stored("jobs/x/1/poster.png", "image/png"),
        "geometry": contracts.geometry(num_frames=9),
        "posted_width": 256,
        "posted_height": 256,
        "seed": 7,
        "seconds": 4.2,
    }
    return VideoRendered(**(given | changes))


def origin_report(finding: Finding = Finding.OWN, **changes: Any) -> OriginReport:
    """What an examination of a clip found."""
    made = parameters(prompt="zoko <@1> walks", made_at="2027-01-15T08:00:00+00:00")
    facts = {"sha256": "ab" * 32, "size": 1000, "parameters": made, "signer": "Studio", "generator": "Callsheet", "ai_generated": True}
    return OriginReport(finding=finding, **(facts | changes))


def lora_result(**changes: Any) -> LoraTrained:
    """What a finished training leaves."""
    given: dict[str, Any] = {
        "lora_id": LORA_ID,
        "file": stored("loras/a/b.safetensors", "application/x-safetensors"),
        "manifest": manifest(),
        "preview": stored("jobs/x/1/preview.mp4"),
        "poster": stored("jobs/x/1/poster.png", "image/png"),
        "loss_curve": None,
        "steps": 400,
        "seconds": 130.0,
    }
    return LoraTrained(**(given | changes))


def manifest(**changes: Any) -> LoraManifest:
    """A passport."""
    return contracts.manifest(**({"items": 20, "final_loss": 0.123} | changes))


def record(job: GenerateVideo | TrainLora | None = None, **changes: Any) -> JobRecord:
    """A queued job's row."""
    job = job or generation()
    blank = JobRecord(
        job_id=job.job_id,
        job=job,
        lane=lane_of(job),
        base=job.base,
        status=JobStatus.QUEUED,
        owner_id=OWNER_ID,
        owner_name="maker",
        guild_id=GUILD_ID,
        channel_id=CHANNEL_ID,
        interaction_id=7001,
        units=4,
        units_charged=None,
        created_at=NOW,
        dispatched_at=None,
        started_at=None,
        finished_at=None,
        attempt=0,
        worker_id=None,
        steps_done=0,
        total_steps=0,
        cancel_requested=False,
        failure=None,
        failure_detail=None,
        result=None,
        preview=None,
        posted_channel_id=None,
        posted_message_id=None,
        deleted=False,
    )
    return replace(blank, **changes)


def finished(job: GenerateVideo | TrainLora | None = None, **changes: Any) -> JobRecord:
    """A succeeded job's row."""
    job = job or generation()
    result = clip_result() if isinstance(job, GenerateVideo) else lora_result()
    given = {
        "status": JobStatus.SUCCEEDED,
        "result": result,
        "units_charged": 4,
        "dispatched_at": NOW,
        "started_at": NOW + 1,
        "finished_at": NOW + 9,
        "attempt": 1,
    }
    return record(job, **(given | changes))


def view(of: JobRecord | None = None, **changes: Any) -> JobView:
    """A job as shown."""
    given: dict[str, Any] = {"position": None, "eta": None, "progress": None}
    return JobView(record=of or record(), **(given | changes))


def running(job: GenerateVideo | TrainLora | None = None, step: int = 160, total: int = 400, **changes: Any) -> JobView:
    """A job in the middle of its steps."""
    row = record(job, status=JobStatus.RUNNING, started_at=NOW, attempt=1, steps_done=step, total_steps=total, **changes)
    phase = Phase.DENOISING if isinstance(row.job, GenerateVideo) else Phase.TRAINING
    return view(row, eta=NOW + 60, progress=Progress(job_id=row.job_id, phase=phase, step=step, total_steps=total))


def dataset(**changes: Any) -> DatasetRecord:
    """An open data set."""
    blank = DatasetRecord(DATASET_ID, OWNER_ID, GUILD_ID, "zoko", LoraKind.CHARACTER, "zoko", DatasetState.DRAFT, 24, None, NOW)
    return replace(blank, **changes)


def plan(items: int = 24, **changes: Any) -> TrainingPlan:
    """What training would cost."""
    warnings = (PlanWarning.FEWER_THAN_ADVISED,) if items < 20 else ()
    blank = TrainingPlan(items=items, minimum=4, advised=20, steps=400, units=200, quota=QUOTA, minutes_estimate=2.0, warnings=warnings)
    return replace(blank, **changes)


def verdict(filename: str = "a.png", problem: MediaProblem | None = None, notes: tuple[MediaNote, ...] = ()) -> ItemVerdict:
    """The verdict on one file."""
    return ItemVerdict(
        filename=filename, notes=notes, problem=None if problem is None else Problem(code=problem, detail="detail for operators")
    )


def fingerprint(number: int) -> str:
    """Of a picture unlike any other number's."""
    return f"{(0x9E3779B97F4A7C15 * (number + 1)) % 2**64:016x}" * 4 + f"{number * 37 % 256:02x}" * 192


def report(items: int = 24, verdicts: tuple[ItemVerdict, ...] = (), **changes: Any) -> DatasetReport:
    """The answer to `/train`."""
    return DatasetReport(dataset(items=items), verdicts or tuple(verdict(f"{n}.png") for n in range(items)), plan(items, **changes))


def lora(name: str = "zoko", **changes: Any) -> Lora:
    """A LoRA of the registry."""
    blank = Lora(
        lora_id=LORA_ID,
        owner_id=OWNER_ID,
        owner_name="maker",
        guild_id=GUILD_ID,
        name=name,
        kind=LoraKind.CHARACTER,
        trigger=name,
        base="tiny",
        state=LoraState.READY,
        job_id=JOB_ID,
        file=stored("loras/a/b.safetensors"),
        preview=None,
        poster=None,
        loss_curve=None,
        manifest=None,
        uses=3,
        created_at=NOW,
    )
    return replace(blank, **changes)


def page(found: Sequence[Lora], number: int = 1, total: int | None = None, filters: Filters | None = None, *, whole: bool = True) -> Page:
    """A page of the library."""
    return Page(tuple(found), number, len(found) if total is None else total, whole, filters or Filters())


def version(number: int = 1) -> Version:
    """A version of the LoRA."""
    return Version(LORA_ID, number, JOB_ID, stored("loras/a/b.safetensors"), None, None, None, manifest(), NOW)


def details(*, mine: bool = True, versions: tuple[Version, ...] | None = None, **changes: Any) -> Details:
    """A LoRA as its card shows it."""
    return Details(lora(**changes), (version(),) if versions is None else versions, mine)


def lora_facts() -> LoraFacts:
    """The outside of a file that was imported."""
    return LoraFacts(
        dialect=LoraDialect.KOHYA,
        size=10**8,
        rank=32,
        modules=480,
        parameters=10**7,
        dtype="BF16",
        has_alpha=True,
        touches_audio=True,
        bases=("tiny",),
    )


def open_report(number: int = 1) -> OpenReport:
    """A report that waits."""
    report_id = f"01JD{number:022d}"
    report = ReportRecord(report_id, JOB_ID, GUILD_ID, 7, ReportReason.OTHER, "*" * 500, ReportState.OPEN, NOW)
    return OpenReport(report, finished(posted_channel_id=CHANNEL_ID, posted_message_id=9))


def prompt_rule(number: int = 1) -> PromptRule:
    """A rule of a server."""
    return PromptRule(f"01JD{number:022d}", GUILD_ID, RuleKind.PATTERN, "`" * 200, "_" * 200, 7, NOW)


def likeness(**changes: Any) -> Likeness:
    """Somebody a training shows."""
    blank = Likeness(DATASET_ID, None, "name-of-sixteen1", 2**62, OWNER_ID, Consent.ASKED)
    return replace(blank, **changes)
