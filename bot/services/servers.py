"""What the people who manage a server have set there, and what follows from it for one person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from bot.errors import Refusal, RefusalCode
from bot.storage import servers as table
from bot.storage.database import Database
from bot.storage.servers import ContentLevel, Limits, QuotaWindow, ServerSettings

__all__ = ["ContentLevel", "Limits", "QuotaWindow", "ServerSettings", "Servers", "limits_for"]

MAX_PLACES = 50
"""Channels or roles in one list: more than anybody reads, few enough for one card."""
MAX_UNITS = 1_000_000_000
MAX_JOBS = 1000


def limits_for(settings: ServerSettings, role_ids: Iterable[int]) -> Limits:
    """The limits of somebody with these roles: a role's replace the server's, and of several roles the most generous counts."""
    overrides = [settings.role_limits[role_id] for role_id in role_ids if role_id in settings.role_limits]

    def best(pick: Callable[[Limits], int | None]) -> int | None:
        given = [value for value in map(pick, overrides) if value is not None]
        return max(given) if given else pick(settings.limits)

    return Limits(
        user_units=best(lambda limits: limits.user_units),
        running=best(lambda limits: limits.running),
        waiting=best(lambda limits: limits.waiting),
    )


class Servers:
    """Settings by server, answered from memory: this process is their only writer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int, ServerSettings] = {}

    async def get(self, guild_id: int | None) -> ServerSettings:
        """The settings of a server; the defaults for a direct message."""
        if guild_id is None:
            return ServerSettings(0)
        if guild_id not in self._known:
            self._known[guild_id] = await table.get(self._database.reader, guild_id)
        return self._known[guild_id]

    def forget(self, guild_id: int) -> None:
        """Somebody else wrote these rows, such as the clean-up after a server was left."""
        self._known.pop(guild_id, None)

    async def change(self, guild_id: int, **changes: object) -> ServerSettings:
        """Set values that a server has once; `limits` takes a `Limits`.

        Raises:
            Refusal: SETTING_OUT_OF_RANGE.
        """
        settings = replace(await self.get(guild_id), **changes)  # type: ignore[arg-type]  # names are checked by `replace`
        _check(settings.limits, settings.server_units)
        async with self._database.transaction() as tx:
            await table.put(tx, settings)
        return await self._again(guild_id)

    async def allow_channel(self, guild_id: int, channel_id: int, *, allowed: bool) -> ServerSettings:
        """Put a channel on the list of those where commands work, or take it off.

        Raises:
            Refusal: TOO_MANY_PLACES.
        """
        channels = _with((await self.get(guild_id)).channels, channel_id, present=allowed)
        async with self._database.transaction() as tx:
            await table.put_channels(tx, guild_id, channels)
        return await self._again(guild_id)

    async def allow_role(self, guild_id: int, role_id: int, *, allowed: bool) -> ServerSettings:
        """Put a role on the list of those who may use commands, or take it off.

        Raises:
            Refusal: TOO_MANY_PLACES.
        """
        roles = _with((await self.get(guild_id)).roles, role_id, present=allowed)
        async with self._database.transaction() as tx:
            await table.put_roles(tx, guild_id, roles)
        return await self._again(guild_id)

    async def limit_role(self, guild_id: int, role_id: int, limits: Limits) -> ServerSettings:
        """What people with a role get instead of the server's limits; an empty one takes the override away.

        Raises:
            Refusal: SETTING_OUT_OF_RANGE, TOO_MANY_PLACES.
        """
        _check(limits, None)
        if limits != Limits():
            _with(frozenset((await self.get(guild_id)).role_limits), role_id, present=True)
        async with self._database.transaction() as tx:
            await table.put_role_limits(tx, guild_id, role_id, limits)
        return await self._again(guild_id)

    async def _again(self, guild_id: int) -> ServerSettings:
        self.forget(guild_id)
        return await self.get(guild_id)


def _with(places: frozenset[int], place: int, *, present: bool) -> frozenset[int]:
    changed = places | {place} if present else places - {place}
    if len(changed) > MAX_PLACES:
        raise Refusal(RefusalCode.TOO_MANY_PLACES, limit=MAX_PLACES)
    return changed


def _check(limits: Limits, server_units: int | None) -> None:
    for name, value, low, high in (
        ("units", limits.user_units, 0, MAX_UNITS),
        ("units", server_units, 0, MAX_UNITS),
        ("running", limits.running, 1, MAX_JOBS),
        ("waiting", limits.waiting, 0, MAX_JOBS),
    ):
        if value is not None and not low <= value <= high:
            raise Refusal(RefusalCode.SETTING_OUT_OF_RANGE, name=name, value=value, minimum=low, maximum=high)
