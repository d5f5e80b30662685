"""Cards of jobs that wait, run or have ended: the asker's answer, the public status card, the list of `/jobs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.services.jobs import JobView
from bot.storage.jobs import JobRecord
from bot.ui import text, views
from bot.ui.cards import DONE_COLOUR, FAILED_COLOUR, INFO_COLOUR, RUNNING_COLOUR, WAITING_COLOUR, Card
from bot.ui.language import _
from bot.ui.text import fittings, lines, results
from engine.contracts.events import Phase
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.status import JobStatus

LISTED_JOBS = 8

_ENDED_COLOUR = {JobStatus.SUCCEEDED: DONE_COLOUR, JobStatus.FAILED: FAILED_COLOUR, JobStatus.CANCELLED: WAITING_COLOUR}


def title(record: JobRecord) -> str:
    """The job in a few words."""
    return lines.job_title(record.job)


def charge(record: JobRecord) -> str:
    """What the job costs, and what of its reservation came back."""
    return lines.charge(record.units, record.units_charged)


def queued(view: JobView, units_left: int | None, *, note: str = "") -> Card:
    """The asker's own answer to a submit; everybody else sees the status card."""
    record = view.record
    warnings = lines.stack_notes(record.job) if isinstance(record.job, GenerateVideo) else []
    card = Card(WAITING_COLOUR).say(lines.queued(title(record)), note, *warnings, lines.waiting(view.position, view.eta))
    card.say(lines.receipt_price(record.units, units_left))
    return card.buttons(views.cancel_button(record.job_id)).sealed()


def status(view: JobView, *, preview: str | None = None) -> Card:
    """The public card of one job. `preview` names an attached picture of the work so far."""
    record = view.record
    if record.status.terminal:
        return _ended(record)
    running = record.status is JobStatus.RUNNING
    job = record.job
    card = Card(RUNNING_COLOUR if running else WAITING_COLOUR)
    card.say(*(lines.training_heading(job) if isinstance(job, TrainLora) else lines.rendering_heading(job)))
    card.say(*_state_lines(view))
    if record.attempt > 1:
        card.say(lines.MACHINE_CHANGED())
    if preview is not None and running:
        card.show(preview, lines.preview_alt(job, record.steps_done))
    card.say(lines.owned_by(record.owner_id, charge(record)))
    if not record.cancel_requested:
        card.buttons(views.cancel_button(record.job_id))
    return card.sealed()


def jobs(found: Sequence[JobView], files: Mapping[str, str] | None = None) -> Card:
    """My jobs: open ones first, each with its cancel button. `files`: job id to a download link of a result that is not in its channel."""
    card = Card(INFO_COLOUR).say(lines.JOBS_HEADING())
    if not found:
        return card.say(lines.NO_JOBS()).sealed()
    for view in found[:LISTED_JOBS]:
        record = view.record
        if record.status.terminal:
            card.say(*_finished_entry(record, (files or {}).get(record.job_id)))
        elif record.cancel_requested:
            card.say(lines.capital(title(record)), *_state_lines(view))
        else:
            card.beside("\n".join([lines.capital(title(record)), *_state_lines(view)]), views.cancel_button(record.job_id))
    return card.sealed()


def shared(job_id: str, address: str) -> Card:
    """The address of a clip's page, and the button that closes it."""
    return (
        Card(INFO_COLOUR)
        .say(*results.shared(address))
        .buttons(views.link_button(address, _("Open")), views.unshare_button(job_id))
        .sealed()
    )


def message_url(record: JobRecord) -> str | None:
    """Link to the posted result; None while there is none, and for one that had to go elsewhere, such as to a direct message."""
    if record.posted_message_id is None or record.posted_channel_id != record.channel_id:
        return None
    return f"https://discord.com/channels/{record.guild_id or '@me'}/{record.channel_id}/{record.posted_message_id}"


def _state_lines(view: JobView) -> list[str]:
    """What an open job is doing."""
    record, progress = view.record, view.progress
    if record.cancel_requested:
        return [lines.STOPPING()]
    if record.status is not JobStatus.RUNNING:
        return [lines.waiting(view.position, view.eta)]
    step, total = (progress.step, progress.total_steps) if progress is not None else (record.steps_done, record.total_steps)
    phase = text.PHASES[progress.phase if progress is not None else Phase.LOADING]
    if total <= 0:
        return [lines.phase_line(phase, view.eta)]
    told = [lines.small(fittings.fitting(progress.fitting))] if progress is not None and progress.fitting is not None else []
    return [lines.share(step, total), lines.step_line(phase, step, total, view.eta), *told]


def _ended(record: JobRecord) -> Card:
    card = Card(_ENDED_COLOUR[record.status])
    word = text.ENDED_WORDS[record.status]
    if record.status is JobStatus.SUCCEEDED:
        seconds = record.finished_at - record.started_at if record.started_at and record.finished_at else None
        card.say(lines.ended(word, title(record), seconds, message_url(record)))
    else:
        card.say(lines.ended(word, title(record)), _reason(record))
    return card.say(lines.owned_by(record.owner_id, charge(record))).sealed()


def _finished_entry(record: JobRecord, file: str | None) -> list[str]:
    word = text.ENDED_WORDS[record.status]
    link = file if file is not None else message_url(record)
    entry = lines.finished_entry(word, record.finished_at, charge(record), deleted=record.deleted, link=link)
    return [lines.capital(title(record)), entry, *([lines.small(_reason(record))] if _reason(record) else [])]


def _reason(record: JobRecord) -> str:
    return text.failure(record.failure) if record.failure is not None and record.status is JobStatus.FAILED else ""
