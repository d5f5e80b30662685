"""Sentences about terms, reports, rules, likenesses."""

from __future__ import annotations

from bot.storage.prompt_rules import EVERYWHERE, RuleKind
from bot.storage.reports import ReportReason
from bot.ui import format as fmt
from bot.ui.language import Words, _, counted, later
from bot.ui.text.forms import REPORT_REASONS
from bot.ui.text.lines import show_it


def terms() -> list[str]:
    """What people agree to, in blocks."""
    return [
        _("### Before your first clip or training"),
        _("**Pictures you send are yours**, or you have the right to use them. They train your LoRA and nothing else."),
        _(
            "**Real people** are yourself, or somebody who agrees: name them with `person:` in `/train`, and they are asked. They can take "
            "it back at any time, and then the LoRA loads nowhere."
        ),
        _("**Nothing** sexual with anybody who is or looks under age, nothing that deceives, harasses or humiliates people."),
        _("**Every clip says that it is AI-generated**; leave that label where it is."),
        _("What I keep of you is in `/privacy about`; `/privacy delete` forgets it."),
    ]


AGREED = later("Thank you. Now run your command again, and off you go.")
REPORTED = later(
    "Thank you, it will be looked at within 48 hours. The people who decide see what you wrote; the maker does not learn who reported."
)
NO_REPORTS = later("No open reports. People report a result with its **Report** button or with `/report`.")
REPORTS_HEADING = later("### Reports to decide")
DISMISSED = later("Closed: it stays where it is.")
RULES_HEADING = later("### What prompts may not say here")
NO_RULES = later(
    "No rules yet, so every prompt is fine. Forbid a word with `/rules add text: gore`, or a pattern with `/rules "
    "add text: gr[ae]y kind: pattern`."
)
AUDIT_HEADING = later("### Decisions")
NO_AUDIT = later("Nothing was decided yet about rules, reports or likenesses.")
LIKENESS_HEADING = later("### LoRAs that show you")
NO_LIKENESS = later(
    "Nobody has asked to train a LoRA of you. When somebody does, you are asked first, and you can take it back here at any time."
)
GRANTED = later("You agreed. You can take it back at any time with `/privacy likeness`.")
REFUSED = later("You did not agree, so it is not trained.")


def reported_job(title: str, owner_id: int, reason: ReportReason, note: str, due_at: float, link: str | None) -> list[str]:
    """One open report; `title` is safe text."""
    where = " · " + show_it(link) if link is not None else ""
    said = [
        _("**It {reason}**", reason=REPORT_REASONS[reason]),
        _("{title}, made by <@{owner_id}>", title=title, owner_id=owner_id) + where,
    ]
    return [*said, *([f"> {fmt.safe(note, 280)}"] if note else []), _("-# To be decided {due_at}", due_at=fmt.relative(due_at))]


def taken_down(copies: int) -> str:
    """A result is gone for good."""
    if not copies:
        return _("Taken down. The same file cannot be posted, uploaded or opened here again.")
    return counted(
        "Taken down and {number} identical copy. The same file cannot be posted, uploaded or opened here again.",
        "Taken down and {number} identical copies. The same file cannot be posted, uploaded or opened here again.",
        copies,
    )


def rule_added(kind: RuleKind, expression: str, reason: str, *, everywhere: bool) -> str:
    """A rule holds from now on."""
    told = _(" People are told: {reason}", reason=fmt.safe(reason, 200)) if reason else ""
    return _ADDED[kind, everywhere].format(expression=fmt.code(expression, 200)) + told


_ADDED = Words(
    {
        (RuleKind.WORD, False): "Prompts here may no longer say {expression}.",
        (RuleKind.WORD, True): "Prompts in every server may no longer say {expression}.",
        (RuleKind.PATTERN, False): "Prompts here may no longer match {expression}.",
        (RuleKind.PATTERN, True): "Prompts in every server may no longer match {expression}.",
    }
)
_KINDS = Words({RuleKind.WORD: "word", RuleKind.PATTERN: "pattern"})


def rule_entry(kind: RuleKind, expression: str, reason: str, guild_id: int) -> str:
    """One rule of a list."""
    everywhere = " · " + _("in every server") if guild_id == EVERYWHERE else ""
    because = f"\n-# {fmt.safe(reason, 120)}" if reason else ""
    return f"{fmt.code(expression, 80)} · {_KINDS[kind]}{everywhere}{because}"


def more_rules(number: int) -> str:
    """Rules that are not listed."""
    return counted("-# and {number} more rule", "-# and {number} more rules", number)


def rule_removed(expression: str) -> str:
    """A rule holds no longer."""
    return _("{expression} is allowed again.", expression=fmt.code(expression, 200))


def audit_entry(at: float, actor_id: int, action: str, subject: str) -> str:
    """One decision."""
    who = f"<@{actor_id}>" if actor_id > 0 else _("somebody who left")
    said = _ACTIONS.get(action, "{who} {action} {subject}").format(who=who, action=action, subject=fmt.safe(subject, 90))
    return f"{fmt.moment(at)} {said}"


_ACTIONS = Words(
    {
        "rule_added": "{who} forbade {subject}",
        "rule_removed": "{who} allowed again {subject}",
        "report_dismissed": "{who} closed a report on {subject}",
        "taken_down": "{who} took down {subject}",
        "likeness_granted": "{who} agreed to the likeness in {subject}",
        "likeness_revoked": "{who} withdrew their likeness from {subject}",
    }
)


def likeness_question(person_id: int, owner_id: int, name: str) -> list[str]:
    """Asked in public, of one person."""
    return [
        _("### <@{person_id}>, may a LoRA show you?", person_id=person_id),
        _(
            "<@{owner_id}> wants to train **{name}** on pictures of you. Clips made with it can look like you.",
            owner_id=owner_id,
            name=fmt.safe(name),
        ),
        _("-# Nothing is trained unless you agree. You can take it back at any time with `/privacy likeness`; then it loads nowhere."),
    ]


def likeness_asked(person_id: int) -> str:
    """Answer to somebody whose training has to wait."""
    return _("I asked <@{person_id}> in this channel. When they have agreed, press **Start** again.", person_id=person_id)


def likeness_entry(name: str, owner_id: int, state: str) -> str:
    """One LoRA that shows the reader."""
    by = _("**{name}** by <@{owner_id}>", name=fmt.safe(name), owner_id=owner_id)
    return f"{by}\n-# {_STATES.get(state, state)}"


_STATES = Words(
    {
        "stated": "not asked yet",
        "asked": "waits for your answer",
        "granted": "you agreed",
        "revoked": "you withdrew: it loads nowhere",
    }
)


def likeness_revoked(name: str, stopped: int) -> str:
    """Somebody's likeness is out of use."""
    jobs = " " + counted("{number} job that used it stopped.", "{number} jobs that used it stopped.", stopped) if stopped else ""
    return _("**{name}** loads nowhere any more.", name=fmt.safe(name)) + jobs


def person_line(person_id: int | None, owner_id: int) -> str:
    """Whom a data set shows, as its owner states."""
    if person_id is None:
        return _("-# Shows nobody real. If it does, start again with `person:`.")
    return (
        _("-# Shows yourself.")
        if person_id == owner_id
        else _("-# Shows <@{person_id}>, who is asked before it starts.", person_id=person_id)
    )
