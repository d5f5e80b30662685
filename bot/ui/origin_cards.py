"""The card of `/verify`."""

from __future__ import annotations

from bot.services.origins import Origin
from bot.ui.cards import DONE_COLOUR, FAILED_COLOUR, INFO_COLOUR, WAITING_COLOUR, Card
from bot.ui.text import origins as words
from engine.contracts.provenance import Finding

_COLOURS = {Finding.OWN: DONE_COLOUR, Finding.FOREIGN: INFO_COLOUR, Finding.TAMPERED: FAILED_COLOUR}


def origin(found: Origin) -> Card:
    """Where a file comes from."""
    colour = DONE_COLOUR if found.posted_at is not None else _COLOURS.get(found.report.finding, WAITING_COLOUR)
    return Card(colour).say(words.heading(found), words.sentence(found)).say(*words.details(found)).sealed()
