"""Training sets as the services keep them: judged as a whole, captions edited, guides paired, clips priced."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from bot.errors import Refusal, RefusalCode
from bot.services.values import IncomingFile
from bot.storage import datasets as table
from engine.contracts.assessment import SetNote
from engine.contracts.bases import TINY
from engine.contracts.controls import ControlKind
from engine.contracts.jobs import CaptionItems, TrainLora
from engine.contracts.lora import LoraKind
from engine.contracts.media import MediaProblem
from engine.contracts.results import ItemsCaptioned
from engine.contracts.status import Lane
from tests.support import hostile
from tests.support.bot_core import Core, PlayedWorker, actor, place
from tests.support.media import write_clip


def _clip(core: Core, filename: str, seed: int, num_frames: int = 9) -> IncomingFile:
    path = write_clip(core.folder / f"made-{core.number()}.mp4", seed=seed, num_frames=num_frames)
    return core.file(filename, path.read_bytes())


async def test_near_copies_in_two_uploads_block_the_training(core: Core) -> None:
    """The set is judged as a whole: four encodings of one picture are one picture, and nothing is charged for them."""
    picture = Image.open(io.BytesIO(hostile.picture(1, 256)))
    files = []
    for name, kind, size in (("a.png", "PNG", 256), ("b.webp", "WEBP", 256), ("c.jpg", "JPEG", 256), ("d.png", "PNG", 200)):
        buffer = io.BytesIO()
        picture.resize((size, size)).save(buffer, kind)
        files.append(core.file(name, buffer.getvalue()))
    report = await core.services.datasets.open(actor(), name="zoko", kind=LoraKind.STYLE, trigger=None, files=files[:2])
    report = await core.services.datasets.add(report.dataset.dataset_id, actor(), files[2:])
    assert report.assessment is not None
    assert (report.dataset.items, report.assessment.different) == (4, 1)
    assert not report.startable
    with pytest.raises(Refusal) as refused:
        await core.services.jobs.submit_training(report.dataset.dataset_id, actor(), place(), 1)
    assert refused.value.code is RefusalCode.DATASET_TEACHES_NOTHING
    assert await core.rows("jobs") == []
    assert await core.rows("ledger") == []


async def test_stills_do_not_train_a_motion(core: Core) -> None:
    """A look is not a motion; the refusal says so before anything is charged."""
    report = await core.services.datasets.open(actor(), name="hop", kind=LoraKind.MOTION, trigger=None, files=core.pictures(6))
    assert report.assessment is not None
    assert report.assessment.findings[0].note is SetNote.NO_MOTION
    with pytest.raises(Refusal) as refused:
        await core.services.jobs.submit_training(report.dataset.dataset_id, actor(), place(), 1)
    assert refused.value.code is RefusalCode.DATASET_TEACHES_NOTHING
    assert await core.rows("jobs") == []


async def test_clip_of_three_frames_is_left_out_with_its_reason(core: Core) -> None:
    """The others are kept."""
    files = [*(_clip(core, f"{n}.mp4", seed=n) for n in range(4)), _clip(core, "short.mp4", seed=9, num_frames=3)]
    report = await core.services.datasets.open(actor(), name="hop", kind=LoraKind.MOTION, trigger=None, files=files)
    refused = {item.filename: item.problem.code for item in report.verdicts if item.problem}
    assert refused == {"short.mp4": MediaProblem.TOO_SHORT}
    assert (report.dataset.items, report.dataset.clips) == (4, 4)


async def test_clips_cost_more_than_stills_and_guided_ones_more_than_plain_ones(core: Core) -> None:
    """Units follow the tokens that are computed."""
    files = [_clip(core, f"{n}.mp4", seed=n) for n in range(4)]
    prices = {}
    for name, kind, given in (
        ("style", LoraKind.STYLE, core.pictures(4)),
        ("hop", LoraKind.MOTION, files),
        ("edgy", LoraKind.EFFECT, files),
    ):
        report = await core.services.datasets.open(actor(), name=name, kind=kind, trigger=None, files=given)
        prices[kind] = report.plan.units / (report.plan.steps * TINY.training[kind].batch_size)
    assert prices[LoraKind.MOTION] == pytest.approx(3 * prices[LoraKind.STYLE], rel=0.01)
    assert prices[LoraKind.EFFECT] == pytest.approx(2 * prices[LoraKind.MOTION], rel=0.01)


async def test_edited_captions_are_what_is_trained(core: Core) -> None:
    """A caption is changed, another taken away; a closed set keeps its own."""
    report = await core.services.datasets.open(actor(), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4))
    dataset_id = report.dataset.dataset_id
    first, second = report.items[0].media.sha256, report.items[1].media.sha256
    await core.services.datasets.caption(dataset_id, actor(), {first: "  a robot\non a beach ", second: "x"})
    report = await core.services.datasets.caption(dataset_id, actor(), {second: ""})
    assert [item.caption for item in report.items] == ["a robot on a beach", None, None, None]
    submitted = await core.services.jobs.submit_training(dataset_id, actor(), place(), 1)
    job = submitted.view.record.job
    assert isinstance(job, TrainLora)
    assert [item.caption for item in job.items] == ["a robot on a beach", None, None, None]
    with pytest.raises(Refusal) as refused:
        await core.services.datasets.caption(dataset_id, actor(), {first: "too late"})
    assert refused.value.code is RefusalCode.DATASET_CLOSED


async def test_suggested_captions_are_read_before_the_training_and_trained_with(core: Core, played_worker: PlayedWorker) -> None:
    """Only what has no caption is described; what a person writes goes before it, and what they leave is trained as they read it."""
    report = await core.services.datasets.open(actor(), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4))
    dataset_id, hashes = report.dataset.dataset_id, [item.media.sha256 for item in report.items]
    await core.services.datasets.caption(dataset_id, actor(), {hashes[0]: "mine"})
    assert await core.services.captioning.ask(dataset_id)
    assert (await core.services.datasets.report(dataset_id, actor())).dataset.captions_due
    job = await played_worker.claim(Lane.RENDER)
    assert isinstance(job, CaptionItems)
    assert [item.media.sha256 for item in job.items] == hashes[1:]
    said = {sha256: f"A  lake,\n{number}." for number, sha256 in enumerate(hashes[:3])}
    await played_worker.succeed(job, ItemsCaptioned(dataset_id=dataset_id, captions=said))
    await core.consume()
    assert await core.queue.redis.exists(core.queue.keys.cancel(job.job_id)) == 0
    report = await core.services.datasets.caption(dataset_id, actor(), {hashes[1]: "mine too", hashes[2]: "A lake, 2."})
    assert [item.caption for item in report.items] == ["mine", "mine too", None, None]  # what was left as it was is nobody's yet
    assert not report.dataset.captions_due
    assert [item.words for item in report.items] == ["mine", "mine too", "A lake, 2.", None]
    assert report.assessment is not None
    assert report.assessment.captioned == 3
    submitted = await core.services.jobs.submit_training(dataset_id, actor(), place(), 1)
    assert isinstance(submitted.view.record.job, TrainLora)
    assert [item.caption for item in submitted.view.record.job.items] == ["mine", "mine too", "A lake, 2.", None]
    assert [row["kind"] for row in await core.rows("jobs")] == ["train_lora"]  # describing has no row and no price


async def test_captions_nobody_waits_for_are_stopped(core: Core, played_worker: PlayedWorker) -> None:
    """A discarded set, or one with new files, has no use for the old question; late answers and strange workers change nothing."""
    report = await core.services.datasets.open(actor(), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4))
    dataset_id = report.dataset.dataset_id
    await core.services.captioning.ask(dataset_id)
    first = await played_worker.claim(Lane.RENDER)
    await core.services.datasets.add(dataset_id, actor(), core.pictures(1, start=4))
    await core.services.captioning.ask(dataset_id)
    assert await core.queue.redis.exists(core.queue.keys.cancel(first.job_id))
    await played_worker.cancelled(first, 0)
    second = await played_worker.claim(Lane.RENDER)
    assert isinstance(second, CaptionItems)
    assert len(second.items) == 5
    await core.consume()
    assert (await core.services.datasets.report(dataset_id, actor())).dataset.captions_due
    await core.services.captioning.forget(dataset_id)
    await core.services.datasets.discard(dataset_id, actor())
    await played_worker.succeed(second, ItemsCaptioned(dataset_id=dataset_id, captions={item.media.sha256: "x" for item in second.items}))
    await core.consume()
    assert await core.rows("dataset_items") == []
    assert not await core.services.captioning.ask(dataset_id)


async def test_captions_of_somebody_else_are_not_touched(core: Core) -> None:
    """NOT_OWNER."""
    report = await core.services.datasets.open(actor(), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4))
    with pytest.raises(Refusal) as refused:
        await core.services.datasets.caption(report.dataset.dataset_id, actor(2), {report.items[0].media.sha256: "mine"})
    assert refused.value.code is RefusalCode.NOT_OWNER


async def test_guides_travel_with_what_they_guide(core: Core) -> None:
    """Pairs are found by name, guides are no items of their own, and the job knows both and the kind of the effect."""
    files = [file for n in range(4) for file in (_clip(core, f"{n}.mp4", seed=n), _clip(core, f"{n}_control.mp4", seed=50 + n))]
    report = await core.services.datasets.open(
        actor(), name="restyle", kind=LoraKind.EFFECT, trigger=None, files=files, control=ControlKind.VIDEO
    )
    assert report.dataset.items == 4
    submitted = await core.services.jobs.submit_training(report.dataset.dataset_id, actor(), place(), 1)
    job = submitted.view.record.job
    assert isinstance(job, TrainLora)
    assert job.control is not None
    assert job.control.kind is ControlKind.VIDEO
    guides = await table.guides(core.database.reader, report.dataset.dataset_id)
    assert {item.filename: item.guide for item in job.items} == {name: guide.media for name, guide in guides.items()}
    assert len(guides) == 4


async def test_pair_of_different_lengths_is_left_out_with_its_reason(core: Core) -> None:
    """Without its guide the clip is of no use to a video-to-video effect, and both are told."""
    files = [file for n in range(4) for file in (_clip(core, f"{n}.mp4", seed=n), _clip(core, f"{n}_control.mp4", seed=50 + n))]
    files += [_clip(core, "x.mp4", seed=90), _clip(core, "x_control.mp4", seed=91, num_frames=17)]
    report = await core.services.datasets.open(
        actor(), name="restyle", kind=LoraKind.EFFECT, trigger=None, files=files, control=ControlKind.VIDEO
    )
    refused = {item.filename: item.problem.code for item in report.verdicts if item.problem}
    assert refused == {"x.mp4": MediaProblem.GUIDE_MISSING, "x_control.mp4": MediaProblem.GUIDE_MISMATCH}


async def test_control_for_anything_but_an_effect_is_refused(core: Core) -> None:
    """Nothing is stored."""
    with pytest.raises(Refusal) as refused:
        await core.services.datasets.open(
            actor(), name="zoko", kind=LoraKind.STYLE, trigger=None, files=core.pictures(4), control=ControlKind.EDGES
        )
    assert refused.value.code is RefusalCode.CONTROL_NEEDS_EFFECT
    assert await core.rows("datasets") == []


async def test_discarded_set_leaves_no_guide_behind(core: Core, tmp_path: Path) -> None:
    """Guides are uploads of the person too."""
    files = [_clip(core, "a.mp4", seed=1), _clip(core, "a_control.mp4", seed=2)]
    report = await core.services.datasets.open(actor(), name="restyle", kind=LoraKind.EFFECT, trigger=None, files=files)
    assert len(await core.store.list("")) == 2
    await core.services.datasets.discard(report.dataset.dataset_id, actor())
    assert await core.store.list("") == []
