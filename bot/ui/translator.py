"""What Discord's client shows of our commands, in the reader's language; discord.py asks for every string when commands are synced."""

from __future__ import annotations

import re

import discord
from discord import app_commands

from bot.ui.language import GERMAN, said_in

_NUMBER = re.compile(r"(?P<words>.*\D) (?P<number>[0-9]+(?:\.[0-9]+)?)")
_DESCRIBED = (
    app_commands.TranslationContextLocation.command_description,
    app_commands.TranslationContextLocation.group_description,
    app_commands.TranslationContextLocation.parameter_description,
    app_commands.TranslationContextLocation.choice_name,
)


def german(text: str) -> str | None:
    """`text` in German, a number at its end put aside; None for a name, and for what has no words."""
    if (found := said_in(GERMAN, text)) is not None:
        return found
    match = _NUMBER.fullmatch(text)
    found = said_in(GERMAN, match["words"]) if match is not None else None
    return f"{found} {match['number']}" if match is not None and found is not None else None


class Translator(app_commands.Translator):
    """English is what the code says; German is in the catalogue the cards use too."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """A description, a choice or an entry of the Apps menu in German; names that are typed are the same everywhere."""
        menu = context.location is app_commands.TranslationContextLocation.command_name and isinstance(
            context.data, app_commands.ContextMenu
        )
        if locale is not discord.Locale.german or not (menu or context.location in _DESCRIBED):
            return None
        found = german(string.message)
        return found if found != string.message else None
