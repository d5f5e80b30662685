"""Cards of finished jobs: the clip, the trained LoRA, the failure. The only cards that ping, and only the owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from discord import ui

from bot.services.jobs import JobView
from bot.storage.jobs import JobRecord
from bot.ui import format as fmt
from bot.ui import text, views
from bot.ui.cards import DONE_COLOUR, FAILED_COLOUR, Card
from bot.ui.job_cards import charge, stack_line, title
from engine.contracts.bases import BASES
from engine.contracts.jobs import GenerateVideo
from engine.contracts.lora import LoraKind
from engine.contracts.results import LoraTrained, VideoRendered


@dataclass(frozen=True)
class Shown:
    """Files that go with a result: names of attachments, or a link when the file could not be attached."""

    video: str | None = None
    picture: str | None = None
    link: str | None = None
    note: str = ""  # a line above the facts, such as why this is not in its channel


def result(view: JobView, shown: Shown) -> Card:
    """The finished clip or LoRA; the only card that pings, and only its owner."""
    outcome = view.record.result
    if isinstance(outcome, VideoRendered):
        return _clip(view.record, outcome, shown)
    if isinstance(outcome, LoraTrained):
        return _trained(view.record, outcome, shown)
    return failed(view, shown)


def _clip(record: JobRecord, outcome: VideoRendered, shown: Shown) -> Card:
    job = record.job
    assert isinstance(job, GenerateVideo)
    card = Card(DONE_COLOUR).say(f"### Your clip is ready, <@{record.owner_id}>")
    alt = f"AI-generated video: {job.prompt}"
    _media(card, shown, alt)
    card.say(
        f"> {fmt.safe(job.prompt, 700)}",
        f"-# without: {fmt.safe(job.negative_prompt, 200)}" if job.negative_prompt else "",
        stack_line(job),
    )
    card.say(
        f"**Seed** {fmt.code(str(outcome.seed))} · **{outcome.posted_width} × {outcome.posted_height}** · "
        f"**{outcome.geometry.seconds:.1f} s** at {outcome.geometry.fps:g} fps",
        f"-# AI-generated with {fmt.safe(_base_title(record.base))} · made in {fmt.duration(outcome.seconds)} · {charge(record)}",
    )
    buttons: list[ui.Item[Any]] = [views.again_button(record.job_id), views.vary_button(record.job_id)]
    return card.buttons(*buttons, *_download(shown), views.delete_button(record.job_id)).sealed()


def _trained(record: JobRecord, outcome: LoraTrained, shown: Shown) -> Card:
    manifest = outcome.manifest
    card = Card(DONE_COLOUR).say(f"### {fmt.safe(manifest.name)} is trained, <@{record.owner_id}>")
    _media(card, shown, f"AI-generated preview of the {manifest.kind} {manifest.name}")
    prompt = {LoraKind.CHARACTER: "walking on a beach", LoraKind.STYLE: "a boat on a lake"}.get(manifest.kind, "a boat on a lake")
    asked = f"{manifest.trigger} {prompt}" if manifest.trigger and manifest.kind is not LoraKind.STYLE else prompt
    card.say(
        f"Use it, alone or with others: `/generate prompt: {fmt.plain(asked, 80)} loras: {manifest.name}:0.9`".replace("\n", " "),
        f"**{manifest.kind}**"
        + (f" · **trigger** {fmt.code(manifest.trigger)}" if manifest.trigger else "")
        + f" · **rank** {manifest.rank}",
        f"**{fmt.count(manifest.items, 'picture')}** · **{outcome.steps:,} steps**"
        + (f" · **loss** {manifest.final_loss:.3f}" if manifest.final_loss is not None else ""),
        f"-# AI-generated with {fmt.safe(_base_title(record.base))} · trained in {fmt.duration(outcome.seconds)} · {charge(record)}",
    )
    return card.buttons(*_download(shown), views.delete_button(record.job_id)).sealed()


def failed(view: JobView, shown: Shown | None = None) -> Card:
    """A job that ended without its result: why, what to do, and that it cost nothing it should not."""
    record = view.record
    reason = text.failure(record.failure) if record.failure is not None else text.failure(text.FALLBACK_FAILURE)
    card = Card(FAILED_COLOUR).say(f"### That did not work, <@{record.owner_id}>", f"{title(record)[0].upper()}{title(record)[1:]}", reason)
    card.say(shown.note if shown is not None else "")
    card.say(f"-# {charge(record)} · job {fmt.code(record.job_id)}")
    again: list[ui.Item[Any]] = [views.again_button(record.job_id)] if isinstance(record.job, GenerateVideo) else []
    return card.buttons(*again, views.delete_button(record.job_id)).sealed()


def _media(card: Card, shown: Shown, alt: str) -> None:
    if shown.video is not None:
        card.show(shown.video, alt)
    if shown.picture is not None:
        card.show(shown.picture, f"Still of: {alt}")
    card.say(shown.note)


def _download(shown: Shown) -> list[ui.Item[Any]]:
    return [ui.Button(label="Watch", url=shown.link)] if shown.link is not None else []


def _base_title(name: str) -> str:
    profile = BASES.get(name)
    return profile.title if profile is not None else name
