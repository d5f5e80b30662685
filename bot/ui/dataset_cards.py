"""The card of an open data set: what is in it, what was left out and why, what training it would cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from discord import ui

from bot.services.datasets import DatasetReport, PlanWarning, TrainingPlan
from bot.storage.datasets import DatasetRecord
from bot.ui import format as fmt
from bot.ui import text, views
from bot.ui.cards import DRAFT_COLOUR, Card, notice
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind

LISTED_PROBLEMS = 6


def dataset(report: DatasetReport) -> Card:
    """What is in the open data set, what was refused and why, what training would cost."""
    plan, data = report.plan, report.dataset
    card = Card(DRAFT_COLOUR).say(f"### {fmt.safe(data.name)} · {data.kind}", _trigger_line(data.kind, data.trigger))
    enough = DATASET_GUIDANCE[data.kind].enough
    card.say(
        f"{fmt.bar(plan.items, max(plan.advised, 1))} **{fmt.count(plan.items, 'picture')}** · {plan.advised} advised, {enough} is plenty"
    )
    card.say(*_verdict_lines(report))
    card.line().say(*_plan_lines(plan, data.kind))
    actions: list[ui.Item[Any]] = []
    if plan.startable:
        actions.append(views.start_button(data.dataset_id, warned=bool(plan.warnings)))
    actions += [views.add_button(data.dataset_id), views.discard_button(data.dataset_id)]
    return card.buttons(*actions).sealed()


def dataset_dropped(data: DatasetRecord) -> Card:
    """The set was discarded."""
    return notice(f"Dropped the data set **{fmt.safe(data.name)}** and its {fmt.count(data.items, 'picture')}; nothing was charged.")


def _trigger_line(kind: LoraKind, trigger: str | None) -> str:
    if trigger is None:
        return "-# No trigger word: it acts whenever it is in the list."
    verb = {LoraKind.CHARACTER: "appears", LoraKind.STYLE: "is applied"}.get(kind, "happens")
    return f"-# It {verb} when the prompt has the word {fmt.code(trigger)}; a missing one is added for you."


def _verdict_lines(report: DatasetReport) -> list[str]:
    refused = [verdict for verdict in report.verdicts if verdict.problem is not None]
    lines = [f"- {fmt.safe(item.filename, 40)} {text.problem(item.problem.code)}" for item in refused[:LISTED_PROBLEMS] if item.problem]
    if refused:
        lines.insert(0, f"**{fmt.count(len(refused), 'file')} left out**")
    if len(refused) > LISTED_PROBLEMS:
        lines.append(f"- and {len(refused) - LISTED_PROBLEMS} more")
    weak = Counter(weakness for verdict in report.verdicts if verdict.problem is None for weakness in verdict.notes)
    if weak:
        lines.append("-# Used, but " + text.both([f"{number} {text.note(weakness)}" for weakness, number in weak.most_common()]))
    captioned = sum(1 for verdict in report.verdicts if verdict.problem is None and verdict.caption)
    if captioned:
        lines.append(f"-# {fmt.count(captioned, 'caption')} taken from your .txt files")
    return lines


def _plan_lines(plan: TrainingPlan, kind: LoraKind) -> list[str]:
    if plan.items < plan.minimum:
        missing = plan.minimum - plan.items
        return [
            f"⚠️ {text.KIND_ARTICLE[kind]} needs at least **{plan.minimum}** pictures: add {missing} more to start, "
            f"{plan.advised} for a good result."
        ]
    lines = []
    if PlanWarning.FEWER_THAN_ADVISED in plan.warnings:
        lines.append(
            f"⚠️ {text.KIND_ARTICLE[kind]} learns well from **{plan.advised}** pictures; with {plan.items} it may come out rough. "
            "Add more, or train anyway."
        )
    if PlanWarning.NOT_AFFORDABLE in plan.warnings:
        lines.append(
            f"⚠️ This training costs {fmt.count(plan.units, 'unit')} and you have {plan.units_left:,} left today; "
            "`/quota` says when they return."
        )
    lines.append(
        f"**{fmt.count(plan.units, 'unit')}** (you have {plan.units_left:,}) · about **{fmt.duration(plan.minutes_estimate * 60)}** · "
        f"{plan.steps:,} steps"
    )
    return lines
