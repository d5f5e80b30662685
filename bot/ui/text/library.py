"""Lines of the library: browsing, one LoRA in detail, versions, saved stacks."""

from __future__ import annotations

from collections.abc import Sequence

from bot.storage.loras import Visibility, Withheld
from bot.ui import format as fmt
from bot.ui.language import Words, _, counted, later
from bot.ui.text import counts
from bot.ui.text.words import KINDS, both, quoted
from engine.contracts.lora import LoraKind

EMPTY_LIBRARY = later(
    "Nothing here yet. Make the first: `/train name: hero kind: character` with 20 pictures of your character, attached or in one zip."
)
NOTHING_FOUND = later("Nothing fits this search; leave out a filter, or look for a shorter part of the name.")
EMPTY_MINE = later("You have made none yet: `/train` teaches your first from 20 pictures, `/loras import` takes one you have as a file.")
EMPTY_PUBLIC = later("Nobody has made one public yet; you can be the first, with **Edit** on the card of one of yours.")
STACK_HINT = later("-# Stack up to four: `/generate loras: hero:0.9, watercolour:0.6`")
NO_VERSIONS = later("Its first version is still being trained; `/jobs` shows how far it is.")

_SEEN_BY = Words({Visibility.PRIVATE: "🔒 only you", Visibility.SERVER: "👥 this server", Visibility.PUBLIC: "🌍 everybody"})
_WITHHELD = Words(
    {
        Withheld.LIKENESS: "⛔ Nobody can use it: the person it shows has not agreed, or does no longer.",
        Withheld.TAKEDOWN: "⛔ Nobody can use it: it was taken down after a report.",
    }
)
_SCENES = {
    LoraKind.CHARACTER: ("{word} walking on a beach", "{word} dancing at night in a city"),
    LoraKind.STYLE: ("a boat on a lake", "a street market in the rain"),
    LoraKind.MOTION: ("a cat, {word}", "a dancer on a stage, {word}"),
    LoraKind.EFFECT: ("a castle on a hill, {word}", "a boat on a lake, {word}"),
}


def browse_heading(total: int, number: int, pages: int, *, whole: bool) -> str:
    """Head of a page; unless `whole`, there are more LoRAs than `total`."""
    facts = [counts.loras(total) if whole else _("more than {loras}", loras=counts.loras(total))]
    if pages > 1:
        facts.append(_("page {number} of {pages}", number=number, pages=pages) if whole else _("page {number}", number=number))
    return _("### LoRAs you can use here") + (f"\n-# {' · '.join(facts)}" if total else "")


def filter_line(kind: LoraKind | None, search: str, owner_id: int | None, scope: str) -> str:
    """What the page leaves out."""
    facts = [_KINDS_ONLY[kind]] if kind is not None else []
    facts += {"mine": [_("yours")], "server": [_("of this server")], "public": [_("public ones")]}.get(scope, [])
    facts += [_("by <@{owner_id}>", owner_id=owner_id)] if owner_id is not None else []
    facts += [_("with {words}", words=quoted(fmt.safe(search, 40)))] if search else []
    return _("-# Showing {facts}", facts=", ".join(facts)) if facts else ""


_KINDS_ONLY = Words(
    {
        LoraKind.CHARACTER: "characters only",
        LoraKind.STYLE: "styles only",
        LoraKind.MOTION: "motions only",
        LoraKind.EFFECT: "effects only",
    }
)


def entry(name: str, kind: LoraKind, trigger: str | None, maker: str | None, uses: int, *, training: bool) -> str:
    """One LoRA of a page; `maker` None: the reader."""
    facts = [
        KINDS[kind],
        *([_("trigger {trigger}", trigger=fmt.code(trigger))] if trigger else []),
        _("by {maker}", maker=fmt.safe(maker, 32)) if maker else _("by you"),
    ]
    facts.append(_("still in training") if training else _used(uses))
    return f"**{fmt.safe(name)}**\n{' · '.join(facts)}"


def _used(uses: int) -> str:
    return counts.uses(uses) if uses else _("not used yet")


def choice(value: str, kind: LoraKind, limit: int) -> str:
    """A choice while somebody types: a name, or several and the last one's kind, as far as that fits."""
    said = f"{value} ({KINDS[kind]})"
    return said if len(said) <= limit else value[:limit]


def detail_heading(name: str, kind: LoraKind) -> str:
    """Head of a LoRA's card."""
    return f"### {fmt.safe(name)} · {KINDS[kind]}"


def detail_facts(trigger: str | None, uses: int, maker: str | None, owner_id: int, visibility: Visibility, *, mine: bool) -> list[str]:
    """Trigger, maker, reach and use."""
    word = _("**Trigger** {trigger}", trigger=fmt.code(trigger)) if trigger else _("**No trigger**: it acts whenever it is in the list")
    made = _("by you") if mine else _("by <@{owner_id}> ({name})", owner_id=owner_id, name=fmt.safe(maker or "?", 32))
    facts = [made, _used(uses), *([_SEEN_BY[visibility]] if mine or visibility is Visibility.PUBLIC else [])]
    return [word, " · ".join(facts)]


def examples(name: str, kind: LoraKind, trigger: str | None, chosen: Sequence[str]) -> list[str]:
    """Commands that show it at work: its owner's prompts, else two of ours for its kind."""
    prompts = list(chosen) or [scene.format(word=trigger or name) for scene in _SCENES[kind]]
    return [
        _("**Try**"),
        *(fmt.code(f"/generate prompt: {fmt.plain(prompt, 200)} loras: {name}:0.9", 260) for prompt in prompts),
    ]


def training_facts(rank: int, items: int, steps: int, loss: float | None, version: int, created_at: float) -> str:
    """How it was made."""
    facts = [_("Version {version}, {day}", version=version, day=fmt.day(created_at))]
    facts += [counts.pictures(items), _("{steps} steps", steps=fmt.number(steps))] if items else []
    facts += [_("rank {rank}", rank=rank), *([_("loss {loss}", loss=fmt.number(loss, 3))] if loss is not None else [])]
    return f"-# {' · '.join(facts)}"


def previews_of(base: str) -> str:
    """Beside how it was made: what the pictures are, and by which model."""
    return _("-# AI-generated previews, base {base}", base=base)


def withheld(reason: Withheld) -> str:
    """Why nobody can use it."""
    return _WITHHELD[reason]


def chart_alt(name: str) -> str:
    """Alt text of the score chart."""
    return _("How the training of {name} went: loss over steps", name=name)


def confirm_delete(name: str, uses: int, versions: int) -> str:
    """Asked before a LoRA goes."""
    used = counted(" It was used {number} time.", " It was used {number} times.", uses) if uses else ""
    return _(
        "Delete **{name}** with {versions}? It cannot be brought back; clips made with it stay.{used} A copy for "
        "yourself: **Download** on its card.",
        name=fmt.safe(name),
        versions=counts.versions(versions),
        used=used,
    )


def lora_deleted(name: str, still_used_by: int) -> str:
    """It is gone."""
    if still_used_by:
        return _(
            "**{name}** is deleted: nobody can choose it any more. {clips} in the queue still use it; its file goes when they are done.",
            name=fmt.safe(name),
            clips=counts.clips(still_used_by),
        )
    return _("**{name}** is deleted, its file too.", name=fmt.safe(name))


def versions_heading(name: str) -> str:
    """Head of the version list."""
    return _("### Versions of {name}", name=fmt.safe(name))


def version_entry(version: int, created_at: float, items: int, steps: int, loss: float | None, *, in_use: bool) -> str:
    """One version."""
    facts = [
        fmt.day(created_at),
        *([counts.pictures(items)] if items else []),
        *([_("{steps} steps", steps=fmt.number(steps))] if steps else []),
    ]
    facts += [_("loss {loss}", loss=fmt.number(loss, 3))] if loss is not None else []
    title = _("**Version {version}** · in use", version=version) if in_use else _("**Version {version}**", version=version)
    return f"{title}\n-# {' · '.join(facts)}"


def version_used(name: str, version: int) -> str:
    """Answer to a roll-back."""
    return _(
        "**{name}** is now version {version}; clips already in the queue keep the one they were made with.",
        name=fmt.safe(name),
        version=version,
    )


def download_ready(name: str, version: int, size: int, expires_at: float, licence: str) -> list[str]:
    """Beside the link."""
    return [
        _("**{name}**, version {version} · {size}", name=fmt.safe(name), version=version, size=fmt.megabytes(size)),
        _("The link expires {expires_at}; whoever has it can use it, so keep it to yourself.", expires_at=fmt.relative(expires_at)),
        _("-# One safetensors file for diffusers, ComfyUI and ltx-pipelines · {licence}", licence=licence),
    ]


def edited(name: str, visibility: Visibility) -> str:
    """Answer to the edit form."""
    return _("Saved: **{name}** · {seen_by}", name=fmt.safe(name), seen_by=_SEEN_BY[visibility])


def renew_note(name: str) -> str:
    """Above the empty data set of a new version."""
    return _(
        "This makes a new version of **{name}**; the present one stays until then, and under **Versions** afterwards.", name=fmt.safe(name)
    )


def imported(name: str, kind: LoraKind, rank: int, tool: str, *, audio: bool) -> list[str]:
    """A file became a LoRA."""
    facts = [KINDS[kind], _("rank {rank}", rank=rank), _("written by {tool}", tool=fmt.safe(tool, 20))]
    facts += [_("changes the sound too")] if audio else []
    return [
        _("**{name}** is in the library.", name=fmt.safe(name)),
        f"-# {' · '.join(facts)}",
    ]


def message_gone(name: str) -> str:
    """A training's message was deleted; the LoRA was not."""
    return _(
        "Message removed. **{name}** stays in the library: {command}.",
        name=fmt.safe(name),
        command=fmt.code(f"/loras show name: {name}"),
    )


# ---- casts ----------------------------------------------------------------------------------------------------------------------

CASTS_HEADING = later("### Casts you can call here")
NO_CASTS = later(
    "None yet. Save a stack you like under one name: `/cast save name: pilot loras: hero:0.9, watercolour`, then "
    "`/generate loras: @pilot` brings all of them."
)


def cast_saved(name: str, members: Sequence[tuple[str, float]]) -> str:
    """A stack has a name now."""
    return _(
        "**@{name}** is {members}. Call it: {command}",
        name=fmt.safe(name),
        members=both([_member(*each) for each in members]),
        command=fmt.code(f"/generate loras: @{name}"),
    )


def cast_entry(name: str, members: Sequence[tuple[str, float]], *, mine: bool) -> str:
    """One saved stack of a list."""
    of = "" if mine else " · " + _("of the server")
    inside = " · ".join(_member(*each) for each in members) or _("nothing you can use")
    return f"**@{fmt.safe(name)}**{of}\n{inside}"


def cast_deleted(name: str) -> str:
    """A saved stack was forgotten; its LoRAs were not."""
    return _("The cast **@{name}** is forgotten; its LoRAs stay.", name=fmt.safe(name.removeprefix("@")))


def _member(name: str, weight: float) -> str:
    return f"{fmt.safe(name)} {fmt.weight(weight)}"
