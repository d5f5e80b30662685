"""Fixtures of the bot's core."""

from __future__ import annotations

from tests.support.bot_core import core, played_worker
from tests.support.database import database

__all__ = ["core", "database", "played_worker"]
