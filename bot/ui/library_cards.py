"""Cards of the library: a page of LoRAs with their pictures, one LoRA in detail, its versions, saved stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from discord import ui

from bot.services.casts import Cast
from bot.services.datasets import DatasetReport
from bot.services.imports import Imported
from bot.services.library import Details, Page, Scope
from bot.services.loras import Lora
from bot.storage.library import Version
from bot.storage.loras import LoraState
from bot.ui import dataset_cards, shelf_ids, views
from bot.ui.cards import DONE_COLOUR, INFO_COLOUR, WAITING_COLOUR, Card
from bot.ui.language import _
from bot.ui.text import library as words
from bot.ui.text import results
from engine.contracts.bases import BASES

BUTTONS_PER_ROW = 3  # names are long; more would be cut on a phone
LISTED_VERSIONS = 8


def page(found: Page, pictures: Mapping[str, str], asker_id: int) -> Card:
    """A page of the library. `pictures`: LoRA id to the name of an attached picture."""
    filters = found.filters
    card = Card(INFO_COLOUR).say(
        words.browse_heading(found.found, found.number, found.pages, whole=found.whole),
        words.filter_line(filters.kind, filters.text, filters.owner_id, filters.scope),
    )
    if not found.loras:
        return card.say(_nothing(found)).sealed()
    for lora in found.loras:
        maker = None if lora.owner_id == asker_id else lora.owner_name
        entry = words.entry(lora.name, lora.kind, lora.trigger, maker, lora.uses, training=lora.state is LoraState.TRAINING)
        name = pictures.get(lora.lora_id)
        if name is None:
            card.say(entry)
        else:
            card.beside(entry, ui.Thumbnail(f"attachment://{name}", description=results.lora_alt(lora.kind, lora.name)))
    buttons = [views.lora_button(lora.lora_id, lora.name) for lora in found.loras]
    for start in range(0, len(buttons), BUTTONS_PER_ROW):
        card.buttons(*buttons[start : start + BUTTONS_PER_ROW])
    if found.pages > 1:
        back, on = (shelf_ids.encode(max(1, number), filters) for number in (found.number - 1, found.number + 1))
        card.buttons(
            views.page_button("back", back, "◀ " + _("Newer"), disabled=found.number == 1),
            views.page_button("next", on, _("Older") + " ▶", disabled=found.number == found.pages),
        )
    return card.say(words.STACK_HINT()).sealed()


def _nothing(found: Page) -> str:
    filters = found.filters
    if filters.text or filters.kind or filters.owner_id:
        return words.NOTHING_FOUND()
    return {Scope.MINE: words.EMPTY_MINE(), Scope.PUBLIC: words.EMPTY_PUBLIC()}.get(filters.scope, words.EMPTY_LIBRARY())


def details(shown: Details, files: Mapping[str, str]) -> Card:
    """One LoRA. `files`: "preview" (MP4) or "poster" (PNG), and "chart" (PNG), to names of attached files."""
    lora = shown.lora
    card = Card(WAITING_COLOUR if lora.withheld else DONE_COLOUR).say(words.detail_heading(lora.name, lora.kind))
    alt = results.lora_alt(lora.kind, lora.name)
    alts = {"preview": alt, "poster": alt, "chart": words.chart_alt(lora.name)}
    card.gallery([(files[key], text) for key, text in alts.items() if key in files])
    if lora.withheld is not None:
        card.say(words.withheld(lora.withheld))
    card.say(*words.detail_facts(lora.trigger, lora.uses, lora.owner_name, lora.owner_id, lora.visibility, mine=shown.mine))
    if lora.state is LoraState.READY and lora.withheld is None:
        card.line().say(*words.examples(lora.name, lora.kind, lora.trigger, lora.examples))
    card.say(_how_made(lora, shown.versions))
    actions: list[ui.Item[Any]] = []
    if lora.state is LoraState.READY and lora.withheld is None and (shown.mine or lora.visibility == "public"):
        actions.append(views.download_button(lora.lora_id))
    if shown.mine and lora.state is LoraState.READY:
        actions = [
            *actions,
            views.edit_button(lora.lora_id),
            views.versions_button(lora.lora_id),
            views.renew_button(lora.lora_id),
            views.lora_delete_button(lora.lora_id),
        ]
    return card.buttons(*actions).sealed()


def _how_made(lora: Lora, versions: Sequence[Version]) -> str:
    used = next((version for version in versions if version.version == lora.version), None)
    if used is None:
        return words.NO_VERSIONS() if lora.state is LoraState.TRAINING else ""
    facts = used.manifest
    base = BASES[lora.base].title if lora.base in BASES else lora.base
    made = words.training_facts(facts.rank, facts.items, facts.steps, facts.final_loss, used.version, used.created_at)
    return f"{made}\n{words.previews_of(base)}"


def confirm_delete(shown: Details) -> Card:
    """Asked before a LoRA goes."""
    lora = shown.lora
    card = Card(WAITING_COLOUR).say(words.confirm_delete(lora.name, lora.uses, len(shown.versions)))
    return card.buttons(views.erase_button(lora.lora_id, lora.name)).sealed()


def versions(shown: Details, note: str = "") -> Card:
    """All versions, each with a button that makes it the one in use."""
    lora = shown.lora
    card = Card(INFO_COLOUR).say(words.versions_heading(lora.name), note)
    for version in shown.versions[:LISTED_VERSIONS]:
        facts, in_use = version.manifest, version.version == lora.version
        entry = words.version_entry(version.version, version.created_at, facts.items, facts.steps, facts.final_loss, in_use=in_use)
        if in_use:
            card.say(entry)
        else:
            card.beside(entry, views.use_version_button(lora.lora_id, version.version))
    return card.sealed()


def download(lora: Lora, link: str, expires_at: float, licence: str) -> Card:
    """The link to a file."""
    assert lora.file is not None
    card = Card(INFO_COLOUR).say(*words.download_ready(lora.name, lora.version, lora.file.size, expires_at, licence))
    return card.buttons(views.link_button(link, _("Download"))).sealed()


def imported(done: Imported) -> Card:
    """A file became a LoRA: what it is, and how to see it at work."""
    lora, facts = done.lora, done.facts
    card = Card(DONE_COLOUR).say(*words.imported(lora.name, lora.kind, facts.rank, facts.dialect, audio=facts.touches_audio))
    card.say(*words.examples(lora.name, lora.kind, lora.trigger, lora.examples))
    return card.buttons(views.lora_button(lora.lora_id, _("Show it"))).sealed()


def new_version(report: DatasetReport) -> Card:
    """The empty data set of a new version."""
    return dataset_cards.dataset(report, note=words.renew_note(report.dataset.name))


def casts(found: Sequence[Cast]) -> Card:
    """Saved stacks."""
    card = Card(INFO_COLOUR).say(words.CASTS_HEADING())
    if not found:
        return card.say(words.NO_CASTS()).sealed()
    for cast in found:
        card.say(words.cast_entry(cast.name, members(cast), mine=cast.mine))
    return card.sealed()


def members(cast: Cast) -> list[tuple[str, float]]:
    """Names and weights."""
    return [(lora.name, weight) for lora, weight in cast.members]
