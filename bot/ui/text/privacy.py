"""Sentences of `/privacy`."""

from __future__ import annotations

from bot.ui import format as fmt
from bot.ui.language import _
from bot.ui.text import counts


def confirm() -> list[str]:
    """Asked before somebody is forgotten."""
    return [
        _("### Forget you?"),
        _(
            "Your LoRAs, clips, uploads, prompts, casts and settings go, their messages in channels too, and everything of yours that "
            "waits or runs is stopped. Others can no longer use your LoRAs. **It cannot be undone.**"
        ),
        _("-# Spent units stay in the books without your name. Take a copy first with `/privacy export`."),
    ]


def about(retention_s: float, draft_s: float) -> list[str]:
    """What is kept, how long, who sees it."""
    return [
        _("### What I keep of you"),
        _("**Your Discord id and display name**, to know what is yours."),
        _("**Prompts, settings and results** of your jobs, so that Again, Vary and `/jobs` work; the channel sees what you post there."),
        _(
            "**Uploads**: pictures and clips you send with a command. A data set you do not start goes after {drafts}, those "
            "of a training {uploads} after it ended. They train your LoRA and nothing else.",
            drafts=_long(draft_s),
            uploads=_long(retention_s),
        ),
        _("**LoRAs** until you delete them. **Edit** on a LoRA's card says who can use it."),
        _("I never read messages. `/privacy export` hands you all of it, `/privacy delete` forgets all of it."),
    ]


def export_ready(size: int, expires_at: float) -> list[str]:
    """Beside the link to the zip."""
    return [
        _("Everything I keep of you: one zip, {size}.", size=fmt.megabytes(size)),
        _("The link expires {expires_at}; whoever has it can use it, so keep it to yourself.", expires_at=fmt.relative(expires_at)),
    ]


def forgetting(open_jobs: int) -> str:
    """Answer to "Forget me"."""
    if open_jobs:
        return _("I am stopping {jobs}, then I forget you; it takes a few minutes at most.", jobs=counts.jobs(open_jobs))
    return _("I am forgetting you now; in a moment nothing of you is left here. Come back whenever you like.")


def _long(seconds: float) -> str:
    days = seconds / 86400
    return counts.days(round(days)) if days >= 2 else fmt.duration(seconds)
