"""The models that read depth and pose, by configured name, and their one way of not being there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import BaseUnavailableError


@dataclass(frozen=True)
class ControlModels:
    """Hub ids or folders of transformers models. All defaults are Apache-2.0."""

    depth: str = "depth-anything/Depth-Anything-V2-Small-hf"
    person: str = "PekingU/rtdetr_r50vd_coco_o365"  # finds people
    pose: str = "usyd-community/vitpose-base-simple"  # finds the joints of each


MODELS = ControlModels()


def loaded(what: str, name: str, kind: Any, **options: Any) -> Any:
    """`kind.from_pretrained(name)`, read from this machine or the hub.

    Raises:
        BaseUnavailableError: it is not here and cannot be fetched.
    """
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BaseUnavailableError(f"The {what} model {name} is not on this machine: download it, or guide by edges.") from error
