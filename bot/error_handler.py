"""The one place where a failed command, button, form or autocomplete gets its answer: always an acknowledgement, always a way on."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import discord
from discord import app_commands

from bot import discord_codes
from bot.commands.desk import focused
from bot.errors import Refusal, RefusalCode
from bot.services.plans import Plan
from bot.ui import cards, safety_cards, text

_log = logging.getLogger(__name__)

MAX_CHOICE_CHARS = 100

Interaction = discord.Interaction[Any]


async def handle(interaction: Interaction, error: Exception) -> None:
    """Answer `interaction` after `error`; never raises.

    A refusal says its sentence. A lost interaction (too late, or answered by another process) is only logged: nobody is there to read.
    Everything else is logged with a short reference that the person sees too.
    """
    cause = _cause(error)
    if isinstance(cause, Refusal):
        _log.info("refused: %s", cause.code, extra=_context(interaction))
        await _answer(interaction, text.refusal(cause), _card(interaction, cause))
    elif isinstance(cause, discord.HTTPException) and cause.code in discord_codes.LOST_INTERACTION:
        _log.warning("interaction lost: %s", cause, extra=_context(interaction))
    elif isinstance(cause, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch | app_commands.TransformerError):
        _log.warning("command out of date: %s", cause, extra=_context(interaction))
        await _answer(interaction, text.COMMANDS_CHANGED())
    else:
        reference = secrets.token_hex(4)
        _log.error("unexpected error, reference %s", reference, exc_info=cause, extra=_context(interaction))
        await _answer(interaction, text.unexpected(reference))


def _cause(error: Exception) -> Exception:
    if isinstance(error, app_commands.CommandInvokeError):
        return error.original
    return error


def _context(interaction: Interaction) -> dict[str, object]:
    return {
        "interaction_id": interaction.id,
        "user_id": interaction.user.id,
        "guild_id": interaction.guild_id,
        "subject": interaction.command.qualified_name if interaction.command is not None else interaction.custom_id,
    }


def _explained(interaction: Interaction, sentence: str) -> list[app_commands.Choice[str]]:
    """One choice that says why there are none; only a text option can show it."""
    option = focused(interaction)
    if option is None or option.get("type") != discord.AppCommandOptionType.string.value:
        return []
    words = sentence if len(sentence) <= MAX_CHOICE_CHARS else sentence[: MAX_CHOICE_CHARS - 1] + "…"
    return [app_commands.Choice(name=words, value=str(option.get("value") or "")[:MAX_CHOICE_CHARS] or " ")]


def _card(interaction: Interaction, refused: Refusal) -> cards.Card:
    """The refusal, with what helps against it: the terms to agree to, or what is sold that would have made it possible."""
    if refused.code is RefusalCode.TERMS_NEEDED:
        return safety_cards.terms()
    desk = getattr(interaction.client, "desk", None)
    if refused.code is not RefusalCode.PLAN_NEEDED or desk is None:
        return cards.refusal(text.refusal(refused))
    return cards.refusal(text.refusal(refused), desk.sku_above(Plan(str(refused.facts["plan"]))))


async def _answer(interaction: Interaction, sentence: str, card: cards.Card | None = None) -> None:
    """Say `sentence`, or show the `card` that says it, to the asker alone, by whatever way the interaction still offers."""
    response, card = interaction.response, card or cards.refusal(sentence)
    nobody = discord.AllowedMentions.none()
    try:
        if interaction.type is discord.InteractionType.autocomplete:
            if not response.is_done():
                await response.autocomplete(_explained(interaction, sentence))
        elif not response.is_done():
            await response.send_message(view=card, ephemeral=True, allowed_mentions=nobody)
        elif response.type is discord.InteractionResponseType.deferred_channel_message:
            # our commands defer ephemerally, so this stays between the two of us
            await interaction.edit_original_response(view=card, attachments=[], allowed_mentions=nobody)
        else:
            await interaction.followup.send(view=card, ephemeral=True, allowed_mentions=nobody)
    except discord.HTTPException as failure:
        lost = failure.code in discord_codes.DEAD_TOKEN or failure.code in discord_codes.LOST_INTERACTION
        level = logging.WARNING if lost else logging.ERROR
        _log.log(level, "answer not delivered: %s", failure, extra=_context(interaction))
    except Exception:  # noqa: BLE001 - the last resort of every handler must not raise
        _log.exception("answer not delivered", extra=_context(interaction))
