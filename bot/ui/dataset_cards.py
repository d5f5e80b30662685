"""The card of an open data set: what is in it, what was left out and why, what training it would cost."""

from __future__ import annotations

from typing import Any

from discord import ui

from bot.services.datasets import DatasetReport, PlanWarning, TrainingPlan
from bot.services.quotas import exceeded
from bot.storage.datasets import DatasetRecord, ItemRecord
from bot.ui import views
from bot.ui.cards import DRAFT_COLOUR, Card, notice
from bot.ui.text import findings, lines, safety
from bot.ui.text.problems import note as weakness
from bot.ui.text.problems import problem
from bot.ui.text.words import both
from engine.contracts.assessment import SetNote
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind
from engine.contracts.sheet import Sheet, Tile, TileState

LISTED_PROBLEMS = 6
CAPTIONS_PER_PAGE = 5
"""As many as a form has fields."""


def dataset(report: DatasetReport, *, note: str = "", picture: str | None = None) -> Card:
    """What is in the open data set, what was refused and why, what it can teach, what training would cost.

    `picture` is the file name of the attached sheet with the verdicts.
    """
    plan, data = report.plan, report.dataset
    card = Card(DRAFT_COLOUR).say(lines.dataset_heading(data.name, data.kind), lines.trigger_hint(data.kind, data.trigger))
    card.say(safety.person_line(data.person_id, data.owner_id), note)
    card.say(lines.fill_level(plan.items, plan.advised, DATASET_GUIDANCE[data.kind].enough))
    if picture is not None:
        card.show(picture, findings.sheet_alt(data.name, plan.items))
    card.say(*_verdict_lines(report), *_finding_lines(report))
    card.line().say(*_plan_lines(plan, data.kind))
    actions: list[ui.Item[Any]] = []
    if report.startable:
        actions.append(views.start_button(data.dataset_id, warned=bool(plan.warnings)))
    actions.append(views.add_button(data.dataset_id))
    if report.items:
        actions.append(views.captions_button(data.dataset_id))
    actions.append(views.discard_button(data.dataset_id))
    return card.buttons(*actions).sealed()


def sheet(report: DatasetReport) -> tuple[Sheet, list[bytes | None]]:
    """The picture of the set: every item with its verdict, what was not used first; and the small pictures that belong on it."""
    data, tiles, thumbs = report.dataset, list[Tile](), list[bytes | None]()
    for verdict in report.verdicts:
        if verdict.problem is not None:
            tiles.append(Tile(label=verdict.filename, state=TileState.REFUSED, words=problem(verdict.problem.code)))
            thumbs.append(None)
    for item in report.items:
        notes = item.judged.notes
        state = TileState.NOTED if notes else TileState.GOOD
        tiles.append(Tile(label=item.filename, state=state, words=both([weakness(each) for each in notes]) if notes else ""))
        thumbs.append(item.thumb)
    said = _said(report)
    heading = findings.items_heading(data.name, data.kind, len(report.items))
    return Sheet(heading=heading, lines=tuple(said), tiles=tuple(tiles), more=findings.MORE_ITEMS()), thumbs


def captions(report: DatasetReport, page: int) -> Card:
    """One page of the captions, with buttons to turn, edit and go back."""
    data, pages = report.dataset, caption_pages(report)
    shown = page_items(report, page)
    card = Card(DRAFT_COLOUR).say(findings.captions_heading(data.name, page, pages), findings.captions_hint(data.trigger))
    for item in shown:
        card.say(findings.caption_line(item.filename, item.caption, item.suggested))
    actions: list[ui.Item[Any]] = []
    if page > 0:
        actions.append(views.captions_page_button(data.dataset_id, page - 1, "◀"))
    actions.append(views.edit_captions_button(data.dataset_id, page))
    if page + 1 < pages:
        actions.append(views.captions_page_button(data.dataset_id, page + 1, "▶"))
    actions.append(views.back_button(data.dataset_id))
    return card.line().buttons(*actions).sealed()


def caption_pages(report: DatasetReport) -> int:
    """Pages of captions, at least one."""
    return max(1, -(-len(report.items) // CAPTIONS_PER_PAGE))


def page_items(report: DatasetReport, page: int) -> tuple[ItemRecord, ...]:
    """Items of one page."""
    return report.items[page * CAPTIONS_PER_PAGE : (page + 1) * CAPTIONS_PER_PAGE]


def dataset_dropped(data: DatasetRecord) -> Card:
    """The set was discarded."""
    return notice(lines.dataset_dropped(data.name, data.items))


def _verdict_lines(report: DatasetReport) -> list[str]:
    refused = [verdict for verdict in report.verdicts if verdict.problem is not None]
    said = [lines.left_out(len(refused))] if refused else []
    said += [lines.refused_file(item.filename, item.problem.code) for item in refused[:LISTED_PROBLEMS] if item.problem]
    if len(refused) > LISTED_PROBLEMS:
        said.append(lines.and_more(len(refused) - LISTED_PROBLEMS))
    used = [verdict for verdict in report.verdicts if verdict.problem is None]
    captioned = sum(1 for verdict in used if verdict.caption)
    if captioned:
        said.append(lines.captions_taken(captioned))
    return said


def _finding_lines(report: DatasetReport) -> list[str]:
    """What the set teaches, what is weak about it, and which of its captions a person has not written."""
    said = [f"-# {line}" for line in _said(report)]
    missing = sum(1 for item in report.items if item.words is None)
    suggested = sum(1 for item in report.items if item.suggested and not item.caption)
    if report.dataset.captions_due and missing:
        said.append(findings.captions_due(missing))
    elif suggested:
        said.append(findings.captions_suggested(suggested))
    return said


def _said(report: DatasetReport) -> list[str]:
    assessment = report.assessment
    if assessment is None or not assessment.items:
        return []
    told_below = {SetNote.FEW, SetNote.TOO_FEW}  # with the price
    return [
        findings.lesson(assessment),
        *(findings.finding(found, assessment) for found in assessment.findings if found.note not in told_below),
    ]


def _plan_lines(plan: TrainingPlan, kind: LoraKind) -> list[str]:
    if plan.items < plan.minimum:
        return [lines.below_minimum(kind, plan.minimum, plan.minimum - plan.items, plan.advised)]
    said = []
    if PlanWarning.FEWER_THAN_ADVISED in plan.warnings:
        said.append(lines.below_advised(kind, plan.advised, plan.items))
    if PlanWarning.NOT_AFFORDABLE in plan.warnings:
        said.append(lines.not_affordable(exceeded(plan.units, plan.quota)))
    said.append(lines.training_price(plan.units, plan.quota.left, plan.minutes_estimate * 60, plan.steps))
    return said
