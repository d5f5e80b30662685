"""Values to Components V2: one visual language for every message of the bot.

A card is one container: the accent colour names the state, a heading names the thing, facts stand in lines short enough for a phone,
small print (`-#`) says what it cost and that it is AI-generated. Cards hold dynamic items and links only and are sealed before use, so
the library never keeps one (reference/discord.md A3, traps 1, 2 and 4): every post and every edit builds a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from discord import ButtonStyle, ui

from bot.ui import format as fmt

REFUSAL_COLOUR = 0xC0392B  # only refusals wear it: people, and the sandbox, tell a "no" by it
FAILED_COLOUR = 0x8E44AD
DRAFT_COLOUR = 0x3498DB
WAITING_COLOUR = 0x95A5A6
RUNNING_COLOUR = 0xF1C40F
DONE_COLOUR = 0x2ECC71
INFO_COLOUR = 0x1ABC9C

MAX_ALT = 256  # characters of a picture's description


class Card(ui.LayoutView):
    """One container, ready to send. Built by the functions below."""

    def __init__(self, accent: int) -> None:
        super().__init__(timeout=None)
        self.accent = accent
        self._parts: list[ui.Item[Any]] = []

    def say(self, *lines: str) -> Self:
        """A block of text, one line each; empty lines are dropped."""
        block = "\n".join(line for line in lines if line)
        if block:
            self._parts.append(ui.TextDisplay(block))
        return self

    def show(self, filename: str, alt: str) -> Self:
        """A picture or clip that is attached to the same message."""
        return self.gallery([(filename, alt)])

    def gallery(self, pictures: Sequence[tuple[str, str]]) -> Self:
        """Attached pictures and clips side by side, each with its alt text; none is no gallery."""
        if pictures:
            gallery: ui.MediaGallery[Any] = ui.MediaGallery()
            for filename, alt in pictures:
                gallery.add_item(media=f"attachment://{filename}", description=fmt.plain(alt, MAX_ALT))
            self._parts.append(gallery)
        return self

    def beside(self, words: str, accessory: ui.Item[Any]) -> Self:
        """Text with a button or a thumbnail at its side."""
        self._parts.append(ui.Section(words, accessory=accessory))
        return self

    def line(self) -> Self:
        """A dividing line."""
        self._parts.append(ui.Separator())
        return self

    def buttons(self, *buttons: ui.Item[Any]) -> Self:
        """One row of buttons."""
        if buttons:
            self._parts.append(ui.ActionRow(*buttons))
        return self

    def sealed(self) -> Self:
        """Close the card: from here on the library sends it but does not keep it."""
        self.add_item(ui.Container(*self._parts, accent_colour=self.accent))
        self.stop()
        return self

    def rendered(self) -> list[dict[str, Any]]:
        """The components as they go on the wire."""
        components: list[dict[str, Any]] = self.to_components()  # type: ignore[no-untyped-call]  # untyped in discord.py
        return components


def refusal(sentence: str, sku_id: int | None = None) -> Card:
    """A "no" with its reason; always sent to the asker alone. `sku_id`: Discord's own button that sells what is missing."""
    return Card(REFUSAL_COLOUR).say(sentence).buttons(*premium_button(sku_id)).sealed()


def premium_button(sku_id: int | None) -> list[ui.Item[Any]]:
    """Discord's own button that sells a SKU; nothing where nothing is sold."""
    return [] if sku_id is None else [ui.Button(style=ButtonStyle.premium, sku_id=sku_id)]


def notice(sentence: str, accent: int = INFO_COLOUR) -> Card:
    """A short confirmation."""
    return Card(accent).say(sentence).sealed()
