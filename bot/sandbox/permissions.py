"""Channel permissions with Discord's bits, and what a new server gives everybody."""

from __future__ import annotations

from enum import IntFlag

from bot.sandbox.errors import ScenarioError


class Permission(IntFlag):
    """The channel permissions the sandbox knows, with Discord's bits."""

    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    MANAGE_ROLES = 1 << 28
    USE_APPLICATION_COMMANDS = 1 << 31
    CREATE_PUBLIC_THREADS = 1 << 35
    SEND_MESSAGES_IN_THREADS = 1 << 38

    @classmethod
    def named(cls, name: str) -> Permission:
        """The permission called `send_messages`, say.

        Raises:
            ScenarioError: no such permission.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            raise ScenarioError(f"no permission is called {name!r}; known: {', '.join(p.name.lower() for p in cls if p.name)}") from None


EVERYONE_PERMISSIONS = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)
ALL_PERMISSIONS = Permission(sum(Permission))
NO_PERMISSION = Permission(0)
