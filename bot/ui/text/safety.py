"""Sentences about terms, reports, rules, likenesses."""

from __future__ import annotations

from bot.storage.prompt_rules import EVERYWHERE, RuleKind
from bot.storage.reports import ReportReason
from bot.ui import format as fmt
from bot.ui.text.forms import REPORT_REASONS

TERMS = (
    "### Before your first clip or training",
    "**Pictures you send are yours**, or you have the right to use them. They train your LoRA and nothing else.",
    "**Real people** are yourself, or somebody who agrees: name them with `person:` in `/train`, and they are asked. They can take it back "
    "at any time, and then the LoRA loads nowhere.",
    "**Nothing** sexual with anybody who is or looks under age, nothing that deceives, harasses or humiliates people.",
    "**Every clip says that it is AI-generated**; leave that label where it is.",
    "What I keep of you is in `/privacy about`; `/privacy delete` forgets it.",
)
AGREED = "Thank you. Now run your command again, and off you go."
REPORTED = (
    "Thank you, it will be looked at within 48 hours. The people who decide see what you wrote; the maker does not learn who reported."
)
NO_REPORTS = "No open reports. People report a result with its **Report** button or with `/report`."
REPORTS_HEADING = "### Reports to decide"
DISMISSED = "Closed: it stays where it is."
RULES_HEADING = "### What prompts may not say here"
NO_RULES = (
    "No rules yet, so every prompt is fine. Forbid a word with `/rules add text: gore`, or a pattern with "
    "`/rules add text: gr[ae]y kind: pattern`."
)
AUDIT_HEADING = "### Decisions"
NO_AUDIT = "Nothing was decided yet about rules, reports or likenesses."
LIKENESS_HEADING = "### LoRAs that show you"
NO_LIKENESS = "Nobody has asked to train a LoRA of you. When somebody does, you are asked first, and you can take it back here at any time."
GRANTED = "You agreed. You can take it back at any time with `/privacy likeness`."
REFUSED = "You did not agree, so it is not trained."

_ACTIONS = {
    "rule_added": "forbade",
    "rule_removed": "allowed again",
    "report_dismissed": "closed a report on",
    "taken_down": "took down",
    "likeness_granted": "agreed to the likeness in",
    "likeness_revoked": "withdrew their likeness from",
}


def reported_job(title: str, owner_id: int, reason: ReportReason, note: str, due_at: float, link: str | None) -> list[str]:
    """One open report; `title` is safe text."""
    where = f" · [show it]({link})" if link is not None else ""
    said = [f"**It {REPORT_REASONS[reason]}**", f"{title}, made by <@{owner_id}>{where}"]
    return [*said, *([f"> {fmt.safe(note, 300)}"] if note else []), f"-# To be decided {fmt.relative(due_at)}"]


def taken_down(copies: int) -> str:
    """A result is gone for good."""
    more = f" and {fmt.count(copies, 'identical copy', 'identical copies')}" if copies else ""
    return f"Taken down{more}. The same file cannot be posted, uploaded or opened here again."


def rule_added(kind: RuleKind, expression: str, reason: str, *, everywhere: bool) -> str:
    """A rule holds from now on."""
    where = "in every server" if everywhere else "here"
    told = f" People are told: {fmt.safe(reason, 200)}" if reason else ""
    return f"Prompts {where} may no longer {_says(kind)} {fmt.code(expression, 200)}.{told}"


def rule_entry(kind: RuleKind, expression: str, reason: str, guild_id: int) -> str:
    """One rule of a list."""
    everywhere = " · in every server" if guild_id == EVERYWHERE else ""
    because = f"\n-# {fmt.safe(reason, 120)}" if reason else ""
    return f"{fmt.code(expression, 80)} · {kind}{everywhere}{because}"


def more_rules(number: int) -> str:
    """Rules that are not listed."""
    return f"-# and {fmt.count(number, 'more rule')}"


def rule_removed(expression: str) -> str:
    """A rule holds no longer."""
    return f"{fmt.code(expression, 200)} is allowed again."


def audit_entry(at: float, actor_id: int, action: str, subject: str) -> str:
    """One decision."""
    who = f"<@{actor_id}>" if actor_id > 0 else "somebody who left"
    return f"<t:{int(at)}:f> {who} {_ACTIONS.get(action, action)} {fmt.safe(subject, 90)}"


def likeness_question(person_id: int, owner_id: int, name: str) -> list[str]:
    """Asked in public, of one person."""
    return [
        f"### <@{person_id}>, may a LoRA show you?",
        f"<@{owner_id}> wants to train **{fmt.safe(name)}** on pictures of you. Clips made with it can look like you.",
        "-# Nothing is trained unless you agree. You can take it back at any time with `/privacy likeness`; then it loads nowhere.",
    ]


def likeness_asked(person_id: int) -> str:
    """Answer to somebody whose training has to wait."""
    return f"I asked <@{person_id}> in this channel. When they have agreed, press **Start** again."


def likeness_entry(name: str, owner_id: int, state: str) -> str:
    """One LoRA that shows the reader."""
    words = {"granted": "you agreed", "revoked": "you withdrew: it loads nowhere", "asked": "waits for your answer"}
    return f"**{fmt.safe(name)}** by <@{owner_id}>\n-# {words.get(state, state)}"


def likeness_revoked(name: str, stopped: int) -> str:
    """Somebody's likeness is out of use."""
    jobs = f" {fmt.count(stopped, 'job')} that used it stopped." if stopped else ""
    return f"**{fmt.safe(name)}** loads nowhere any more.{jobs}"


def person_line(person_id: int | None, owner_id: int) -> str:
    """Whom a data set shows, as its owner states."""
    if person_id is None:
        return "-# Shows nobody real. If it does, start again with `person:`."
    return "-# Shows yourself." if person_id == owner_id else f"-# Shows <@{person_id}>, who is asked before it starts."


def _says(kind: RuleKind) -> str:
    return "say" if kind is RuleKind.WORD else "match"
