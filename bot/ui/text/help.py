"""`/help`: what can be done, each with a line to copy."""

from __future__ import annotations

from bot.ui import format as fmt

HEADING = "### What you can do here"
FOOT = "-# Everything I make is AI-generated and says so. What I keep of you: `/privacy about`."


def sections(name: str | None) -> list[str]:
    """One block per thing to do; `name` is a LoRA the reader can use, for examples that work as they stand."""
    hero = name or "hero"
    return [
        "**Make a clip** from a sentence\n" + _line("/generate prompt: a boat on a lake at dawn"),
        f"**Put a character in it**{'' if name else ' once one is trained'}\n"
        + _line(f"/generate prompt: {hero} walking on a beach loras: {hero}:0.9"),
        "**Teach your own** from 20 pictures, attached or in one zip\n" + _line("/train name: hero kind: character zip: pictures.zip"),
        "**Stack several**, and keep the stack under a name\n"
        + _line(f"/cast save name: pilot loras: {hero}:0.9, watercolour:0.6")
        + "\n"
        + _line("/generate prompt: a storm at sea loras: @pilot"),
        "**Tell a story** in several scenes\n" + _line("/storyboard"),
        "**Look around** the library, and see one closely\n" + _line("/loras browse") + " " + _line(f"/loras show name: {hero}"),
        "**Follow your work**, and what you have left\n" + _line("/jobs") + " " + _line("/quota"),
        "**Something is wrong** with a clip\n" + "The **Report** button under it, or " + _line("/report"),
    ]


ADMIN = (
    "**You manage this server**: `/settings show` for channels, roles, limits and content, `/rules list` for what prompts may not say, "
    "`/reports open` for what people reported, `/admin usage` for what it all costs."
)


def _line(command: str) -> str:
    return fmt.code(command, 150)
