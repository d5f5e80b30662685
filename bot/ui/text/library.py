"""Lines of the library: browsing, one LoRA in detail, versions, saved stacks."""

from __future__ import annotations

from collections.abc import Sequence

from bot.storage.loras import Visibility, Withheld
from bot.ui import format as fmt
from bot.ui.text.words import both
from engine.contracts.lora import LoraKind

EMPTY_LIBRARY = (
    "Nothing here yet. Make the first: `/train name: hero kind: character` with 20 pictures of your character, attached or in one zip."
)
NOTHING_FOUND = "Nothing fits this search; leave out a filter, or look for a shorter part of the name."
EMPTY_MINE = "You have made none yet: `/train` teaches your first from 20 pictures, `/loras import` takes one you have as a file."
EMPTY_PUBLIC = "Nobody has made one public yet; you can be the first, with **Edit** on the card of one of yours."
STACK_HINT = "-# Stack up to four: `/generate loras: hero:0.9, watercolour:0.6`"
NO_VERSIONS = "Its first version is still being trained; `/jobs` shows how far it is."
VERSION_IN_USE = "in use"

_SEEN_BY = {Visibility.PRIVATE: "🔒 only you", Visibility.SERVER: "👥 this server", Visibility.PUBLIC: "🌍 everybody"}
_WITHHELD = {
    Withheld.LIKENESS: "⛔ Nobody can use it: the person it shows has not agreed, or does no longer.",
    Withheld.TAKEDOWN: "⛔ Nobody can use it: it was taken down after a report.",
}
_SCENES = {
    LoraKind.CHARACTER: ("{word} walking on a beach", "{word} dancing at night in a city"),
    LoraKind.STYLE: ("a boat on a lake", "a street market in the rain"),
    LoraKind.MOTION: ("a cat, {word}", "a dancer on a stage, {word}"),
    LoraKind.EFFECT: ("a castle on a hill, {word}", "a boat on a lake, {word}"),
}


def browse_heading(total: int, number: int, pages: int, *, whole: bool) -> str:
    """Head of a page; unless `whole`, there are more LoRAs than `total`."""
    where = f" · page {number}" + (f" of {pages}" if whole else "") if pages > 1 else ""
    many = fmt.count(total, "LoRA") if whole else f"more than {fmt.count(total, 'LoRA')}"
    return "### LoRAs you can use here" + (f"\n-# {many}{where}" if total else "")


def filter_line(kind: LoraKind | None, search: str, owner_id: int | None, scope: str) -> str:
    """What the page leaves out."""
    facts = [f"{kind}s only"] if kind is not None else []
    facts += {"mine": ["yours"], "server": ["of this server"], "public": ["public ones"]}.get(scope, [])
    facts += [f"by <@{owner_id}>"] if owner_id is not None else []
    facts += [f"with “{fmt.safe(search, 40)}”"] if search else []
    return f"-# Showing {', '.join(facts)}" if facts else ""


def entry(name: str, kind: LoraKind, trigger: str | None, maker: str | None, uses: int, *, training: bool) -> str:
    """One LoRA of a page; `maker` None: the reader."""
    facts = [str(kind), *([f"trigger {fmt.code(trigger)}"] if trigger else []), f"by {fmt.safe(maker, 32) if maker else 'you'}"]
    facts.append("still in training" if training else f"used {fmt.count(uses, 'time')}" if uses else "not used yet")
    return f"**{fmt.safe(name)}**\n{' · '.join(facts)}"


def detail_heading(name: str, kind: LoraKind) -> str:
    """Head of a LoRA's card."""
    return f"### {fmt.safe(name)} · {kind}"


def detail_facts(trigger: str | None, uses: int, maker: str | None, owner_id: int, visibility: Visibility, *, mine: bool) -> list[str]:
    """Trigger, maker, reach and use."""
    word = f"**Trigger** {fmt.code(trigger)}" if trigger else "**No trigger**: it acts whenever it is in the list"
    made = "by you" if mine else f"by <@{owner_id}> ({fmt.safe(maker or '?', 32)})"
    used = f"used {fmt.count(uses, 'time')}" if uses else "not used yet"
    facts = [made, used, *([_SEEN_BY[visibility]] if mine or visibility is Visibility.PUBLIC else [])]
    return [word, " · ".join(facts)]


def examples(name: str, kind: LoraKind, trigger: str | None, chosen: Sequence[str]) -> list[str]:
    """Commands that show it at work: its owner's prompts, else two of ours for its kind."""
    prompts = list(chosen) or [scene.format(word=trigger or name) for scene in _SCENES[kind]]
    return ["**Try**", *(fmt.code(f"/generate prompt: {fmt.plain(prompt, 200)} loras: {name}:0.9", 260) for prompt in prompts)]


def training_facts(rank: int, items: int, steps: int, loss: float | None, version: int, created_at: float) -> str:
    """How it was made."""
    final = f" · loss {loss:.3f}" if loss is not None else ""
    trained = f"{fmt.count(items, 'picture')} · {steps:,} steps · " if items else ""
    return f"-# Version {version}, <t:{int(created_at)}:D> · {trained}rank {rank}{final}"


def withheld(reason: Withheld) -> str:
    """Why nobody can use it."""
    return _WITHHELD[reason]


def chart_alt(name: str) -> str:
    """Alt text of the score chart."""
    return f"How the training of {name} went: loss over steps"


def confirm_delete(name: str, uses: int, versions: int) -> str:
    """Asked before a LoRA goes."""
    used = f" It was used {fmt.count(uses, 'time')}." if uses else ""
    return (
        f"Delete **{fmt.safe(name)}** with {fmt.count(versions, 'version')}? It cannot be brought back; clips made with it stay.{used} "
        "A copy for yourself: **Download** on its card."
    )


def lora_deleted(name: str, still_used_by: int) -> str:
    """It is gone."""
    if still_used_by:
        return (
            f"**{fmt.safe(name)}** is deleted: nobody can choose it any more. {fmt.count(still_used_by, 'clip')} in the queue still "
            "use it; its file goes when they are done."
        )
    return f"**{fmt.safe(name)}** is deleted, its file too."


def versions_heading(name: str) -> str:
    """Head of the version list."""
    return f"### Versions of {fmt.safe(name)}"


def version_entry(version: int, created_at: float, items: int, steps: int, loss: float | None, *, in_use: bool) -> str:
    """One version."""
    facts = [f"<t:{int(created_at)}:D>", *([fmt.count(items, "picture")] if items else []), *([f"{steps:,} steps"] if steps else [])]
    facts += [f"loss {loss:.3f}"] if loss is not None else []
    return f"**Version {version}**{' · in use' if in_use else ''}\n-# {' · '.join(facts)}"


def version_used(name: str, version: int) -> str:
    """Answer to a roll-back."""
    return f"**{fmt.safe(name)}** is now version {version}; clips already in the queue keep the one they were made with."


def download_ready(name: str, version: int, size: int, expires_at: float, licence: str) -> list[str]:
    """Beside the link."""
    return [
        f"**{fmt.safe(name)}**, version {version} · {fmt.megabytes(size)}",
        f"The link expires {fmt.relative(expires_at)}; whoever has it can use it, so keep it to yourself.",
        f"-# One safetensors file for diffusers, ComfyUI and ltx-pipelines · {licence}",
    ]


def edited(name: str, visibility: Visibility) -> str:
    """Answer to the edit form."""
    return f"Saved: **{fmt.safe(name)}** · {_SEEN_BY[visibility]}"


def renew_note(name: str) -> str:
    """Above the empty data set of a new version."""
    return f"This makes a new version of **{fmt.safe(name)}**; the present one stays until then, and under **Versions** afterwards."


def imported(name: str, kind: LoraKind, rank: int, tool: str, *, audio: bool) -> list[str]:
    """A file became a LoRA."""
    sound = " · changes the sound too" if audio else ""
    return [f"**{fmt.safe(name)}** is in the library.", f"-# {kind} · rank {rank} · written by {fmt.safe(tool, 20)}{sound}"]


def message_gone(name: str) -> str:
    """A training's message was deleted; the LoRA was not."""
    return f"Message removed. **{fmt.safe(name)}** stays in the library: {fmt.code(f'/loras show name: {name}')}."


# ---- casts ----------------------------------------------------------------------------------------------------------------------

CASTS_HEADING = "### Casts you can call here"
NO_CASTS = (
    "None yet. Save a stack you like under one name: `/cast save name: pilot loras: hero:0.9, watercolour`, then "
    "`/generate loras: @pilot` brings all of them."
)


def cast_saved(name: str, members: Sequence[tuple[str, float]]) -> str:
    """A stack has a name now."""
    return f"**@{fmt.safe(name)}** is {both([_member(*each) for each in members])}. Call it: {fmt.code(f'/generate loras: @{name}')}"


def cast_entry(name: str, members: Sequence[tuple[str, float]], *, mine: bool) -> str:
    """One saved stack of a list."""
    inside = " · ".join(_member(*each) for each in members) or "nothing you can use"
    return f"**@{fmt.safe(name)}**{'' if mine else ' · of the server'}\n{inside}"


def cast_deleted(name: str) -> str:
    """A saved stack was forgotten; its LoRAs were not."""
    return f"The cast **@{fmt.safe(name.removeprefix('@'))}** is forgotten; its LoRAs stay."


def _member(name: str, weight: float) -> str:
    return f"{fmt.safe(name)} {fmt.weight(weight)}"
