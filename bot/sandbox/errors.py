"""Answers of the loopback Discord that are not a success, and mistakes of the people who script it.

SandboxError
├── ApiError            what Discord would answer: HTTP status, JSON code, message, per-field errors
├── ClientRefusedError  Discord's own client would not let a person send this
└── ScenarioError       the scenario asks for something that is not there
"""

from __future__ import annotations

from typing import Any


class SandboxError(Exception):
    """Root of the tree."""


class ApiError(SandboxError):
    """An error answer as documented in Discord's "Opcodes and Status Codes"."""

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        super().__init__(f"{status}/{code} {message}")
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors

    def to_json(self) -> dict[str, Any]:
        """The body of the answer."""
        body: dict[str, Any] = {"message": self.message, "code": self.code}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


class ClientRefusedError(SandboxError):
    """A person's client stops them before anything reaches the bot (missing option, file above the limit, disabled button)."""


class ScenarioError(SandboxError):
    """The scenario names a person, file, button or message that does not exist."""


def unauthorized() -> ApiError:
    """No or a wrong bot token."""
    return ApiError(401, 0, "401: Unauthorized")


def unknown(what: str) -> ApiError:
    """A 404 with the documented code of `what`."""
    return ApiError(404, _UNKNOWN[what], f"Unknown {what}")


def missing_access() -> ApiError:
    """The bot cannot see the channel."""
    return ApiError(403, 50001, "Missing Access")


def missing_permissions() -> ApiError:
    """The bot sees the channel but may not do this there."""
    return ApiError(403, 50013, "Missing Permissions")


def invalid_form(problems: list[tuple[str, str]]) -> ApiError:
    """400/50035 with Discord's nested error object; each problem is (dotted path, sentence)."""
    tree: dict[str, Any] = {}
    for path, sentence in problems:
        node = tree
        for part in filter(None, path.split(".")):
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": "BASE_TYPE_BAD", "message": sentence})
    return ApiError(400, 50035, "Invalid Form Body", tree)


_UNKNOWN = {
    "Application": 10002,
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "User": 10013,
    "Webhook": 10015,
    "Interaction": 10062,
    "application command": 10063,
    "Entitlement": 10151,
}
