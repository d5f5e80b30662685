"""Sentences of `/privacy`."""

from __future__ import annotations

from bot.ui import format as fmt

CONFIRM = (
    "### Forget you?",
    "Your LoRAs, clips, uploads, prompts, casts and settings go, their messages in channels too, and everything of yours that waits or "
    "runs is stopped. Others can no longer use your LoRAs. **It cannot be undone.**",
    "-# Spent units stay in the books without your name. Take a copy first with `/privacy export`.",
)


def about(retention_s: float, draft_s: float) -> list[str]:
    """What is kept, how long, who sees it."""
    return [
        "### What I keep of you",
        "**Your Discord id and display name**, to know what is yours.",
        "**Prompts, settings and results** of your jobs, so that Again, Vary and `/jobs` work; the channel sees what you post there.",
        f"**Uploads**: pictures and clips you send with a command. A data set you do not start goes after {_long(draft_s)}, those of a "
        f"training {_long(retention_s)} after it ended. They train your LoRA and nothing else.",
        "**LoRAs** until you delete them. **Edit** on a LoRA's card says who can use it.",
        "I never read messages. `/privacy export` hands you all of it, `/privacy delete` forgets all of it.",
    ]


def export_ready(size: int, expires_at: float) -> list[str]:
    """Beside the link to the zip."""
    return [
        f"Everything I keep of you: one zip, {fmt.megabytes(size)}.",
        f"The link expires {fmt.relative(expires_at)}; whoever has it can use it, so keep it to yourself.",
    ]


def forgetting(open_jobs: int) -> str:
    """Answer to "Forget me"."""
    if open_jobs:
        return f"I am stopping {fmt.count(open_jobs, 'job')}, then I forget you; it takes a few minutes at most."
    return "I am forgetting you now; in a moment nothing of you is left here. Come back whenever you like."


def _long(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:.0f} days" if days >= 2 else fmt.duration(seconds)
