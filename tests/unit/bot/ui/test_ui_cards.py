"""Tests of the cards: Discord's limits hold for the longest values, colours mean what they should, only results ping."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bot.config import BotSettings
from bot.services.administration import UsageReport
from bot.services.casts import Cast
from bot.services.datasets import PlanWarning
from bot.services.freezing import Storage
from bot.services.imports import Imported
from bot.services.library import Filters, Scope
from bot.services.notices import Notice, NoticeKind
from bot.services.origins import Origin
from bot.services.plans import Plan, PlanTerms, Standing
from bot.services.quotas import QuotaStatus, UsageDay
from bot.services.quotas import Scope as QuotaScope
from bot.services.servers import Limits, QuotaWindow, ServerSettings
from bot.storage.audit import AuditEntry
from bot.storage.likenesses import Consent
from bot.storage.loras import LoraState, Withheld
from bot.storage.usage import JobCount
from bot.ui import (
    admin_cards,
    cards,
    dataset_cards,
    help_cards,
    job_cards,
    library_cards,
    origin_cards,
    privacy_cards,
    result_cards,
    safety_cards,
)
from bot.ui.cards import Card
from bot.ui.language import GERMAN, LANGUAGES, speaking
from bot.ui.result_cards import Shown
from bot.ui.text import admin as admin_words
from bot.ui.views import BUTTONS
from engine.contracts.bases import BASES, TINY, BaseProfile
from engine.contracts.failures import FailureCode
from engine.contracts.generation import Extension, Scene, Storyboard, Upscale
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.contracts.media import MediaNote, MediaProblem
from engine.contracts.provenance import Finding
from engine.contracts.selection import KeptCheckpoint
from engine.contracts.status import JobStatus
from tests.support import discord_values as values
from tests.support.contracts import selection, stored

KEPT = KeptCheckpoint(step=400, file=stored())
LONG_PROMPT = "zoko **walks** <@1> " * 100
LONG = values.generation(
    prompt=LONG_PROMPT[:2000],
    negative_prompt=LONG_PROMPT[:2000],
    adapters=tuple(values.use(f"name-of-sixteen{n}"[:16], 1.25) for n in range(4)),
)
REFUSED = tuple(values.verdict(f"a*_very_long_name_{n}" * 5 + ".png", problem) for n, problem in enumerate(MediaProblem))
NOTED = tuple(values.verdict(f"{n}.png", notes=tuple(MediaNote)) for n in range(30))


def many_loras(number: int = 6) -> list[Any]:
    """A full page."""
    return [values.lora(f"hero{n}", lora_id=f"01JD{n:022d}", owner_name="*" * 32, owner_id=n) for n in range(number)]


def many_jobs() -> list[Any]:
    """More jobs than a card shows, all of them cancellable."""
    return [values.view(values.record(LONG, job_id=f"01JD{n:022d}"), position=n + 1, eta=values.NOW) for n in range(30)]


def quota_card(status: QuotaStatus, profile: BaseProfile = TINY, chart: tuple[int, int] | None = None) -> Card:
    """`/quota` of somebody with the premium plan."""
    standing = Standing(PlanTerms(Plan.PREMIUM, 2000, 10.0, 10**9), by_server=False, ends_at=None, ended=None, ended_at=None)
    return admin_cards.quota(standing, [status], Storage(0, 10**9, 0, None), profile, profile.training[LoraKind.CHARACTER], chart=chart)


def sent_notice(kind: str, **facts: Any) -> Notice:
    """A notice with every fact there is."""
    given = {
        "loras": 7,
        "names": "hero, zoko, dusk",
        "delete_at": values.NOW,
        "ends_at": values.NOW,
        "plan": "premium",
        "by": 5,
        "user": 6,
        "reason": "*" * 200,
        "job": values.JOB_ID,
        "units": 9,
        "what": "limits",
    }
    return Notice(1, kind, given | facts, 5, None, None, 0)


CARDS: dict[str, Callable[[], Card]] = {
    "refusal": lambda: cards.refusal("No, because."),
    "dataset, good": lambda: dataset_cards.dataset(values.report()),
    "dataset, all wrong": lambda: dataset_cards.dataset(values.report(2, verdicts=REFUSED + NOTED)),
    "dataset, unaffordable": lambda: dataset_cards.dataset(values.report(30, warnings=(PlanWarning.NOT_AFFORDABLE,))),
    "dataset dropped": lambda: dataset_cards.dataset_dropped(values.dataset()),
    "queued": lambda: job_cards.queued(values.view(values.record(LONG), position=3, eta=values.NOW), 90, note="A note."),
    "status, waiting": lambda: job_cards.status(values.view(values.record(LONG), position=1, eta=values.NOW)),
    "status, starting": lambda: job_cards.status(values.view(values.record(status=JobStatus.DISPATCHED))),
    "status, running": lambda: job_cards.status(values.running(LONG)),
    "status, training": lambda: job_cards.status(values.running(values.training()), preview="p.png"),
    "status, stopping": lambda: job_cards.status(values.running(cancel_requested=True)),
    "status, done": lambda: job_cards.status(values.view(values.finished(LONG, posted_channel_id=values.CHANNEL_ID, posted_message_id=5))),
    "status, failed": lambda: job_cards.status(values.view(values.record(status=JobStatus.FAILED, failure=FailureCode.INTERNAL))),
    "status, cancelled": lambda: job_cards.status(values.view(values.record(status=JobStatus.CANCELLED, units_charged=1))),
    "clip": lambda: result_cards.result(values.view(values.finished(LONG)), Shown(video="v.mp4")),
    "clip, linked": lambda: result_cards.result(
        values.view(values.finished(LONG)), Shown(picture="p.png", link="https://e.org/" + "x" * 400, note="n" * 200)
    ),
    "lora": lambda: result_cards.result(values.view(values.finished(values.training())), Shown(video="v.mp4")),
    "lora, chosen": lambda: result_cards.result(
        values.view(values.finished(values.training(), result=values.lora_result(selection=selection(), kept=(KEPT,)))),
        Shown(video="v.mp4", chart="c.png"),
    ),
    "lora without anything": lambda: result_cards.result(
        values.view(
            values.finished(
                values.training(trigger=None), result=values.lora_result(manifest=values.manifest(trigger=None, final_loss=None))
            )
        ),
        Shown(),
    ),
    "failed": lambda: result_cards.failed(values.view(values.record(LONG, status=JobStatus.FAILED, failure=FailureCode.CHILD_DIED))),
    "failed without reason": lambda: result_cards.failed(values.view(values.record(status=JobStatus.FAILED))),
    "jobs": lambda: job_cards.jobs(many_jobs()),
    "jobs, mixed": lambda: job_cards.jobs(
        [
            values.running(),
            values.running(cancel_requested=True),
            values.view(values.finished(posted_channel_id=values.CHANNEL_ID, posted_message_id=9)),
            values.view(values.finished(deleted=True)),
            values.view(values.record(status=JobStatus.FAILED, failure=FailureCode.TIMED_OUT)),
        ]
    ),
    "no jobs": lambda: job_cards.jobs([]),
    "loras": lambda: library_cards.page(values.page(many_loras()), {lora.lora_id: f"lora-{lora.lora_id}.png" for lora in many_loras()}, 1),
    "loras without pictures": lambda: library_cards.page(values.page(many_loras(), number=2, total=50), {}, 1),
    "loras without end": lambda: library_cards.page(values.page(many_loras(), number=2, total=72, whole=False), {}, 1),
    "no loras": lambda: library_cards.page(values.page([]), {}, 1),
    "no loras found": lambda: library_cards.page(
        values.page([], filters=Filters(text="x" * 36, kind=LoraKind.STYLE, owner_id=2**63)), {}, 1
    ),
    "none of mine": lambda: library_cards.page(values.page([], filters=Filters(scope=Scope.MINE)), {}, 1),
    "none public": lambda: library_cards.page(values.page([], filters=Filters(scope=Scope.PUBLIC)), {}, 1),
    "lora card": lambda: library_cards.details(values.details(), {"preview": "p.mp4", "chart": "c.png"}),
    "lora card of another": lambda: library_cards.details(values.details(mine=False), {}),
    "lora card, withheld": lambda: library_cards.details(values.details(withheld=Withheld.LIKENESS), {}),
    "lora card, in training": lambda: library_cards.details(values.details(versions=(), state=LoraState.TRAINING, file=None), {}),
    "delete a lora?": lambda: library_cards.confirm_delete(values.details()),
    "versions": lambda: library_cards.versions(values.details(versions=tuple(values.version(n) for n in range(12, 0, -1)))),
    "download": lambda: library_cards.download(values.lora(), "https://e.org/" + "x" * 490, values.NOW, "Apache-2.0"),
    "imported": lambda: library_cards.imported(Imported(values.lora(), values.lora_facts())),
    "shared": lambda: job_cards.shared(values.JOB_ID, "https://e.org/s/" + "x" * 22),
    "privacy": lambda: privacy_cards.about(BotSettings()),
    "export": lambda: privacy_cards.export("https://e.org/" + "x" * 490, 10**9, values.NOW),
    "forget me?": lambda: privacy_cards.confirm_delete(),
    "help": lambda: help_cards.overview(None, admin=True),
    "help with a lora": lambda: help_cards.overview("name-of-sixteen1", admin=False),
    "terms": safety_cards.terms,
    "reports": lambda: safety_cards.reports([values.open_report(n) for n in range(5)]),
    "no reports": lambda: safety_cards.reports([]),
    "rules": lambda: safety_cards.rules([values.prompt_rule(n) for n in range(40)]),
    "no rules": lambda: safety_cards.rules([]),
    "decisions": lambda: safety_cards.audit([AuditEntry(values.NOW, 2**62, None, "rule_added", "*" * 200)] * 15),
    "no decisions": lambda: safety_cards.audit([]),
    "may a lora show you?": lambda: safety_cards.question(values.likeness()),
    "likenesses": lambda: safety_cards.likenesses(
        [values.likeness(state=each, dataset_id=f"01JD{n:022d}") for n, each in enumerate(Consent)]
    ),
    "no likenesses": lambda: safety_cards.likenesses([]),
    "withheld": lambda: result_cards.result(values.view(values.finished(LONG, withheld="adult")), Shown()),
    "casts": lambda: library_cards.casts([Cast("pilot", True, ((values.lora(), 0.9),)), Cast("others", False, ())]),
    "no casts": lambda: library_cards.casts([]),
    "quota": lambda: quota_card(QuotaStatus(2000, 1500, 100, values.NOW), chart=(14, 1500)),
    "quota, spent": lambda: quota_card(QuotaStatus(0, 0, 0, values.NOW)),
    "quota, all limits, plan over": lambda: admin_cards.quota(
        Standing(PlanTerms(Plan.FREE, 200, 6.0, 0), by_server=True, ends_at=values.NOW, ended=Plan.PREMIUM, ended_at=values.NOW),
        [QuotaStatus(200, 10, 0, values.NOW, scope, QuotaWindow.WEEK) for scope in QuotaScope],
        Storage(used=10**9, limit=0, frozen=3, delete_at=values.NOW),
        TINY,
        TINY.training[LoraKind.CHARACTER],
        sku_id=7,
    ),
    "usage": lambda: admin_cards.usage(
        UsageReport(
            (UsageDay(values.NOW, 90, 10),) * 90,
            (JobCount("generate_video", "succeeded", 90), JobCount("train_lora", "queued", 1)),
            12,
            ((1, 80), (2, 10)),
        )
    ),
    "no usage": lambda: admin_cards.usage(UsageReport((UsageDay(values.NOW, 0, 0),) * 7, (), 0, ())),
    "settings": lambda: admin_cards.settings(ServerSettings(1), admin_words.changed("channels")),
    "settings, everything": lambda: admin_cards.settings(
        ServerSettings(
            1,
            frozenset(range(50)),
            frozenset(range(50)),
            Limits(10, 1, 2),
            {role: Limits(10**9, 1000, 1000) for role in range(10**18, 10**18 + 50)},
            10**9,
            QuotaWindow.MONTH,
            "a" * 90,
            log_channel_id=5,
        )
    ),
    **{f"notice, {kind}": (lambda kind=kind: admin_cards.notice(sent_notice(kind))) for kind in NoticeKind},
    **{
        f"notice, {action}": (lambda action=action: admin_cards.notice(sent_notice(NoticeKind.ADMIN_ACTED, action=action)))
        for action in ("block", "unblock", "refund", "cancel", "takedown", "grant", "settings")
    },
}


def walk(parts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every component, parents first."""
    for part in parts:
        yield part
        yield from walk(part.get("components", []))
        if "accessory" in part:
            yield from walk([part["accessory"]])


def words(card: Card) -> str:
    """All text of a card."""
    return "\n".join(part["content"] for part in walk(card.rendered()) if part["type"] == 10)


def labels(card: Card) -> list[str]:
    """Labels of its buttons."""
    return [part["label"] for part in walk(card.rendered()) if part["type"] == 2]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", CARDS)
async def test_card_keeps_discords_limits_with_the_longest_values(name: str, language: str) -> None:
    """40 components, 4,000 characters, 10 gallery items, 5 buttons a row, 80 characters a label, known buttons only."""
    with speaking(language):
        card = CARDS[name]()
    parts = list(walk(card.rendered()))
    assert len(parts) <= 40
    assert len(words(card)) <= 4000
    assert [part["type"] for part in card.rendered()] == [17]
    ids = [part["custom_id"] for part in parts if "custom_id" in part]
    assert len(ids) == len(set(ids)), "a custom id stands twice in one message"
    for custom_id in ids:
        assert len(custom_id) <= 100
        assert sum(button.__discord_ui_compiled_template__.fullmatch(custom_id) is not None for button in BUTTONS) == 1
    for part in parts:
        if part["type"] == 1:
            assert 1 <= len(part["components"]) <= 5
        if part["type"] == 10:
            assert part["content"].strip()
        if part["type"] == 12:
            assert 1 <= len(part["items"]) <= 10
            assert all(item["description"] for item in part["items"]), "media without alt text"
        if part["type"] == 2 and part["style"] == 6:
            assert part["sku_id"], "Discord itself names what a premium button sells"
            assert not part.get("label")
        elif part["type"] == 2:
            assert 1 <= len(part["label"]) <= 80


@pytest.mark.parametrize("name", CARDS)
async def test_card_is_never_kept_by_the_library(name: str) -> None:
    """A finished view is sent but not stored, which is what keeps buttons registered for ever (traps 1, 2 and 4)."""
    card = CARDS[name]()
    assert card.is_finished()
    assert card.timeout is None


@pytest.mark.parametrize("name", CARDS)
async def test_refusal_colour_belongs_to_refusals_alone(name: str) -> None:
    """People, and the sandbox, tell a no by its colour."""
    [container] = CARDS[name]().rendered()
    assert (container["accent_color"] == cards.REFUSAL_COLOUR) == (name in ("refusal", "terms"))


async def test_dataset_card_offers_no_start_below_the_minimum() -> None:
    """Two pictures of a character: how many are needed, and the way to add them."""
    card = dataset_cards.dataset(values.report(2))
    assert labels(card) == ["Add pictures", "Discard"]
    assert "at least **4** pictures: add 2 more" in words(card)


async def test_dataset_card_warns_below_the_advised_number() -> None:
    """The button says that the person was warned."""
    card = dataset_cards.dataset(values.report(7))
    assert labels(card)[0] == "Train anyway"
    assert "⚠️" in words(card)


async def test_dataset_card_starts_plainly_with_enough_pictures() -> None:
    """No warning, price and time before the button."""
    card = dataset_cards.dataset(values.report(24))
    assert labels(card)[0] == "Start training"
    assert "⚠️" not in words(card)
    assert "**200 units**" in words(card)
    assert "**2 min**" in words(card)


async def test_dataset_card_names_refused_files_and_why() -> None:
    """A verdict per file, the rest counted."""
    shown = words(dataset_cards.dataset(values.report(9, verdicts=REFUSED)))
    assert f"**{len(REFUSED)} files left out**" in shown
    assert "is empty" in shown
    assert f"and {len(REFUSED) - dataset_cards.LISTED_PROBLEMS} more" in shown


async def test_clip_card_shows_everything_needed_to_repeat_it() -> None:
    """Prompt, LoRAs with weights, seed, size, seconds, AI label, and the owner's mention."""
    shown = words(CARDS["clip"]())
    assert f"<@{values.OWNER_ID}>" in shown
    assert "name-of-sixteen3 1.25" in shown
    assert "**Seed** `7`" in shown
    assert "256 × 256" in shown
    assert "**1.1 s** at 8 fps" in shown
    assert "AI-generated" in shown
    assert labels(CARDS["clip"]()) == ["Again", "Vary", "Extend", "Upscale", "Share", "Report", "Delete"]


@pytest.mark.parametrize(
    ("changes", "buttons"),
    [
        ({"upscale": Upscale()}, ["Again", "Extend", "Share", "Report", "Delete"]),
        ({"extend": Extension(video=values.stored())}, ["Again", "Extend", "Upscale", "Share", "Report", "Delete"]),
        ({"image": values.stored()}, ["Again", "Vary", "Extend", "Upscale", "Share", "Report", "Delete"]),
    ],
)
async def test_clip_card_offers_what_can_be_made_of_the_clip(changes: dict[str, Any], buttons: list[str]) -> None:
    """What goes on from another clip has no noise to vary, and nothing is upscaled twice."""
    job = values.generation(**({"geometry": Geometry(width=64, height=64, num_frames=9, fps=8)} | changes))
    assert labels(result_cards.result(values.view(values.finished(job)), Shown(video="a.mp4"))) == buttons


async def test_cards_of_a_storyboard_list_its_scenes_and_the_length_of_the_film() -> None:
    """Everybody sees what is filmed, and the card says how long the film is, not a scene."""
    scenes = tuple(Scene(prompt=f"zoko in scene {number} <@1>") for number in range(3))
    job = values.generation(storyboard=Storyboard(scenes=scenes))
    waiting = words(job_cards.status(values.view(values.record(job))))
    assert "Filming a storyboard" in waiting
    assert "> 3. zoko in scene 2" in waiting
    finished = values.view(values.finished(job, result=values.clip_result(num_frames=27)))
    assert "**3.4 s** at 8 fps" in words(result_cards.result(finished, Shown(video="a.mp4")))


async def test_cards_warn_when_two_characters_meet() -> None:
    """On the receipt, before anything is rendered, and on the card everybody sees; one character is no news."""
    two = values.generation(adapters=(values.use("zoko"), values.use("mivu")))
    for card in (job_cards.queued(values.view(values.record(two)), 90), job_cards.status(values.view(values.record(two)))):
        assert "Two characters in one clip" in words(card)
    one = values.generation(adapters=(values.use("zoko"),))
    assert "Two characters" not in words(job_cards.queued(values.view(values.record(one)), 90))


@pytest.mark.parametrize(
    ("report", "posted_at", "says", "shows_prompt"),
    [
        (values.origin_report(Finding.OWN), None, "our signature of <t:1800000000:f>", True),
        (values.origin_report(Finding.OWN), values.NOW, "byte for byte", True),
        (values.origin_report(Finding.UNSIGNED), values.NOW, "byte for byte", True),
        (values.origin_report(Finding.FOREIGN), None, "Studio signed it with Callsheet, and it is unchanged since", False),
        (values.origin_report(Finding.FOREIGN, ai_generated=None), None, "does not say whether", False),
        (values.origin_report(Finding.TAMPERED), None, "does not fit its content", False),
        (values.origin_report(Finding.UNSIGNED), None, "nothing proves it", False),
        (values.origin_report(Finding.UNSIGNED, parameters=None), None, "Nothing in it tells", False),
    ],
)
async def test_origin_card_claims_only_what_is_proved(report: Any, posted_at: float | None, says: str, shows_prompt: bool) -> None:
    """What a file says about itself is shown only when it is signed here, or is our own file."""
    shown = words(origin_cards.origin(Origin(report, posted_at)))
    assert says in shown
    assert ("walks" in shown) is shows_prompt
    assert "<@1>" not in shown


ENGLISH = re.compile(
    r"\b(the|of|is|are|you|your|and|or|with|for|from|not|this|that|it|its|by|yet|here|back|character|motion|unit|picture|day|week)s?\b",
    re.IGNORECASE,
)
SAME = re.compile(r"`[^`]*`|“[^”]*”|„[^“]*“|^>.*|<[^>]*>|https?://\S+|name-of-\S+|\*{20,}", re.MULTILINE)
"""What is the same in every language: commands, prompts, mentions, links."""


@pytest.mark.parametrize("name", CARDS)
async def test_german_card_has_no_english_left(name: str) -> None:
    """Text, labels and alt texts; what people typed is theirs."""
    with speaking(GERMAN):
        parts = list(walk(CARDS[name]().rendered()))
    said = [str(part.get(key, "")) for part in parts for key in ("content", "label")]
    said += [str(item["description"]).partition(":")[0] for part in parts for item in part.get("items", ()) if "description" in item]
    assert [line for line in said if ENGLISH.search(SAME.sub("", line))] == []


async def test_status_card_shows_the_clip_on_its_way() -> None:
    """A still from the denoising, named for what it is; a training's preview is named otherwise."""
    shown = str(job_cards.status(values.running(values.generation()), preview="p.png").rendered())
    assert "attachment://p.png" in shown
    assert "First, middle and last frame on the way, AI-generated" in shown
    assert "LoRA in training" in str(job_cards.status(values.running(values.training()), preview="p.png").rendered())


async def test_cards_quote_prompts_literally() -> None:
    """A prompt full of markdown and mentions has no effect."""
    for name in ("clip", "status, running", "queued", "failed", "jobs"):
        assert "<@1>" not in words(CARDS[name]()), name


async def test_status_card_shows_step_share_and_eta_while_running() -> None:
    """Bar, percentage, step of steps, and a time Discord counts down."""
    shown = words(job_cards.status(values.running(values.training(), step=160, total=400)))
    assert "**40 %**" in shown
    assert "step 160 of 400" in shown
    assert f"<t:{int(values.NOW + 60)}:R>" in shown


async def test_status_card_says_what_came_back_after_a_cancel() -> None:
    """What ran is charged, the rest is given back, and the card says both."""
    shown = words(CARDS["status, cancelled"]())
    assert "1 unit, 3 given back" in shown


async def test_status_card_has_no_cancel_once_asked_or_over() -> None:
    """A button that does nothing is a lie."""
    assert labels(CARDS["status, stopping"]()) == []
    assert labels(CARDS["status, done"]()) == []
    assert labels(CARDS["status, running"]()) == ["Cancel"]


async def test_status_card_links_the_result_when_it_is_posted() -> None:
    """The old card leads to the new message."""
    assert f"https://discord.com/channels/{values.GUILD_ID}/{values.CHANNEL_ID}/5" in words(CARDS["status, done"]())


async def test_failed_card_never_shows_operator_detail() -> None:
    """`failure_detail` is for logs."""
    row = values.record(status=JobStatus.FAILED, failure=FailureCode.INTERNAL, failure_detail="Traceback in /srv/secret")
    assert "secret" not in words(result_cards.failed(values.view(row)))


async def test_every_posted_card_carries_the_marker_the_outbox_looks_for() -> None:
    """After a crash a post is recognised in the channel by its delete button."""
    for name in ("clip", "clip, linked", "lora", "lora without anything", "failed", "failed without reason"):
        ids = [part.get("custom_id") for part in walk(CARDS[name]().rendered())]
        assert f"job:delete:{values.JOB_ID}" in ids, name


@pytest.mark.parametrize("base", sorted(BASES))
def test_quota_card_prices_work_for_every_base(base: str) -> None:
    """The price list is computed, not written."""
    profile = BASES[base]
    assert all(kind in profile.training for kind in LoraKind)
    shown = words(quota_card(QuotaStatus(10_000, 0, 0, values.NOW), profile))
    assert "A clip costs" in shown


async def test_clip_card_survives_a_base_that_is_no_longer_installed() -> None:
    """Old results outlive a change of the model."""
    row = replace(values.finished(), base="gone-1")
    assert "gone-1" in words(result_cards.result(values.view(row), Shown(video="v.mp4")))
