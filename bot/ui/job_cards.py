"""Cards of jobs that wait, run or have ended: the asker's answer, the public status card, the list of `/jobs`."""

from __future__ import annotations

from collections.abc import Sequence

from bot.services.jobs import JobView
from bot.storage.jobs import JobRecord
from bot.ui import format as fmt
from bot.ui import text, views
from bot.ui.cards import DONE_COLOUR, FAILED_COLOUR, INFO_COLOUR, RUNNING_COLOUR, WAITING_COLOUR, Card
from engine.contracts.events import Phase
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.status import JobStatus

LISTED_JOBS = 8


def queued(view: JobView, units_left: int | None, *, note: str = "") -> Card:
    """The asker's own answer to a submit; everybody else sees the status card."""
    record = view.record
    left = f" · {units_left:,} left today" if units_left is not None else ""
    card = Card(WAITING_COLOUR).say(f"**Queued:** {title(record)}", note, _waiting_line(view))
    card.say(f"-# {fmt.count(record.units, 'unit')}{left} · the card in the channel follows along")
    return card.buttons(views.cancel_button(record.job_id)).sealed()


def title(record: JobRecord) -> str:
    """The job in a few words."""
    job = record.job
    if isinstance(job, TrainLora):
        return f"training **{fmt.safe(job.name)}** ({job.lora_kind})"
    return f"clip “{fmt.safe(job.prompt, 60)}”"


def stack_line(job: GenerateVideo) -> str:
    """LoRAs with their weights, or nothing."""
    return "**LoRAs** " + " · ".join(f"{fmt.safe(use.name)} {fmt.weight(use.weight)}" for use in job.adapters) if job.adapters else ""


def message_url(record: JobRecord) -> str | None:
    """Link to the posted result."""
    if record.posted_message_id is None:
        return None
    return f"https://discord.com/channels/{record.guild_id or '@me'}/{record.channel_id}/{record.posted_message_id}"


def _waiting_line(view: JobView) -> str:
    place = "Next in line" if view.position == 1 else f"Position **{view.position}** in line" if view.position else "Starting"
    return f"{place} · ready {fmt.relative(view.eta)}" if view.eta is not None else place


def _running_lines(view: JobView) -> list[str]:
    record, progress = view.record, view.progress
    if record.cancel_requested:
        return ["Stopping after the current step…"]
    step, total = (progress.step, progress.total_steps) if progress is not None else (record.steps_done, record.total_steps)
    phase = text.PHASES[progress.phase if progress is not None else Phase.LOADING]
    eta = f"ready {fmt.relative(view.eta)}" if view.eta is not None else ""
    if total <= 0:
        return [" · ".join(filter(None, [phase[0].upper() + phase[1:], eta]))]
    share = f"{fmt.bar(step, total)} **{int(100 * step / total)} %**"
    return [share, " · ".join(filter(None, [f"{phase}, step {step:,} of {total:,}", eta]))]


def status(view: JobView, *, preview: str | None = None) -> Card:
    """The public card of one job. `preview` names an attached picture of the training so far."""
    record = view.record
    if record.status.terminal:
        return _ended(record)
    running = record.status is JobStatus.RUNNING
    card = Card(RUNNING_COLOUR if running else WAITING_COLOUR).say(*_headline(record))
    card.say(*(_running_lines(view) if running else [_waiting_line(view)]))
    if record.attempt > 1:
        card.say("-# The machine changed; the work goes on from where it was saved.")
    if preview is not None and running:
        card.show(preview, f"Preview of the LoRA in training after {record.steps_done} steps, AI-generated")
    card.say(f"-# For <@{record.owner_id}> · {fmt.count(record.units, 'unit')}")
    if not record.cancel_requested:
        card.buttons(views.cancel_button(record.job_id))
    return card.sealed()


def _headline(record: JobRecord) -> list[str]:
    job = record.job
    if isinstance(job, TrainLora):
        return [f"### Training {fmt.safe(job.name)}", f"{job.lora_kind} · {fmt.count(len(job.items), 'picture')}"]
    return ["### Rendering a clip", f"> {fmt.safe(job.prompt, 200)}", stack_line(job)]


_ENDED = {
    JobStatus.SUCCEEDED: (DONE_COLOUR, "Done"),
    JobStatus.FAILED: (FAILED_COLOUR, "Failed"),
    JobStatus.CANCELLED: (WAITING_COLOUR, "Cancelled"),
}


def _ended(record: JobRecord) -> Card:
    accent, word = _ENDED[record.status]
    card = Card(accent)
    link = message_url(record)
    took = f" in {fmt.duration(record.finished_at - record.started_at)}" if record.started_at and record.finished_at else ""
    if record.status is JobStatus.SUCCEEDED:
        card.say(f"**{word}**{took}: {title(record)}" + (f" · [show it]({link})" if link else ""))
    else:
        card.say(
            f"**{word}:** {title(record)}", text.failure(record.failure) if record.failure and record.status is JobStatus.FAILED else ""
        )
    return card.say(f"-# For <@{record.owner_id}> · {charge(record)}").sealed()


def charge(record: JobRecord) -> str:
    """What the job costs, and what of its reservation came back."""
    charged = record.units if record.units_charged is None else record.units_charged
    back = record.units - charged
    return fmt.count(charged, "unit") + (f", {back:,} given back" if back > 0 else "")


def jobs(found: Sequence[JobView]) -> Card:
    """My jobs: open ones first, each with its cancel button."""
    card = Card(INFO_COLOUR).say("### Your jobs")
    if not found:
        return card.say("Nothing yet. `/generate` makes a clip, `/train` teaches a character, a style, a motion or an effect.").sealed()
    for view in found[:LISTED_JOBS]:
        record = view.record
        if record.status.terminal:
            card.say(_finished_line(record))
        elif record.cancel_requested:
            card.say(f"**{title(record)}**\nStopping after the current step…")
        else:
            state = _running_lines(view) if record.status is JobStatus.RUNNING else [_waiting_line(view)]
            card.beside("\n".join([title(record), *state]), views.cancel_button(record.job_id))
    return card.sealed()


def _finished_line(record: JobRecord) -> str:
    link = message_url(record)
    word = _ENDED[record.status][1]
    when = f" · {fmt.relative(record.finished_at)}" if record.finished_at is not None else ""
    gone = " · deleted" if record.deleted else f" · [show it]({link})" if link else ""
    why = f"\n-# {text.failure(record.failure)}" if record.failure is not None and record.status is JobStatus.FAILED else ""
    return f"{title(record)}\n-# {word}{when} · {charge(record)}{gone}{why}"
