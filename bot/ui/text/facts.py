"""What a refusal is about, read so that a missing or odd fact never makes the answer fail. Text comes out safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.ui import format as fmt

Facts = Mapping[str, object]


def string(facts: Facts, key: str, default: str = "?", limit: int = 80) -> str:
    """What somebody typed, as literal text."""
    value = facts.get(key)
    return default if value is None else fmt.safe(str(value), limit)


def code(facts: Facts, key: str, limit: int = 60) -> str:
    """What somebody typed, in code style."""
    value = facts.get(key)
    return fmt.code("?" if value is None else str(value), limit)


def number(facts: Facts, key: str, default: float = 0) -> float:
    """A number; `default` when there is none."""
    value = facts.get(key, default)
    return float(value) if isinstance(value, int | float) else float(default)


def whole(facts: Facts, key: str) -> int:
    """A whole number."""
    return int(number(facts, key))


def items(facts: Facts, key: str) -> list[object]:
    """Several things; none when there are none."""
    value = facts.get(key)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
