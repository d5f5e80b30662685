"""What Discord's client shows of our commands, in the reader's language; discord.py asks for every string when commands are synced."""

from __future__ import annotations

import re

import discord
from discord import app_commands

from bot.ui.text.german import GERMAN

_NUMBER = re.compile(r"(?P<words>.*\D) (?P<number>[0-9]+(?:\.[0-9]+)?)")


def german(text: str) -> str | None:
    """`text` in German; None for a name, and for what has no words."""
    if (found := GERMAN.get(text)) is not None:
        return found
    match = _NUMBER.fullmatch(text)
    if match is None or match["words"] not in GERMAN:
        return None
    return f"{GERMAN[match['words']]} {match['number']}"


class Translator(app_commands.Translator):
    """English is what the code says; German is in `bot.ui.text.german`."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """A description or choice in German; names of commands and options are the same everywhere, so that help fits every reader."""
        described = (
            app_commands.TranslationContextLocation.command_description,
            app_commands.TranslationContextLocation.group_description,
            app_commands.TranslationContextLocation.parameter_description,
            app_commands.TranslationContextLocation.choice_name,
        )
        if locale is not discord.Locale.german or context.location not in described:
            return None
        found = german(string.message)
        return found if found != string.message else None
