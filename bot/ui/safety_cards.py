"""Cards about terms, reports, rules, likenesses."""

from __future__ import annotations

from collections.abc import Sequence

from bot.services.likenesses import Likeness
from bot.services.moderation import OpenReport
from bot.storage.audit import AuditEntry
from bot.storage.prompt_rules import PromptRule
from bot.ui import job_cards, views
from bot.ui.cards import INFO_COLOUR, REFUSAL_COLOUR, WAITING_COLOUR, Card
from bot.ui.text import safety as words

LISTED_RULES = 10


def terms() -> Card:
    """What people agree to, and the button; it stands where their command was refused."""
    card = Card(REFUSAL_COLOUR)
    for block in words.terms():
        card.say(block)
    return card.buttons(views.agree_button()).sealed()


def reports(found: Sequence[OpenReport]) -> Card:
    """Open reports with the two decisions."""
    card = Card(INFO_COLOUR).say(words.REPORTS_HEADING())
    if not found:
        return card.say(words.NO_REPORTS()).sealed()
    for each in found:
        report, record = each.report, each.record
        link = job_cards.message_url(record)
        card.line().say(*words.reported_job(job_cards.title(record), record.owner_id, report.reason, report.note, each.due_at, link))
        card.buttons(views.uphold_button(report.report_id), views.dismiss_button(report.report_id))
    return card.sealed()


def rules(found: Sequence[PromptRule]) -> Card:
    """Rules of a server, each with its button."""
    card = Card(INFO_COLOUR).say(words.RULES_HEADING())
    if not found:
        return card.say(words.NO_RULES()).sealed()
    for rule in found[:LISTED_RULES]:
        entry = words.rule_entry(rule.kind, rule.expression, rule.reason, rule.guild_id)
        card.beside(entry, views.remove_rule_button(rule.rule_id))
    if len(found) > LISTED_RULES:
        card.say(words.more_rules(len(found) - LISTED_RULES))
    return card.sealed()


def audit(found: Sequence[AuditEntry]) -> Card:
    """Latest decisions."""
    card = Card(INFO_COLOUR).say(words.AUDIT_HEADING())
    said = [words.audit_entry(entry.at, entry.actor_id, entry.action, entry.subject) for entry in found]
    return card.say(*(said or [words.NO_AUDIT()])).sealed()


def question(likeness: Likeness) -> Card:
    """May a LoRA show you?"""
    card = Card(WAITING_COLOUR).say(*words.likeness_question(likeness.person_id, likeness.owner_id, likeness.name))
    return card.buttons(*views.likeness_buttons(likeness.dataset_id)).sealed()


def likenesses(found: Sequence[Likeness]) -> Card:
    """LoRAs that show the reader, each with the button that withdraws or allows."""
    card = Card(INFO_COLOUR).say(words.LIKENESS_HEADING())
    if not found:
        return card.say(words.NO_LIKENESS()).sealed()
    for each in found:
        button = views.revoke_button(each.dataset_id) if each.state == "granted" else views.regrant_button(each.dataset_id)
        card.beside(words.likeness_entry(each.name, each.owner_id, each.state), button)
    return card.sealed()
