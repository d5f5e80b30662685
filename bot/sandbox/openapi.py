"""Validation of requests against Discord's own OpenAPI description, when a copy of it is at hand."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs

ENVIRONMENT = ("CALLSHEET_DISCORD_OPENAPI", "DISCORD_OPENAPI")
_URI = "urn:discord"


def find_description() -> Path | None:
    """Path of the description: named by the environment, else `../shared/discord/openapi.json` beside the checkout, else None."""
    for name in ENVIRONMENT:
        if os.environ.get(name):
            return Path(os.environ[name])
    beside = Path(__file__).resolve().parents[3] / "shared" / "discord" / "openapi.json"
    return beside if beside.is_file() else None


@dataclass(frozen=True)
class _Operation:
    template: str
    pattern: re.Pattern[str]
    method: str
    spec: dict[str, Any]


class OpenApi:
    """Discord's API description as a judge of requests."""

    def __init__(self, description: dict[str, Any]) -> None:
        _widen(description)
        self._registry = jsonschema_rs.Registry([(_URI, {"$schema": "https://json-schema.org/draft/2020-12/schema", **description})])
        self._validators: dict[str, Any] = {}
        self._operations = sorted(
            (
                _Operation(template, re.compile(re.sub(r"\\\{[a-z_0-9]+\\\}", "[^/]+", re.escape(template)) + "$"), method, spec)
                for template, methods in description["paths"].items()
                for method, spec in methods.items()
                if method in ("get", "post", "put", "patch", "delete")
            ),
            key=lambda op: op.template.count("{"),
        )

    @classmethod
    def load(cls, path: Path) -> OpenApi:
        """Read the description at `path`."""
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def problems(self, method: str, path: str, query: dict[str, str], body: Any, *, multipart: bool = False) -> list[str]:
        """What Discord's description says against this request; `path` is below `/api/v10`. A multipart body is its `payload_json`."""
        operation = next((op for op in self._operations if op.method == method.lower() and op.pattern.match(path)), None)
        if operation is None:
            return [f"{method} {path} is not in Discord's API description"]
        known = {p["name"]: p for p in operation.spec.get("parameters", []) if p["in"] == "query"}
        found = [f"query parameter {name!r} is not in Discord's API description" for name in query if name not in known]
        for name, value in query.items():
            if name in known:
                found += [f"query {name}={value}: {why}" for why in self._against(known[name]["schema"], _from_text(value))]
        request = operation.spec.get("requestBody")
        if request is None:
            if body not in (None, {}):
                found.append(f"{method} {operation.template} takes no body")
            return found
        if body is None:
            return [*found, f"{method} {operation.template} needs a body"] if request.get("required") else found
        content = request["content"]
        media = "multipart/form-data" if multipart else "application/json"
        if media not in content:
            return [*found, f"{method} {operation.template} does not take {media}"]
        return found + self._against(content[media]["schema"], body)

    def _against(self, schema: dict[str, Any], value: Any) -> list[str]:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            text = key.replace('"#/components/', f'"{_URI}#/components/')
            self._validators[key] = jsonschema_rs.Draft202012Validator(json.loads(text), registry=self._registry)
        leaves = [leaf for error in self._validators[key].iter_errors(value) for leaf in _leaves(error)]
        return [f"{'.'.join(map(str, leaf.instance_path)) or 'body'}: {leaf.message[:300]}" for leaf in leaves]


def _leaves(error: Any) -> list[Any]:
    """The errors a person can act on: of a union, those of the branch the value was most likely meant for."""
    branches: list[list[Any]] = getattr(error.kind, "context", None) or []
    if not branches:
        return [error]
    return max(([leaf for inner in branch for leaf in _leaves(inner)] for branch in branches), key=_closeness)


def _closeness(leaves: list[Any]) -> tuple[bool, int, int]:
    """Rank of a failed branch: its discriminator fits, its errors lie deep, and they are few."""
    wrong_kind = any(leaf.instance_path and leaf.instance_path[-1] == "type" for leaf in leaves)
    return (not wrong_kind, min((len(leaf.instance_path) for leaf in leaves), default=0), -len(leaves))


def _from_text(value: str) -> Any:
    """A query value as the JSON value it stands for; discord.py writes booleans as 0 and 1."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdigit() and len(value) < 10 else value


def _widen(description: dict[str, Any]) -> None:
    """Accept what Discord accepts beyond its description: ids as numbers, permissions as strings, 0 and 1 in queries."""
    schemas = description["components"]["schemas"]
    schemas["SnowflakeType"] = {"anyOf": [schemas["SnowflakeType"], {"type": "integer", "minimum": 0}]}
    for name in ("ApplicationCommandUpdateRequest", "ApplicationCommandCreateRequest"):
        permissions = schemas[name]["properties"]["default_member_permissions"]
        schemas[name]["properties"]["default_member_permissions"] = {"anyOf": [permissions, {"type": "string", "pattern": "^[0-9]+$"}]}
    for methods in description["paths"].values():
        for spec in methods.values():
            for parameter in spec.get("parameters", []) if isinstance(spec, dict) else []:
                if parameter["in"] == "query" and parameter["schema"].get("type") == "boolean":
                    parameter["schema"] = {"enum": [True, False, 0, 1]}
