"""Rows of `guilds`, `guild_channels`, `guild_roles` and `role_limits`: what is set in one server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from sqlite3 import Row

from aiosqlite import Connection

from engine.contracts.generation import Quality


class QuotaWindow(StrEnum):
    """How long a server's units have to last."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class ContentLevel(StrEnum):
    """What pictures a server accepts."""

    STRICT = "strict"  # nothing for adults anywhere
    CHANNEL = "channel"  # as Discord's age restriction of the channel says


@dataclass(frozen=True)
class Limits:
    """Limits of one person in a server; None: the server sets none."""

    user_units: int | None = None  # per window
    running: int | None = None  # jobs at once
    waiting: int | None = None  # jobs in line


@dataclass(frozen=True)
class ServerSettings:
    """Everything `/settings` knows about one server."""

    guild_id: int
    channels: frozenset[int] = frozenset()  # where commands work; empty: everywhere
    roles: frozenset[int] = frozenset()  # who may use them; empty: everybody
    limits: Limits = Limits()
    role_limits: Mapping[int, Limits] = field(default_factory=dict)
    server_units: int | None = None  # everybody's together per window
    window: QuotaWindow = QuotaWindow.DAY
    default_loras: str = ""
    default_quality: Quality = Quality.BEST
    content_level: ContentLevel = ContentLevel.CHANNEL
    language: str | None = None  # None: the reader's own
    log_channel_id: int | None = None


async def get(db: Connection, guild_id: int) -> ServerSettings:
    """The settings of a server, or the defaults."""
    rows = await db.execute_fetchall("SELECT * FROM guilds WHERE guild_id = ?", (guild_id,))
    row = next(iter(rows), None)
    channels = await _ids(db, "SELECT channel_id FROM guild_channels WHERE guild_id = ?", guild_id)
    roles = await _ids(db, "SELECT role_id FROM guild_roles WHERE guild_id = ?", guild_id)
    overrides = await db.execute_fetchall("SELECT * FROM role_limits WHERE guild_id = ?", (guild_id,))
    role_limits = {int(override["role_id"]): _limits(override) for override in overrides}
    if row is None:
        return ServerSettings(guild_id, channels, roles, role_limits=role_limits)
    return ServerSettings(
        guild_id=guild_id,
        channels=channels,
        roles=roles,
        limits=_limits(row),
        role_limits=role_limits,
        server_units=row["server_units"],
        window=QuotaWindow(row["quota_window"]),
        default_loras=row["default_loras"],
        default_quality=Quality(row["default_quality"]),
        content_level=ContentLevel(row["content_level"]),
        language=row["language"],
        log_channel_id=row["log_channel_id"],
    )


async def put(tx: Connection, settings: ServerSettings) -> None:
    """Write everything that is one value per server."""
    values = {
        "guild_id": settings.guild_id,
        "user_units": settings.limits.user_units,
        "running": settings.limits.running,
        "waiting": settings.limits.waiting,
        "server_units": settings.server_units,
        "quota_window": settings.window,
        "default_loras": settings.default_loras,
        "default_quality": settings.default_quality,
        "content_level": settings.content_level,
        "language": settings.language,
        "log_channel_id": settings.log_channel_id,
    }
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    changes = ", ".join(f"{column} = excluded.{column}" for column in values if column != "guild_id")
    await tx.execute(
        f"INSERT INTO guilds ({columns}) VALUES ({marks}) ON CONFLICT (guild_id) DO UPDATE SET {changes}",  # noqa: S608 - names above
        tuple(values.values()),
    )


async def put_channels(tx: Connection, guild_id: int, channels: Collection[int]) -> None:
    """Commands work in these and nowhere else; none: everywhere."""
    await tx.execute("DELETE FROM guild_channels WHERE guild_id = ?", (guild_id,))
    await tx.executemany("INSERT INTO guild_channels VALUES (?, ?)", [(guild_id, channel) for channel in sorted(channels)])


async def put_roles(tx: Connection, guild_id: int, roles: Collection[int]) -> None:
    """People with one of these roles may use commands, nobody else; none: everybody."""
    await tx.execute("DELETE FROM guild_roles WHERE guild_id = ?", (guild_id,))
    await tx.executemany("INSERT INTO guild_roles VALUES (?, ?)", [(guild_id, role) for role in sorted(roles)])


async def put_role_limits(tx: Connection, guild_id: int, role_id: int, limits: Limits) -> None:
    """What people with a role get instead of the server's limits; an empty one takes the override away."""
    await tx.execute("DELETE FROM role_limits WHERE guild_id = ? AND role_id = ?", (guild_id, role_id))
    if limits != Limits():
        await tx.execute(
            "INSERT INTO role_limits (guild_id, role_id, user_units, running, waiting) VALUES (?, ?, ?, ?, ?)",
            (guild_id, role_id, limits.user_units, limits.running, limits.waiting),
        )


def _limits(row: Row) -> Limits:
    return Limits(user_units=row["user_units"], running=row["running"], waiting=row["waiting"])


async def _ids(db: Connection, sql: str, guild_id: int) -> frozenset[int]:
    return frozenset([int(row[0]) for row in await db.execute_fetchall(sql, (guild_id,))])
