"""Ways to make a clip: what becomes of a request, what is refused, and that refusals cost nothing. Real SQLite, Redis and media checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.errors import Refusal, RefusalCode
from bot.services.clip_requests import Change, StoryboardRequest
from bot.services.clips import remake_prices
from bot.services.values import IncomingFile
from bot.storage.jobs import JobRecord
from engine.contracts.bases import TINY
from engine.contracts.controls import Control, ControlKind
from engine.contracts.generation import Fit, GenerationMode, Quality
from engine.contracts.jobs import GenerateVideo
from engine.contracts.lora import LoraKind
from engine.contracts.provenance import Finding
from engine.contracts.results import VideoRendered
from engine.contracts.status import Lane
from engine.sample.credentials import load_credentials
from engine.sample.provenance import write_signed
from tests.support import hostile
from tests.support.bot_core import Core, PlayedWorker, actor, place
from tests.support.media import write_clip, write_sound
from tests.support.provenance import flipped, noisy_clip, parameters


def clip_file(folder: Path, **facts: Any) -> IncomingFile:
    """A clip as it arrives, one second long unless told otherwise."""
    path = write_clip(folder / "given.mp4", **facts)
    return IncomingFile("mine.mp4", path, path.stat().st_size)


async def made(core: Core, **changes: Any) -> GenerateVideo:
    """The job that `/generate` with these options makes."""
    job = (await core.generate(**changes)).view.record.job
    assert isinstance(job, GenerateVideo)
    return job


async def rendered(core: Core, worker: PlayedWorker, **changes: Any) -> JobRecord:
    """A clip that was made."""
    submitted = (await core.generate(**changes)).view.record
    await core.dispatcher.dispatch()
    await worker.succeed(await worker.claim(Lane.RENDER))
    await core.consume()
    record = await core.record(submitted.job_id)
    assert isinstance(record.result, VideoRendered)
    return record


async def trained(core: Core, worker: PlayedWorker, name: str, control: Control | None = None) -> None:
    """A LoRA of this name in the library, an effect that follows a guide when `control` is given."""
    await core.train(name=name)
    await core.dispatcher.dispatch()
    job = await worker.claim(Lane.TRAIN)
    changes = {"kind": LoraKind.EFFECT, "control": control} if control else {}
    await worker.succeed(job, **changes)
    await core.consume()


async def refused(core: Core, **changes: Any) -> Refusal:
    """What `/generate` answers; nothing may have been written."""
    before = (await core.services.quotas.status(actor())).left
    with pytest.raises(Refusal) as error:
        await core.generate(**changes)
    assert (await core.services.quotas.status(actor())).left == before
    assert await core.services.jobs.mine(actor()) == []
    assert await core.store.list("uploads/") == []
    return error.value


async def test_picture_becomes_the_first_frame(core: Core) -> None:
    """Its bytes are in the store and the choice of fit travels along."""
    job = await made(core, image=core.pictures(1)[0], fit=Fit.LETTERBOX)
    assert (job.mode, job.fit) == (GenerationMode.IMAGE, Fit.LETTERBOX)
    assert job.image is not None
    assert await core.store.exists(job.image.key)


async def test_clip_is_restyled_over_its_own_length(core: Core, tmp_path: Path) -> None:
    """Without a choice a clip is restyled, as long as it plays."""
    job = await made(core, clip=clip_file(tmp_path, num_frames=13), strength=0.4, quality=Quality.FAST, mute=True)
    assert job.restyle is not None
    assert (job.mode, job.restyle.strength, job.geometry.num_frames) == (GenerationMode.VIDEO, 0.4, 13)
    assert (job.quality, job.mute) == (Quality.FAST, True)


async def test_clip_is_continued_or_enlarged_when_asked(core: Core, tmp_path: Path) -> None:
    """Extending makes a clip of the default length, upscaling one of twice the size."""
    rule = core.services.settings.profile.geometry
    longer = await made(core, clip=clip_file(tmp_path, num_frames=13), change=Change.EXTEND)
    assert (longer.mode, longer.geometry.num_frames) == (GenerationMode.EXTEND, rule.default_frames)
    larger = await made(core, clip=clip_file(tmp_path), change=Change.UPSCALE)
    assert (larger.mode, larger.geometry.width) == (GenerationMode.UPSCALE, 2 * rule.aspects["1:1"][0])


@pytest.mark.parametrize(("num_frames", "code"), [(40, "too_long"), (1, "single_frame")])
async def test_unfit_clip_is_refused_with_its_reason(core: Core, tmp_path: Path, num_frames: int, code: str) -> None:
    """Too long, one frame: the sentence names the file and nothing is charged."""
    error = await refused(core, clip=clip_file(tmp_path, num_frames=num_frames))
    assert error.code is RefusalCode.CLIP_UNUSABLE
    assert (error.facts["problem"], error.facts["role"]) == (code, "clip")


async def test_clip_of_uneven_rate_is_refused(core: Core, tmp_path: Path) -> None:
    """The frames of a screen recording come when something moves; a guide of that kind would be followed at the wrong pace."""
    error = await refused(core, clip=clip_file(tmp_path, num_frames=12, times=[0, 1, 5, 6, 7, 15, 16, 17, 30, 31, 33, 34]))
    assert error.facts["problem"] == "variable_rate"


async def test_clip_with_sound_alone_is_refused(core: Core, tmp_path: Path) -> None:
    """The sentence says that there are no pictures in it."""
    error = await refused(core, clip=core.file("sound.mp4", write_sound(tmp_path / "sound.mp4").read_bytes()))
    assert (error.code, error.facts["problem"]) == (RefusalCode.CLIP_UNUSABLE, "no_video")


@pytest.mark.parametrize("data", [hostile.picture(1), b"no clip at all"])
async def test_file_that_is_no_clip_is_refused(core: Core, data: bytes) -> None:
    """A picture or text where a clip is needed."""
    error = await refused(core, clip=core.file("clip.mp4", data))
    assert (error.code, error.facts["role"]) == (RefusalCode.CLIP_UNUSABLE, "clip")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"control": ControlKind.EDGES}, RefusalCode.CONTROL_WITHOUT_GUIDE),
        ({"change": Change.EXTEND}, RefusalCode.CHANGE_WITHOUT_CLIP),
        ({"strength": 0.5}, RefusalCode.CHANGE_WITHOUT_CLIP),
        ({"seed": -1}, RefusalCode.SEED_OUT_OF_RANGE),
        ({"seed": 2**32}, RefusalCode.SEED_OUT_OF_RANGE),
        ({"seconds": 0.1}, RefusalCode.SECONDS_OUT_OF_RANGE),
        ({"seconds": float("nan")}, RefusalCode.SECONDS_OUT_OF_RANGE),
        ({"aspect": "5:4"}, RefusalCode.ASPECT_UNKNOWN),
    ],
)
async def test_contradiction_is_refused_before_any_work(core: Core, changes: dict[str, Any], code: RefusalCode) -> None:
    """Words alone tell, so no file is looked at."""
    assert (await refused(core, **changes)).code is code


@pytest.mark.parametrize("strength", [0.0, -1.0, 1.5, float("nan")])
async def test_senseless_strength_is_refused(core: Core, tmp_path: Path, strength: float) -> None:
    """Above 0 and at most 1."""
    assert (await refused(core, clip=clip_file(tmp_path), strength=strength)).code is RefusalCode.STRENGTH_OUT_OF_RANGE


async def test_sources_that_do_not_go_together_are_refused(core: Core, tmp_path: Path) -> None:
    """A clip to change leaves no room for a start picture."""
    error = await refused(core, clip=clip_file(tmp_path), image=core.pictures(1)[0])
    assert error.code is RefusalCode.SOURCES_CONFLICT


async def test_guide_without_an_effect_is_refused(core: Core, tmp_path: Path) -> None:
    """Nothing in the stack would follow it."""
    assert (await refused(core, guide=clip_file(tmp_path))).code is RefusalCode.EFFECT_MISSING


async def test_effect_wants_its_guide(core: Core, played_worker: PlayedWorker, tmp_path: Path) -> None:
    """Without one it is refused, with one it is a job that follows the guide; a bad guide is refused with its reason."""
    await trained(core, played_worker, "outline", Control(kind=ControlKind.EDGES))
    with pytest.raises(Refusal) as error:
        await core.generate(loras="outline")
    assert error.value.code is RefusalCode.GUIDE_MISSING
    with pytest.raises(Refusal) as error:
        await core.generate(loras="outline", guide=clip_file(tmp_path, num_frames=1))
    assert (error.value.code, error.value.facts["role"]) == (RefusalCode.CLIP_UNUSABLE, "guide")
    job = await made(core, loras="outline", guide=clip_file(tmp_path, num_frames=13), control=ControlKind.EDGES)
    assert job.guide is not None
    assert (job.mode, job.guide.control, job.geometry.num_frames) == (GenerationMode.CONTROL, ControlKind.EDGES, 13)


async def test_weights_that_make_no_sense_together_are_refused(core: Core, played_worker: PlayedWorker) -> None:
    """All zero changes nothing, more than four in all is noise."""
    for name in ("zoko", "mivu", "dusk"):
        await trained(core, played_worker, name)
    for text in ("zoko:0", "zoko:2, mivu:2, dusk:2"):
        with pytest.raises(Refusal) as error:
            await core.generate(loras=text)
        assert error.value.code is RefusalCode.STACK_WEIGHTS


async def test_lora_without_a_weight_gets_the_advised_one_in_company(core: Core, played_worker: PlayedWorker) -> None:
    """Alone it counts fully; beside others it gets what the base advises; a weight that was said stays."""
    for name in ("zoko", "mivu"):
        await trained(core, played_worker, name)
    profile = core.services.settings.profile
    assert [use.weight for use in (await made(core, loras="zoko")).adapters] == [1.0]
    both = (await made(core, loras="zoko, mivu:1.3")).adapters
    assert [use.weight for use in both] == [profile.default_weight(both[0].kind, 2), 1.3]


async def test_vary_makes_a_relative_of_the_clip_and_its_relatives(core: Core) -> None:
    """All relatives belong to the first seed, so a family stays together."""
    first = (await core.generate(seed=7)).view.record
    child = (await core.services.clips.vary(first.job_id, actor(), place(), 71)).view.record
    grandchild = (await core.services.clips.vary(child.job_id, actor(), place(), 72)).view.record
    for record in (child, grandchild):
        assert isinstance(record.job, GenerateVideo)
        assert record.job.vary is not None
        assert record.job.vary.seed == 7
        assert record.job.seed != 7


async def test_extend_and_upscale_start_from_the_finished_file(core: Core, played_worker: PlayedWorker) -> None:
    """Jobs of their own with their own price, owned by the one who pressed."""
    record = await rendered(core, played_worker, prompt="zoko swims")
    assert isinstance(record.result, VideoRendered)
    longer = (await core.services.clips.extend(record.job_id, actor(), place(), 81)).view.record
    larger = (await core.services.clips.upscale(record.job_id, actor(), place(), 82)).view.record
    assert isinstance(longer.job, GenerateVideo)
    assert isinstance(larger.job, GenerateVideo)
    assert longer.job.source_clip == larger.job.source_clip == record.result.file
    assert (longer.job.prompt, larger.job.seed) == ("zoko swims", record.result.seed)
    assert larger.job.geometry.width == 2 * record.result.geometry.width
    assert longer.units > 0
    assert larger.units > 0
    with pytest.raises(Refusal) as error:
        await core.services.clips.extend(record.job_id, actor(2), place(), 83)
    assert error.value.code is RefusalCode.NOT_OWNER


async def test_clip_that_is_gone_or_not_there_yet_is_not_continued(core: Core, played_worker: PlayedWorker) -> None:
    """Nothing to start from, nothing to charge."""
    waiting = (await core.generate()).view.record
    with pytest.raises(Refusal) as error:
        await core.services.clips.extend(waiting.job_id, actor(), place(), 91)
    assert error.value.code is RefusalCode.RESULT_GONE
    await core.services.jobs.cancel(waiting.job_id, actor())
    record = await rendered(core, played_worker)
    await core.services.jobs.delete_result(record.job_id, actor())
    with pytest.raises(Refusal) as error:
        await core.services.clips.upscale(record.job_id, actor(), place(), 92)
    assert error.value.code is RefusalCode.RESULT_GONE


def board(*scenes: str, **changes: Any) -> StoryboardRequest:
    """A storyboard by `maker`."""
    return StoryboardRequest(actor=actor(), place=place(), interaction_id=500 + len(scenes), scenes=scenes, **changes)


async def test_storyboard_is_one_job_with_one_price_for_all_scenes(core: Core) -> None:
    """Scenes in order, blank lines left out; four scenes cost four clips."""
    one = (await core.generate()).view.record
    record = (await core.services.clips.storyboard(board("zoko wakes", " ", "zoko runs", "zoko eats", "zoko sleeps"))).view.record
    assert isinstance(record.job, GenerateVideo)
    assert record.job.storyboard is not None
    assert [scene.prompt for scene in record.job.storyboard.scenes] == ["zoko wakes", "zoko runs", "zoko eats", "zoko sleeps"]
    assert (record.job.mode, record.units) == (GenerationMode.STORYBOARD, 4 * one.units)


@pytest.mark.parametrize("count", [0, 1, 9])
async def test_storyboard_of_too_few_or_too_many_scenes_is_refused(core: Core, count: int) -> None:
    """Two to eight."""
    with pytest.raises(Refusal) as error:
        await core.services.clips.storyboard(board(*["zoko walks"] * count))
    assert (error.value.code, error.value.facts["count"]) == (RefusalCode.SCENES_COUNT, count)
    assert await core.services.jobs.mine(actor()) == []


async def test_verify_tells_ours_from_changed_and_unsigned_files(core: Core, played_worker: PlayedWorker, tmp_path: Path) -> None:
    """With the installation's own certificate, in a real process; a result of ours is known byte for byte."""
    folder = core.services.settings.credentials_folder
    path = tmp_path / "signed.mp4"
    write_signed(noisy_clip(), path, parameters(), load_credentials(folder), max_bytes=10**8, min_side=64)
    ours = core.file("ours.mp4", path.read_bytes())
    found = await core.services.origins.examine(ours)
    assert (found.report.finding, found.posted_at) == (Finding.OWN, None)
    assert found.report.parameters == parameters()

    submitted = (await core.generate()).view.record
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.RENDER), sha256=found.report.sha256)
    await core.consume()
    assert (await core.services.origins.examine(ours)).posted_at == (await core.record(submitted.job_id)).finished_at

    changed = core.file("changed.mp4", flipped(path.read_bytes(), path.stat().st_size * 3 // 4))
    assert (await core.services.origins.examine(changed)).report.finding is Finding.TAMPERED
    plain = clip_file(tmp_path)
    assert (await core.services.origins.examine(plain)).report.finding is Finding.UNSIGNED
    with pytest.raises(Refusal) as error:
        await core.services.origins.examine(core.file("a.txt", b"words"))
    assert error.value.code is RefusalCode.NOT_VERIFIABLE


async def test_prices_of_the_buttons_are_what_the_jobs_cost(core: Core, played_worker: PlayedWorker) -> None:
    """What the card says before a press is what is reserved after it; lengths are priced as they are made."""
    first = (await core.generate()).view.record
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.RENDER))
    await core.consume()
    record = await core.record(first.job_id)
    prices = remake_prices(TINY, record.job, record.result)
    made = [
        await press(first.job_id, actor(), place(), 9000 + number)
        for number, press in enumerate((core.services.clips.again, core.services.clips.extend, core.services.clips.upscale))
    ]
    assert [one.view.record.units for one in made] == [prices.again, prices.extend, prices.upscale]
    for length in await core.services.clips.lengths(actor(), None, None):
        assert (await core.generate(seconds=length.seconds)).view.record.units == length.units
