"""How the models that read depth and pose are loaded, and their one way of not being there."""

from __future__ import annotations

from typing import Any

from engine.errors import BaseUnavailableError


def loaded(what: str, name: str, kind: Any, **options: Any) -> Any:
    """`kind.from_pretrained(name)`, read from this machine or the hub.

    Raises:
        BaseUnavailableError: it is not here and cannot be fetched.
    """
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BaseUnavailableError(f"The {what} model {name} is not on this machine: download it, or guide by edges.") from error
