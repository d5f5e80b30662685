"""What all parts of one loopback Discord share: the world, the clock, the journal of calls and the list of violations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.bell import Bell
from bot.sandbox.clock import SandboxClock
from bot.sandbox.openapi import OpenApi
from bot.sandbox.world import World


@dataclass(frozen=True)
class Violation:
    """The bot did something Discord forbids; `where` is a route, a gateway op or an interaction."""

    at: float
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


@dataclass
class Call:
    """One REST call as it arrived and as it was answered."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    body: Any
    files: list[tuple[str, int]] = field(default_factory=list)  # name, bytes
    status: int = 0
    code: int = 0


class Core:
    """The shared state; `token` is the only bot token that opens anything."""

    def __init__(self, clock: SandboxClock, *, token: str, openapi: OpenApi | None) -> None:
        self.clock = clock
        self.token = token
        self.openapi = openapi
        self.world = World(clock)
        self.bell = Bell()
        self.calls: list[Call] = []
        self.violations: list[Violation] = []
        self.commands: list[dict[str, Any]] = []
        self.guild_commands: dict[int, list[dict[str, Any]]] = {}
        self.commands_synced = False

    def violation(self, where: str, problem: str) -> None:
        """Record a violation once per place and problem."""
        if not any(v.where == where and v.problem == problem for v in self.violations):
            self.violations.append(Violation(self.clock.now(), where, problem))
            self.bell.ring()
