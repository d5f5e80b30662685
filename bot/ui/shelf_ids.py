"""The state of a library page in the id of a button: page, scope, kind, maker and searched text, at most 100 characters in all."""

from __future__ import annotations

import base64
import re

from bot.services.library import Filters, Scope
from bot.ui.views import SHELF
from engine.contracts.lora import LoraKind

MAX_SEARCH_BYTES = 36
"""Of UTF-8; 48 characters of base64."""

_SCOPES = {Scope.ALL: "a", Scope.MINE: "m", Scope.SERVER: "s", Scope.PUBLIC: "p"}
_KINDS = {LoraKind.CHARACTER: "c", LoraKind.STYLE: "s", LoraKind.MOTION: "m", LoraKind.EFFECT: "e", None: "a"}
_SCOPE_OF = {letter: scope for scope, letter in _SCOPES.items()}
_KIND_OF = {letter: kind for kind, letter in _KINDS.items()}


def clipped(search: str) -> str:
    """`search` as far as it fits into an id."""
    return search.strip().encode()[:MAX_SEARCH_BYTES].decode(errors="ignore")


def encode(number: int, filters: Filters) -> str:
    """The subject of a page button."""
    text = base64.urlsafe_b64encode(clipped(filters.text).encode()).decode().rstrip("=")
    return f"{min(number, 99_999)}~{_SCOPES[filters.scope]}~{_KINDS[filters.kind]}~{filters.owner_id or ''}~{text}"


def decode(subject: str) -> tuple[int, Filters]:
    """Page and filters; what somebody tampered with becomes the first page of everything."""
    if not re.fullmatch(SHELF, subject):
        return 1, Filters()
    number, scope, kind, owner, packed = subject.split("~")
    try:
        text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        text = ""
    return int(number), Filters(_SCOPE_OF[scope], _KIND_OF[kind], int(owner) if owner else None, text)
