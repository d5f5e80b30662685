"""Cards of finished jobs: the clip, the trained LoRA, the failure. The only cards that ping, and only the owner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from discord import ui

from bot.services.clips import remake_prices, varies
from bot.services.jobs import JobView
from bot.storage.jobs import JobRecord
from bot.ui import text, views
from bot.ui.cards import DONE_COLOUR, FAILED_COLOUR, Card
from bot.ui.job_cards import charge, title
from bot.ui.text import checkpoints, fittings, lines, results
from engine.contracts.bases import BASES
from engine.contracts.generation import GenerationMode
from engine.contracts.jobs import GenerateVideo
from engine.contracts.results import LoraTrained, VideoRendered


@dataclass(frozen=True)
class Shown:
    """Files that go with a result: names of attachments, or a link when the file could not be attached."""

    video: str | None = None
    picture: str | None = None
    link: str | None = None
    note: str = ""  # a line above the facts, such as why this is not in its channel
    makers: tuple[int, ...] = ()  # of the LoRAs that were used, without the clip's owner
    chart: str | None = None  # of a training: how its checkpoint was chosen


def result(view: JobView, shown: Shown) -> Card:
    """The finished clip or LoRA; every one has the delete button the outbox recognises it by."""
    record = view.record
    outcome, job = record.result, record.job
    if isinstance(outcome, LoraTrained) and record.withheld == "unchecked":
        return _trained(record, outcome, replace(shown, note="\n".join(filter(None, [shown.note, results.PREVIEW_DAMAGED()]))))
    if record.withheld is not None:
        return _withheld(record, shown)
    if isinstance(outcome, VideoRendered) and isinstance(job, GenerateVideo):
        return _clip(record, job, outcome, shown)
    if isinstance(outcome, LoraTrained):
        return _trained(record, outcome, shown)
    return failed(view, shown)


def failed(view: JobView, shown: Shown | None = None) -> Card:
    """A job that ended without its result: why, what to do, and that it cost nothing it should not."""
    record = view.record
    reason = text.failure(record.failure if record.failure is not None else text.FALLBACK_FAILURE)
    card = Card(FAILED_COLOUR).say(results.failed_heading(record.owner_id), lines.capital(title(record)), reason)
    card.say(shown.note if shown is not None else "")
    card.say(results.failed_foot(charge(record), record.job_id))
    again: list[ui.Item[Any]] = [views.again_button(record.job_id)] if isinstance(record.job, GenerateVideo) else []
    return card.buttons(*again, views.delete_button(record.job_id)).sealed()


def _withheld(record: JobRecord, shown: Shown) -> Card:
    """In place of a result that may not be seen here."""
    card = Card(FAILED_COLOUR).say(
        results.withheld_heading(record.owner_id), lines.capital(title(record)), results.withheld(record.withheld)
    )
    card.say(shown.note, results.failed_foot(charge(record), record.job_id))
    again: list[ui.Item[Any]] = [views.again_button(record.job_id)] if record.withheld == "unchecked" else []
    return card.buttons(*again, views.delete_button(record.job_id)).sealed()


def _clip(record: JobRecord, job: GenerateVideo, outcome: VideoRendered, shown: Shown) -> Card:
    card = Card(DONE_COLOUR).say(results.clip_heading(record.owner_id))
    _media(card, shown, results.clip_alt(job.prompt))
    card.say(*results.prompt_lines(job), results.credit(shown.makers))
    card.say(
        results.clip_facts(outcome.seed, outcome.posted_width, outcome.posted_height, _seconds(outcome), outcome.geometry.fps),
        results.made_with(_base_title(record.base), outcome.seconds, charge(record)),
    )
    profile = BASES.get(record.base)
    if profile is not None:
        prices = remake_prices(profile, job, outcome)
        card.say(results.remake_prices(prices.again, prices.extend, prices.upscale))
    remakes: list[ui.Item[Any]] = [views.again_button(record.job_id)]
    if varies(job):
        remakes.append(views.vary_button(record.job_id))
    remakes.append(views.extend_button(record.job_id))
    if job.mode is not GenerationMode.UPSCALE and _renderable(record.base, outcome):
        remakes.append(views.upscale_button(record.job_id))
    card.buttons(*remakes)
    return card.buttons(
        *_download(shown), views.share_button(record.job_id), views.report_button(record.job_id), views.delete_button(record.job_id)
    ).sealed()


def _trained(record: JobRecord, outcome: LoraTrained, shown: Shown) -> Card:
    manifest = outcome.manifest
    card = Card(DONE_COLOUR).say(results.lora_heading(manifest.name, record.owner_id))
    _media(card, shown, results.lora_alt(manifest.kind, manifest.name))
    card.say(
        results.lora_usage(manifest.name, manifest.kind, manifest.trigger),
        *results.lora_facts(manifest.kind, manifest.trigger, manifest.rank, manifest.items, outcome.steps, manifest.final_loss),
        results.made_with(_base_title(record.base), outcome.seconds, charge(record), trained=True),
    )
    if outcome.fitting is not None:
        card.say(lines.small(fittings.fitting(outcome.fitting)))
    if outcome.selection is not None:
        card.say(*checkpoints.choice(outcome.selection))
        if shown.chart is not None:
            card.show(shown.chart, checkpoints.chart_alt(outcome.selection))
    others: list[ui.Item[Any]] = [views.versions_button(outcome.lora_id, checkpoints.PICK())] if outcome.kept else []
    others += [views.animate_button(record.job_id)] if outcome.poster is not None else []
    return card.buttons(*others, *_download(shown), views.delete_button(record.job_id)).sealed()


def _media(card: Card, shown: Shown, alt: str) -> None:
    if shown.video is not None:
        card.show(shown.video, alt)
    if shown.picture is not None:
        card.show(shown.picture, results.still_alt(alt))
    card.say(shown.note)


def _download(shown: Shown) -> list[ui.Item[Any]]:
    return [views.link_button(shown.link)] if shown.link is not None else []


def _renderable(base: str, outcome: VideoRendered) -> bool:
    """True when all of the film fits into one denoising, as upscaling needs."""
    frames = outcome.num_frames or outcome.geometry.num_frames
    return base not in BASES or frames <= BASES[base].geometry.max_frames


def _seconds(outcome: VideoRendered) -> float:
    """Playing time of the file, which an extended film or a storyboard has more of than was denoised at once."""
    return (outcome.num_frames or outcome.geometry.num_frames) / outcome.geometry.fps


def _base_title(name: str) -> str:
    profile = BASES.get(name)
    return profile.title if profile is not None else name
