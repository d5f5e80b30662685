"""`/help`: what can be done, each with a line to copy."""

from __future__ import annotations

from bot.ui import format as fmt
from bot.ui.language import _, later

_NAME_EXAMPLE = "hero"
HEADING = later("### What you can do here")
FOOT = later("-# Everything I make is AI-generated and says so. What I keep of you: `/privacy about`.")


def sections(name: str | None) -> list[str]:
    """One block per thing to do; `name` is a LoRA the reader can use, for examples that work as they stand."""
    hero = name or _NAME_EXAMPLE
    return [
        _("**Make a clip** from a sentence") + "\n" + _line("/generate prompt: a boat on a lake at dawn"),
        (_("**Put a character in it**") if name else _("**Put a character in it** once one is trained"))
        + "\n"
        + _line(f"/generate prompt: {hero} walking on a beach loras: {hero}:0.9"),
        _("**Teach your own** from 20 pictures, attached or in one zip")
        + "\n"
        + _line("/train name: hero kind: character zip: pictures.zip"),
        _("**Stack several**, and keep the stack under a name")
        + "\n"
        + _line(f"/cast save name: pilot loras: {hero}:0.9, watercolour:0.6")
        + "\n"
        + _line("/generate prompt: a storm at sea loras: @pilot"),
        _("**Tell a story** in several scenes") + "\n" + _line("/storyboard"),
        _("**Look around** the library, and see one closely") + "\n" + _line("/loras browse") + " " + _line(f"/loras show name: {hero}"),
        _("**Follow your work**, and what you have left") + "\n" + _line("/jobs") + " " + _line("/quota"),
        _("**Something is wrong** with a clip\nThe **Report** button under it, or {report}", report=_line("/report")),
    ]


ADMIN = later(
    "**You manage this server**: `/settings show` for channels, roles, limits and content, `/rules list` for what "
    "prompts may not say, `/reports open` for what people reported, `/admin usage` for what it all costs."
)


def _line(command: str) -> str:
    return fmt.code(command, 150)
