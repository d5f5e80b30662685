"""Resume state of a training: one safetensors file with weights, moments and generators, and the rest as JSON in its header.

Two files take turns, each written whole before it gets its name, so one of them is always complete, also while the
other is being uploaded. No pickle: a checkpoint that came through a store is data, never code.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

FILENAMES: Final = ("checkpoint-a.safetensors", "checkpoint-b.safetensors")
_STATE_KEY: Final = "callsheet_checkpoint"
_VERSION: Final = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on as if nothing had happened.

    `identity` says which training this is (config, data, base); `facts` are JSON-ready values, `tensors` the rest.
    """

    step: int
    identity: str
    facts: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` over the older of the two files and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    newest = _newest(folder)
    path = folder / (FILENAMES[1] if newest is not None and newest[1].name == FILENAMES[0] else FILENAMES[0])
    state = {"version": _VERSION, "step": checkpoint.step, "identity": checkpoint.identity, "facts": dict(checkpoint.facts)}
    partial = path.with_suffix(".partial")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    safetensors.torch.save_file(tensors, partial, metadata={_STATE_KEY: json.dumps(state)})
    partial.chmod(0o644)  # safetensors writes for its owner alone; a worker of another user may go on with it
    partial.replace(path)
    return path


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint in `folder`; damaged files are passed over with a warning."""
    found = _newest(folder)
    if found is None:
        return None
    state, path = found
    return Checkpoint(state["step"], state["identity"], state["facts"], safetensors.torch.load_file(path))


def _newest(folder: Path) -> tuple[dict[str, Any], Path] | None:
    states = [(state, folder / name) for name in FILENAMES if (state := _state(folder / name)) is not None]
    return max(states, key=lambda entry: entry[0]["step"], default=None)


def _state(path: Path) -> dict[str, Any] | None:
    """The JSON in a checkpoint's header, or None when there is no complete checkpoint at `path`."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {}).get(_STATE_KEY, "null"))
    except (safetensors.SafetensorError, json.JSONDecodeError, OSError) as error:
        _log.warning("checkpoint %s is damaged and not used: %s", path.name, error)
        return None
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        _log.warning("checkpoint %s was written by another version and is not used", path.name)
        return None
    return state
