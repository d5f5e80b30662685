"""The card of `/help`."""

from __future__ import annotations

from bot.ui.cards import INFO_COLOUR, Card
from bot.ui.text import help as words


def overview(name: str | None, *, admin: bool) -> Card:
    """Everything by example. `name`: a LoRA the reader can use."""
    card = Card(INFO_COLOUR).say(words.HEADING())
    for section in words.sections(name):
        card.say(section)
    if admin:
        card.line().say(words.ADMIN())
    return card.say(words.FOOT()).sealed()
