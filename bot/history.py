"""Finding a message of ours in a channel again: the answer to "did the post before the crash get through?"."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import discord

_log = logging.getLogger(__name__)

LOOKBACK_MESSAGES = 200
CLOCK_SLACK_S = 300.0


def custom_ids(components: Collection[Any]) -> Iterator[str]:
    """Every `custom_id` in a message, however deep."""
    for part in components:
        found = getattr(part, "custom_id", None)
        if isinstance(found, str):
            yield found
        yield from custom_ids(getattr(part, "children", ()) or ())
        accessory = getattr(part, "accessory", None)
        if accessory is not None:
            yield from custom_ids([accessory])


async def find_own(
    client: discord.Client, channel: discord.abc.Messageable, wanted: Collection[str], since: float
) -> discord.Message | None:
    """Our newest message in `channel` that carries one of the `wanted` custom ids and is not older than `since` (unix seconds).

    None also when the history may not be read: posting twice is better than not at all.
    """
    after = datetime.fromtimestamp(max(0.0, since - CLOCK_SLACK_S), UTC)
    me = client.user.id if client.user is not None else None
    newest: discord.Message | None = None
    try:
        async for message in channel.history(limit=LOOKBACK_MESSAGES, after=after, oldest_first=False):
            if message.author.id == me and not set(wanted).isdisjoint(custom_ids(message.components)):
                newest = message
                break
    except discord.HTTPException as error:
        _log.warning("history of the channel cannot be read: %s", error)
    return newest
