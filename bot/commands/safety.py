"""`/report`, `/reports` and `/rules`, and the buttons of terms, reports and likenesses."""

from __future__ import annotations

import logging
import re
from typing import Any

import discord
from discord import app_commands

from bot.commands.desk import Desk, Interaction, answer
from bot.commands.groups import managers_group
from bot.errors import Refusal, RefusalCode
from bot.services.moderation import TakenDown
from bot.storage.prompt_rules import RuleKind
from bot.storage.reports import ReportReason
from bot.ui import cards, safety_cards
from bot.ui.modals import ReportForm, form_values
from bot.ui.text import forms
from bot.ui.text import safety as words

_log = logging.getLogger(__name__)

REASONS = [app_commands.Choice(name=f"it {forms.REPORT_REASONS[reason]}", value=reason.value) for reason in ReportReason]
KINDS = [
    app_commands.Choice(name="word: whole words, whatever their case", value=RuleKind.WORD.value),
    app_commands.Choice(name="pattern: a regular expression (RE2)", value=RuleKind.PATTERN.value),
]
_LINK = re.compile(r"(?:.*/)?(?P<message>[0-9]{15,20})")


def build_report(desk: Desk) -> app_commands.Command[Any, ..., Any]:
    """`/report`, bound to `desk`."""

    @app_commands.command(name="report", description="Say that something is wrong with a clip or a LoRA")
    @app_commands.describe(message="Link to the message that shows it", reason="What is wrong", note="Anything that helps to judge")
    @app_commands.choices(reason=REASONS)
    @app_commands.allowed_installs(guilds=True, users=False)
    async def report(
        interaction: discord.Interaction, message: str, reason: str, note: app_commands.Range[str, 1, 500] | None = None
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = _LINK.fullmatch(message.strip())
        job_id = await desk.services.moderation.job_of_message(int(found["message"])) if found is not None else None
        if job_id is None:
            raise Refusal(RefusalCode.JOB_UNKNOWN)
        await desk.services.moderation.report(job_id, desk.actor(interaction), ReportReason(reason), note or "")
        await answer(interaction, cards.notice(words.REPORTED()))

    return report


def build_reports(desk: Desk) -> app_commands.Group:
    """`/reports`, bound to `desk`."""
    group = managers_group("reports", "What people reported in this server, and what was decided")

    @group.command(name="open", description="Reports that wait for a decision, longest waiting first")
    async def waiting(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, safety_cards.reports(await desk.services.moderation.queue(desk.actor(interaction))))

    @group.command(name="log", description="Who decided what about rules, reports and likenesses")
    async def log(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, safety_cards.audit(await desk.services.audit.latest(desk.actor(interaction))))

    return group


def build_rules(desk: Desk) -> app_commands.Group:
    """`/rules`, bound to `desk`."""
    group = managers_group("rules", "What prompts may not say in this server")

    @group.command(name="add", description="Forbid a word or a pattern in prompts")
    @app_commands.describe(
        text="The word, phrase or pattern",
        kind="How it is compared; a word if left out",
        reason="What people are told",
        everywhere="Operator: in every server",
    )
    @app_commands.choices(kind=KINDS)
    async def add(
        interaction: discord.Interaction, text: str, kind: str = RuleKind.WORD.value, reason: str = "", everywhere: bool = False
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        rule = await desk.services.rules.add(desk.actor(interaction), RuleKind(kind), text, reason, everywhere=everywhere)
        await answer(interaction, cards.notice(words.rule_added(rule.kind, rule.expression, rule.reason, everywhere=everywhere)))

    @group.command(name="list", description="The rules that hold here, each with a button to remove it")
    async def listed(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await answer(interaction, safety_cards.rules(await desk.services.rules.listed(desk.actor(interaction))))

    return group


async def agree(desk: Desk, interaction: Interaction, _subject: str) -> None:
    """Button "I agree" under the terms."""
    await desk.services.terms.accept(desk.actor(interaction))
    await answer(interaction, cards.notice(words.AGREED()))


async def open_report(_desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Button "Report": the form must be the first answer."""
    await interaction.response.send_modal(ReportForm(job_id))


async def report(desk: Desk, interaction: Interaction, job_id: str) -> None:
    """Submit of that form."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    values = form_values(dict(interaction.data or {}))
    reason = ReportReason(values.get("reason") or ReportReason.OTHER)
    await desk.services.moderation.report(job_id, desk.actor(interaction), reason, values.get("note", ""))
    await answer(interaction, cards.notice(words.REPORTED()))


async def uphold(desk: Desk, interaction: Interaction, report_id: str) -> None:
    """Button "Take it down"."""
    done = await desk.services.moderation.uphold(report_id, desk.actor(interaction))
    await delete_messages(interaction, done)
    await answer(interaction, cards.notice(words.taken_down(done.copies)))


async def dismiss(desk: Desk, interaction: Interaction, report_id: str) -> None:
    """Button "Nothing is wrong"."""
    await desk.services.moderation.dismiss(report_id, desk.actor(interaction))
    await answer(interaction, cards.notice(words.DISMISSED()))


async def remove_rule(desk: Desk, interaction: Interaction, rule_id: str) -> None:
    """Button "Remove" beside a rule."""
    rule = await desk.services.rules.remove(rule_id, desk.actor(interaction))
    await answer(interaction, cards.notice(words.rule_removed(rule.expression)))


async def grant(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Buttons "I agree" and "Allow" of a likeness."""
    await desk.services.likenesses.grant(dataset_id, desk.actor(interaction))
    await answer(interaction, cards.notice(words.GRANTED()))


async def refuse(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Button "No" of a likeness."""
    await _withdraw(desk, interaction, dataset_id)
    await answer(interaction, cards.notice(words.REFUSED()))


async def revoke(desk: Desk, interaction: Interaction, dataset_id: str) -> None:
    """Button "Withdraw" of a likeness."""
    name, stopped = await _withdraw(desk, interaction, dataset_id)
    await answer(interaction, cards.notice(words.likeness_revoked(name, stopped)))


async def _withdraw(desk: Desk, interaction: Interaction, dataset_id: str) -> tuple[str, int]:
    done = await desk.services.likenesses.revoke(dataset_id, desk.actor(interaction))
    stopped = await desk.services.jobs.stop_all(done.job_ids)
    desk.bell.set()
    return done.likeness.name, stopped


async def delete_messages(interaction: Interaction, done: TakenDown) -> None:
    """The messages that showed what was taken down, as far as they are still there."""
    for channel_id, message_id in done.messages:
        try:
            await interaction.client.get_partial_messageable(channel_id).get_partial_message(message_id).delete()
        except discord.HTTPException as error:
            _log.info("message not deleted: %s", error, extra={"job_id": done.record.job_id})
