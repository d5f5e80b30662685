"""The card of an open data set: what is in it, what was left out and why, what training it would cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from discord import ui

from bot.services.datasets import DatasetReport, PlanWarning, TrainingPlan
from bot.services.quotas import exceeded
from bot.storage.datasets import DatasetRecord
from bot.ui import views
from bot.ui.cards import DRAFT_COLOUR, Card, notice
from bot.ui.text import lines
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind

LISTED_PROBLEMS = 6


def dataset(report: DatasetReport, *, note: str = "") -> Card:
    """What is in the open data set, what was refused and why, what training would cost."""
    plan, data = report.plan, report.dataset
    card = Card(DRAFT_COLOUR).say(lines.dataset_heading(data.name, data.kind), lines.trigger_hint(data.kind, data.trigger), note)
    card.say(lines.fill_level(plan.items, plan.advised, DATASET_GUIDANCE[data.kind].enough))
    card.say(*_verdict_lines(report))
    card.line().say(*_plan_lines(plan, data.kind))
    actions: list[ui.Item[Any]] = []
    if plan.startable:
        actions.append(views.start_button(data.dataset_id, warned=bool(plan.warnings)))
    actions += [views.add_button(data.dataset_id), views.discard_button(data.dataset_id)]
    return card.buttons(*actions).sealed()


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
    weak = Counter(weakness for verdict in used for weakness in verdict.notes)
    if weak:
        said.append(lines.weaknesses(weak.most_common()))
    captioned = sum(1 for verdict in used if verdict.caption)
    if captioned:
        said.append(lines.captions_taken(captioned))
    return said


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
