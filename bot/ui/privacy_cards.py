"""Cards of `/privacy`."""

from __future__ import annotations

from bot.config import BotSettings
from bot.ui import views
from bot.ui.cards import INFO_COLOUR, WAITING_COLOUR, Card
from bot.ui.language import _
from bot.ui.text import privacy as words


def about(settings: BotSettings) -> Card:
    """What is kept, how long, who sees it."""
    card = Card(INFO_COLOUR)
    for block in words.about(settings.upload_retention_s, settings.draft_expires_s):
        card.say(block)  # a block each: a phone shows them apart
    return card.sealed()


def export(link: str, size: int, expires_at: float) -> Card:
    """The link to the zip."""
    return Card(INFO_COLOUR).say(*words.export_ready(size, expires_at)).buttons(views.link_button(link, _("Download"))).sealed()


def confirm_delete() -> Card:
    """Asked before somebody is forgotten."""
    return Card(WAITING_COLOUR).say(*words.confirm()).buttons(views.forget_button()).sealed()
