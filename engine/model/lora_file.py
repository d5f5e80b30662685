"""The outside of a LoRA file: its safetensors header, read and checked without torch and without touching the weights.

A file from a stranger is data, never code: only safetensors is read, and only after its header has been checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from engine.contracts.lora import LoraManifest
from engine.errors import AdapterIncompatibleError, AdapterInvalidError, AdapterMissingError

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_FILE_BYTES: Final = 4 * 1024**3
MAX_RANK: Final = 1024
PREFIX: Final = "diffusion_model."
"""What ComfyUI, ltx-pipelines and diffusers all read; files written by diffusers say `transformer.` instead."""

_KEY: Final = re.compile(r"^(?:diffusion_model|transformer)\.(?P<module>[A-Za-z0-9_.]+)\.(?:(?P<half>lora_[AB])\.weight|(?P<alpha>alpha))$")
_DTYPE_BYTES: Final = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class ModuleShape:
    """The pair of matrices on one linear layer: A [rank, in_features], B [out_features, rank]."""

    rank: int
    in_features: int
    out_features: int


@dataclass(frozen=True)
class LoraHeader:
    """What can be known of a LoRA file before its weights are read."""

    path: Path
    size: int  # bytes
    metadata: Mapping[str, str]
    manifest: LoraManifest | None  # None: another tool made the file
    modules: Mapping[str, ModuleShape]
    keys: Mapping[str, tuple[str, str]]  # key in the file -> (module, "lora_A" | "lora_B" | "alpha")

    @property
    def rank(self) -> int:
        """The largest rank in the file."""
        return max(shape.rank for shape in self.modules.values())

    def require_base(self, base: str) -> None:
        """Refuse a file whose manifest names another base.

        Raises:
            AdapterIncompatibleError: it does.
        """
        if self.manifest is not None and self.manifest.base != base:
            raise AdapterIncompatibleError(f"{self.path.name} was trained for {self.manifest.base}; choose a LoRA of {base}.")


def read_header(path: Path) -> LoraHeader:
    """Read and check the header of the LoRA at `path`.

    Raises:
        AdapterMissingError: there is no file.
        AdapterInvalidError: it is not a safetensors LoRA with complete A/B pairs of plausible shapes.
    """
    name = path.name
    if not path.is_file():
        raise AdapterMissingError(f"There is no LoRA file {name}.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise AdapterInvalidError(f"{name} has {size} bytes; a LoRA has at most {MAX_FILE_BYTES}.")
    header, data_bytes = _raw_header(path, size)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise AdapterInvalidError(f"{name} has metadata that is not text.")
    keys: dict[str, tuple[str, str]] = {}
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, entry in header.items():
        match = _KEY.match(key)
        if match is None:
            raise AdapterInvalidError(f"{name} holds {key[:100]!r}, which is not a weight of a LoRA for this kind of base.")
        part = match["half"] or "alpha"
        halves.setdefault(match["module"], {})[part] = _checked_shape(name, key, entry, data_bytes)
        keys[key] = (match["module"], part)
    if not halves:
        raise AdapterInvalidError(f"{name} holds no weights.")
    modules = {module: _module_shape(name, module, parts) for module, parts in halves.items()}
    return LoraHeader(path, size, metadata, LoraManifest.from_metadata(metadata), modules, keys)


def _raw_header(path: Path, size: int) -> tuple[dict[str, object], int]:
    """The header as JSON, and the number of bytes that follow it."""
    problem = f"{path.name} is not a safetensors file."
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 10 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise AdapterInvalidError(problem)
        raw = stream.read(length)
    try:
        header = json.loads(raw)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise AdapterInvalidError(problem) from error
    if not isinstance(header, dict):
        raise AdapterInvalidError(problem)
    return header, size - 8 - length


def _checked_shape(name: str, key: str, entry: object, data_bytes: int) -> tuple[int, ...]:
    """Shape of one tensor, after its dtype, shape and place in the file agree with each other."""
    problem = AdapterInvalidError(f"{name} describes {key[:100]!r} in a way that cannot be right.")
    if not isinstance(entry, dict):
        raise problem
    dtype, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in _DTYPE_BYTES or not isinstance(shape, list) or not isinstance(span, list) or len(span) != 2:
        raise problem
    if not all(isinstance(number, int) and 0 <= number <= MAX_FILE_BYTES for number in (*shape, *span)):
        raise problem
    start, end = span
    if end > data_bytes or end - start != prod(shape) * _DTYPE_BYTES[dtype]:
        raise problem
    return tuple(shape)


def _module_shape(name: str, module: str, parts: Mapping[str, tuple[int, ...]]) -> ModuleShape:
    """The shape of one A/B pair."""
    down, up = parts.get("lora_A"), parts.get("lora_B")
    if down is None or up is None or len(down) != 2 or len(up) != 2 or down[0] != up[1] or not 1 <= down[0] <= MAX_RANK:
        raise AdapterInvalidError(f"{name} has no matching pair of matrices for {module[:100]}.")
    return ModuleShape(rank=down[0], in_features=down[1], out_features=up[0])
