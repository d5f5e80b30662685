"""Discord's JSON error codes that this bot acts on (Discord API documentation, "Opcodes and Status Codes")."""

from __future__ import annotations

UNKNOWN_CHANNEL = 10003
UNKNOWN_MESSAGE = 10008
UNKNOWN_WEBHOOK = 10015
UNKNOWN_INTERACTION = 10062
TOO_LARGE = 40005
ALREADY_ACKNOWLEDGED = 40060
MISSING_ACCESS = 50001
CANNOT_DM = 50007
MISSING_PERMISSIONS = 50013
INVALID_TOKEN = 50027
ARCHIVED_THREAD = 50083
LOCKED_THREAD = 160005

LOST_PLACE = frozenset({UNKNOWN_CHANNEL, MISSING_ACCESS, MISSING_PERMISSIONS, CANNOT_DM, ARCHIVED_THREAD, LOCKED_THREAD})
"""A place where trying again is pointless (and, ten thousand times in ten minutes, gets the address banned)."""

LOST_INTERACTION = frozenset({UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED})
"""We were too late, or another process of ours answered."""

DEAD_TOKEN = frozenset({UNKNOWN_WEBHOOK, INVALID_TOKEN})
"""An interaction whose 15 minutes are over."""
