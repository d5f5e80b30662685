"""Every line of "Bad input gets": one refusal with its facts, no job, no charge, nothing half-written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import Refusal, RefusalCode
from bot.services.datasets import PlanWarning
from bot.services.values import IncomingFile
from bot.storage.datasets import DatasetState
from engine.contracts.jobs import MAX_SEED
from engine.contracts.lora import LoraKind
from engine.contracts.media import MediaProblem
from engine.contracts.status import Lane
from tests.support import hostile
from tests.support.bot_core import Core, PlayedWorker, actor, place

TABLES = ("jobs", "ledger", "cards", "datasets", "dataset_items", "loras", "outbox")


async def _nothing_written(core: Core) -> None:
    assert {table: await core.rows(table) for table in TABLES} == {table: [] for table in TABLES}
    assert await core.store.list("") == []
    scratch = core.settings.scratch_dir
    assert not scratch.exists() or list(scratch.iterdir()) == []


async def _open(core: Core, files: list[IncomingFile], **changes: Any) -> Any:
    values: dict[str, Any] = {"name": "zoko", "kind": LoraKind.CHARACTER, "trigger": "zoko"}
    return await core.services.datasets.open(actor(), **(values | changes), files=files)


@pytest.mark.parametrize(
    ("filename", "make", "code", "problem"),
    [
        ("text.png", hostile.text_named_png, RefusalCode.NO_USABLE_MEDIA, MediaProblem.NOT_MEDIA),
        ("half.jpg", hostile.truncated_jpeg, RefusalCode.NO_USABLE_MEDIA, MediaProblem.DAMAGED),
        ("huge.png", hostile.enormous_png, RefusalCode.NO_USABLE_MEDIA, MediaProblem.TOO_MANY_PIXELS),
        (
            "climbing.zip",
            lambda: hostile.archive({"../../evil.png": hostile.picture(1), "a.png": hostile.picture(2)}),
            RefusalCode.ARCHIVE_REFUSED,
            MediaProblem.ARCHIVE_UNSAFE_PATH,
        ),
        ("bomb.zip", lambda: hostile.archive({"bomb.png": bytes(400 * 2**20)}), RefusalCode.ARCHIVE_REFUSED, MediaProblem.ARCHIVE_BOMB),
        (
            "nested.zip",
            lambda: hostile.archive({"inner.zip": hostile.archive({"a.png": hostile.picture(1)})}),
            RefusalCode.ARCHIVE_REFUSED,
            MediaProblem.ARCHIVE_NESTED,
        ),
    ],
)
async def test_upload_is_refused_without_a_trace_when_nothing_in_it_is_usable(
    core: Core, filename: str, make: Callable[[], bytes], code: RefusalCode, problem: MediaProblem
) -> None:
    """Hostile and broken files name their problem and leave no row, object or temporary file."""
    with pytest.raises(Refusal) as refused:
        await _open(core, [core.file(filename, make())])
    assert refused.value.code is code
    facts = refused.value.facts
    verdicts: Any = facts.get("verdicts")
    found = facts["problem"] if code is RefusalCode.ARCHIVE_REFUSED else verdicts[0].problem.code
    assert found is problem
    await _nothing_written(core)


async def test_train_is_refused_when_no_file_is_attached(core: Core) -> None:
    """NO_ATTACHMENT."""
    with pytest.raises(Refusal) as refused:
        await _open(core, [])
    assert refused.value.code is RefusalCode.NO_ATTACHMENT
    await _nothing_written(core)


async def test_upload_is_refused_unread_when_it_is_larger_than_allowed(core: Core) -> None:
    """FILE_TOO_LARGE, by the announced size."""
    large = replace(core.file("a.png", b"x"), size=core.settings.max_upload_bytes + 1)
    with pytest.raises(Refusal) as refused:
        await _open(core, [large])
    assert refused.value.code is RefusalCode.FILE_TOO_LARGE
    await _nothing_written(core)


async def test_good_pictures_are_kept_when_a_bad_one_comes_with_them(core: Core) -> None:
    """The bad one gets its verdict, the set the others."""
    report = await _open(core, [*core.pictures(3), core.file("text.png", hostile.text_named_png())])
    assert [verdict.problem is None for verdict in report.verdicts] == [True, True, True, False]
    assert report.dataset.items == 3


async def test_two_pictures_open_a_draft_that_cannot_start_when_a_character_needs_more(core: Core) -> None:
    """The plan names the minimum; adding pictures makes it startable, below the advised number with a warning."""
    report = await _open(core, core.pictures(2))
    assert (report.plan.items, report.plan.minimum, report.plan.startable) == (2, 4, False)
    with pytest.raises(Refusal) as refused:
        await core.services.jobs.submit_training(report.dataset.dataset_id, actor(), place(), 1)
    assert refused.value.code is RefusalCode.DATASET_TOO_SMALL
    more = await core.services.datasets.add(report.dataset.dataset_id, actor(), core.pictures(3, start=1))
    assert [verdict.problem.code if verdict.problem else None for verdict in more.verdicts] == [MediaProblem.DUPLICATE, None, None]
    assert (more.plan.items, more.plan.startable, more.plan.warnings) == (4, True, (PlanWarning.FEWER_THAN_ADVISED,))
    assert await core.rows("jobs") == []


async def test_pictures_are_refused_when_they_exceed_the_set(core: Core) -> None:
    """TOO_MANY_ITEMS, and what was uploaded with them is not kept."""
    object.__setattr__(core.settings, "max_dataset_items", 5)
    report = await _open(core, core.pictures(4))
    before = await core.store.list("")
    with pytest.raises(Refusal) as refused:
        await core.services.datasets.add(report.dataset.dataset_id, actor(), core.pictures(3, start=10))
    assert refused.value.code is RefusalCode.TOO_MANY_ITEMS
    assert await core.store.list("") == before


@pytest.mark.parametrize("name", ["", "a", "-zoko", "zo ko", "x" * 17, "zoko:1", "zoko,a", "ж" * 4, "../zoko"])
async def test_name_is_refused_when_it_cannot_be_called_in_a_stack(core: Core, name: str) -> None:
    """NAME_INVALID."""
    with pytest.raises(Refusal) as refused:
        await _open(core, core.pictures(1), name=name)
    assert refused.value.code is RefusalCode.NAME_INVALID
    await _nothing_written(core)


async def test_trigger_is_refused_when_it_has_characters_a_prompt_would_not(core: Core) -> None:
    """TRIGGER_INVALID."""
    with pytest.raises(Refusal) as refused:
        await _open(core, core.pictures(1), trigger="zoko, (best:1.3)")
    assert refused.value.code is RefusalCode.TRIGGER_INVALID


async def test_name_is_refused_when_it_is_taken_in_the_server_or_by_the_owner(core: Core, played_worker: PlayedWorker) -> None:
    """A name is taken from the start of its training on, for the server and for its owner everywhere."""
    await core.train(name="zoko")
    for who in (actor(2), actor(1, guild_id=99)):
        with pytest.raises(Refusal) as refused:
            await core.services.datasets.open(who, name="ZOKO", kind=LoraKind.STYLE, trigger=None, files=core.pictures(1))
        assert refused.value.code is RefusalCode.NAME_TAKEN
        assert refused.value.facts == {"name": "zoko", "by_self": who.user_id == 1, "training": True}
    elsewhere = await core.services.datasets.open(
        actor(2, guild_id=99), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(1)
    )
    assert elsewhere.dataset.name == "zoko"


async def test_start_is_refused_when_the_name_was_taken_after_the_draft_was_opened(core: Core) -> None:
    """Of two drafts with one name the first to start gets it; the other keeps its pictures and pays nothing."""
    first = await core.services.datasets.open(actor(1), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4))
    second = await core.services.datasets.open(actor(2), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4))
    await core.services.jobs.submit_training(first.dataset.dataset_id, actor(1), place(), 1)
    with pytest.raises(Refusal) as refused:
        await core.services.jobs.submit_training(second.dataset.dataset_id, actor(2), place(), 2)
    assert refused.value.code is RefusalCode.NAME_TAKEN
    assert (await core.services.quotas.status(actor(2))).reserved == 0
    assert (await core.services.datasets.get(second.dataset.dataset_id, actor(2))).state is DatasetState.DRAFT


async def test_draft_is_only_its_owners_when_somebody_else_presses(core: Core) -> None:
    """NOT_OWNER for a stranger, DATASET_UNKNOWN for a guessed id."""
    report = await _open(core, core.pictures(4))
    with pytest.raises(Refusal) as refused:
        await core.services.jobs.submit_training(report.dataset.dataset_id, actor(2), place(), 1)
    assert refused.value.code is RefusalCode.NOT_OWNER
    with pytest.raises(Refusal) as refused:
        await core.services.datasets.add("guessed", actor(), core.pictures(1))
    assert refused.value.code is RefusalCode.DATASET_UNKNOWN


async def test_draft_takes_its_files_along_when_it_is_discarded_replaced_or_expires(core: Core) -> None:
    """No upload stays in the store without a set; a picture that another set has stays."""
    kept = await _open(core, core.pictures(1), name="kept")
    gone = await _open(core, core.pictures(3), name="gone")
    await core.services.datasets.discard(gone.dataset.dataset_id, actor())
    assert len(await core.store.list("")) == 1
    await _open(core, core.pictures(2, start=5), name="kept")
    assert len(await core.store.list("")) == 2
    with pytest.raises(Refusal) as refused:
        await core.services.datasets.add(kept.dataset.dataset_id, actor(), core.pictures(1))
    assert refused.value.code is RefusalCode.DATASET_CLOSED
    core.clock.now += core.settings.draft_expires_s + 1
    assert await core.services.datasets.expire_drafts() == 1
    assert await core.store.list("") == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt": "   "}, RefusalCode.PROMPT_EMPTY),
        ({"prompt": "x" * 5000}, RefusalCode.PROMPT_TOO_LONG),
        ({"negative": "x" * 5000}, RefusalCode.PROMPT_TOO_LONG),
        ({"seconds": 0.0}, RefusalCode.SECONDS_OUT_OF_RANGE),
        ({"seconds": 3600.0}, RefusalCode.SECONDS_OUT_OF_RANGE),
        ({"seconds": math.nan}, RefusalCode.SECONDS_OUT_OF_RANGE),
        ({"aspect": "21:9"}, RefusalCode.ASPECT_UNKNOWN),
        ({"seed": -1}, RefusalCode.SEED_OUT_OF_RANGE),
        ({"seed": MAX_SEED + 1}, RefusalCode.SEED_OUT_OF_RANGE),
        ({"loras": "nobody"}, RefusalCode.LORA_UNKNOWN),
        ({"loras": "zoko:abc"}, RefusalCode.WEIGHT_INVALID),
    ],
)
async def test_generate_is_refused_without_a_trace_when_an_option_is_wrong(core: Core, changes: dict[str, Any], code: RefusalCode) -> None:
    """Each wrong option has its code."""
    with pytest.raises(Refusal) as refused:
        await core.generate(**changes)
    assert refused.value.code is code
    await _nothing_written(core)


async def test_generate_is_refused_without_a_trace_when_the_start_picture_is_a_text(core: Core) -> None:
    """IMAGE_UNUSABLE; a real picture is stored and travels with the job."""
    with pytest.raises(Refusal) as refused:
        await core.generate(image=core.file("start.png", hostile.text_named_png()))
    assert refused.value.code is RefusalCode.IMAGE_UNUSABLE
    await _nothing_written(core)
    job = (await core.generate(image=core.file("start.png", hostile.picture(1)))).view.record.job
    assert await core.store.list("") == [job.image.key]  # type: ignore[union-attr]


async def test_start_picture_is_not_kept_when_the_quota_is_short(core: Core) -> None:
    """A refused job leaves no upload."""
    core.set(daily_units=0)
    with pytest.raises(Refusal) as refused:
        await core.generate(image=core.file("start.png", hostile.picture(1)))
    assert refused.value.code is RefusalCode.QUOTA_EXCEEDED
    await _nothing_written(core)


async def test_lora_is_refused_with_the_reason_when_it_is_unknown_unready_or_of_another_base(
    core: Core, played_worker: PlayedWorker
) -> None:
    """Nearest names for a typing mistake; a training that still runs; another base; a server's LoRA seen from elsewhere."""
    await core.train(name="watercolour")
    with pytest.raises(Refusal) as refused:
        await core.generate(loras="watercolour")
    assert refused.value.code is RefusalCode.LORA_NOT_READY
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.TRAIN))
    await core.consume()
    with pytest.raises(Refusal) as refused:
        await core.generate(loras="watercolor")
    assert refused.value.facts == {"name": "watercolor", "nearest": ["watercolour"]}
    await core.generate(actor(2), loras="watercolour")
    await core.generate(actor(1, guild_id=None), loras="watercolour")
    with pytest.raises(Refusal) as refused:
        await core.generate(actor(2, guild_id=99), loras="watercolour")
    assert refused.value.facts == {"name": "watercolour", "nearest": []}
    async with core.database.transaction() as tx:
        await tx.execute("UPDATE loras SET base = 'ltx-2.3'")
    with pytest.raises(Refusal) as refused:
        await core.generate(loras="watercolour")
    assert refused.value.code is RefusalCode.LORA_OTHER_BASE


async def test_job_is_refused_when_the_person_has_too_many_open(core: Core) -> None:
    """TOO_MANY_JOBS counts open jobs only."""
    object.__setattr__(core.settings, "max_open_jobs", 2)
    first = await core.generate()
    await core.generate()
    with pytest.raises(Refusal) as refused:
        await core.generate()
    assert refused.value.facts == {"open": 2, "limit": 2}
    await core.services.jobs.cancel(first.view.record.job_id, actor())
    await core.generate()


async def test_upload_is_refused_when_the_store_cannot_keep_it(core: Core) -> None:
    """STORE_UNAVAILABLE, and no draft without its pictures."""
    uploads = Path(core.settings.data_dir) / "store" / "uploads"
    uploads.write_text("a file where the folder should be")
    with pytest.raises(Refusal) as refused:
        await _open(core, core.pictures(2))
    assert refused.value.code is RefusalCode.STORE_UNAVAILABLE
    assert await core.rows("datasets") == []
