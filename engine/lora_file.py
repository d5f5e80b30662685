"""The outside of a LoRA file: its safetensors header, read and checked without torch and without touching the weights.

A file from a stranger is data, never code: only safetensors is read, and only after its header has been checked. The bot
calls `inspect_lora_header`; the engine calls `read_header`, which keeps what is needed to read the weights.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from engine.contracts.bases import BASES, BaseProfile
from engine.contracts.lora import LoraManifest
from engine.contracts.lora_facts import LoraDialect, LoraFacts, LoraProblem
from engine.errors import AdapterIncompatibleError, AdapterInvalidError, AdapterMissingError
from engine.lora_keys import PREFIX, Weight, layer_sizes, parse_key

__all__ = ["PREFIX", "Content", "LoraHeader", "ModuleShape", "TensorEntry", "inspect_lora_header", "read_header", "write_lora"]

MAX_HEADER_BYTES: Final = 16 * 1024 * 1024
MAX_FILE_BYTES: Final = 4 * 1024**3
MAX_RANK: Final = 1024
MAX_TENSORS: Final = 50_000

DTYPE_BYTES: Final = {"F32": 4, "F16": 2, "BF16": 2}
_PICKLE_STARTS: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_TRIGGER_KEYS: Final = ("modelspec.trigger_phrase", "trigger_word", "ss_trigger_word", "trigger")
_DOWNSCALE_KEYS: Final = ("reference_downscale_factor", "ss_reference_downscale_factor")
_REASONS: Final = {
    LoraProblem.UNSAFE_KEY: "which looks like a path, not like the name of a weight",
    LoraProblem.OTHER_METHOD: "which belongs to another method (LoKr, LoHa, DoRA, full weights); only plain LoRAs can be stacked",
    LoraProblem.OTHER_PART: "which changes the text side; only LoRAs of the transformer alone can be stacked",
    LoraProblem.UNKNOWN_KEY: "which is not a weight of a LoRA for this kind of base",
}


@dataclass(frozen=True)
class ModuleShape:
    """The pair of matrices on one linear layer: A [rank, in_features], B [out_features, rank]."""

    rank: int
    in_features: int
    out_features: int


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: bytes `start` to `end` of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Content:
    """One tensor to write; `data` is called when its turn comes, so that one tensor at a time is in memory."""

    dtype: str
    shape: Sequence[int]
    data: Callable[[], bytes]


@dataclass(frozen=True)
class LoraHeader:
    """What can be known of a LoRA file before its weights are read."""

    path: Path
    size: int  # bytes
    metadata: Mapping[str, str]
    manifest: LoraManifest | None  # None: another tool made the file
    dialect: LoraDialect
    modules: Mapping[str, ModuleShape]
    keys: Mapping[str, tuple[str, str]]  # key in the file -> (module, "lora_A" | "lora_B" | "alpha")
    entries: Mapping[str, TensorEntry]

    @property
    def rank(self) -> int:
        """The largest rank in the file."""
        return max(shape.rank for shape in self.modules.values())

    @property
    def common_scale(self) -> float:
        """alpha / rank of the PEFT configuration that diffusers writes beside weights trained with alpha != rank; 1 without one.

        Raises:
            AdapterInvalidError: there is one, and it cannot be read.
        """
        try:
            config = json.loads(self.metadata.get("lora_adapter_metadata", "{}"))
            fields = {key.rpartition(".")[2]: value for key, value in config.items()}
            return float(fields["lora_alpha"]) / float(fields["r"]) if "lora_alpha" in fields and "r" in fields else 1.0
        except (ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise AdapterInvalidError("The LoRA's adapter metadata cannot be read.", LoraProblem.DESCRIPTION) from error

    def require_base(self, base: str) -> None:
        """Refuse a file whose manifest names another base.

        Raises:
            AdapterIncompatibleError: it does.
        """
        if self.manifest is not None and self.manifest.base != base:
            raise AdapterIncompatibleError(f"{self.path.name} was trained for {self.manifest.base}; choose a LoRA of {base}.")

    def misfit(self, profile: BaseProfile) -> str | None:
        """A module that the base of `profile` does not have at that size, or None when all fit."""
        for module, shape in self.modules.items():
            if layer_sizes(module, profile.transformer) != (shape.in_features, shape.out_features):
                return module
        return None

    def facts(self) -> LoraFacts:
        """The header as a value for other processes."""
        weights = [self.entries[key] for key, (_, part) in self.keys.items() if part != "alpha"]
        by_dtype: Counter[str] = Counter()
        for entry in weights:
            by_dtype[entry.dtype] += entry.end - entry.start
        factor = next((self.metadata[key] for key in _DOWNSCALE_KEYS if key in self.metadata), "1")
        trigger = next((self.metadata[key].strip() for key in _TRIGGER_KEYS if self.metadata.get(key, "").strip()), None)
        return LoraFacts(
            dialect=self.dialect,
            size=self.size,
            rank=self.rank,
            modules=len(self.modules),
            parameters=sum(prod(entry.shape) for entry in weights),
            dtype=by_dtype.most_common(1)[0][0],
            has_alpha=any(part == "alpha" for _, part in self.keys.values()) or "lora_adapter_metadata" in self.metadata,
            touches_audio=any(".audio_" in module or ".video_to_audio" in module for module in self.modules),
            bases=tuple(name for name, profile in BASES.items() if self.misfit(profile) is None),
            manifest=self.manifest,
            trigger_hint=None if trigger is None else trigger[:64],
            reference_downscale_factor=int(factor) if factor.isdecimal() and 1 <= int(factor[:3]) <= 16 else 1,
        )


def inspect_lora_header(path: Path, shown_name: str | None = None) -> LoraFacts:
    """What the LoRA file at `path` is, from its header alone: milliseconds, a few megabytes, no torch. The bot may call it.

    `shown_name` is what messages call the file (default: its name). Weights are not read, so `NOT_FINITE` is found later, by
    `engine.data.lora_import`, which also writes the file the way we keep LoRAs.

    Raises:
        AdapterMissingError: There is no file.
        AdapterInvalidError: It is no LoRA we can use; `problem` is the reason, the message a sentence.
        AdapterIncompatibleError: Its layers fit no base we know.
    """
    header = read_header(path, shown_name)
    facts = header.facts()
    if not facts.bases:
        name = shown_name or path.name
        raise AdapterIncompatibleError(f"{name} was trained for another model: its layers fit neither of {', '.join(BASES)}.")
    return facts


def read_header(path: Path, shown_name: str | None = None) -> LoraHeader:
    """Read and check the header of the LoRA at `path`.

    Raises:
        AdapterMissingError: there is no file.
        AdapterInvalidError: it is not a safetensors LoRA with complete A/B pairs of plausible shapes.
    """
    name = shown_name or path.name
    if not path.is_file():
        raise AdapterMissingError(f"There is no LoRA file {name}.")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise AdapterInvalidError(f"{name} has {size} bytes; a LoRA has at most {MAX_FILE_BYTES}.", LoraProblem.TOO_LARGE)
    header, data_start = _raw_header(path, name, size)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise AdapterInvalidError(f"{name} has metadata that is not text.", LoraProblem.DESCRIPTION)
    if not header:
        raise AdapterInvalidError(f"{name} holds no weights.", LoraProblem.NO_WEIGHTS)
    if len(header) > MAX_TENSORS:
        raise AdapterInvalidError(f"{name} lists {len(header)} weights; a LoRA has far fewer.", LoraProblem.DESCRIPTION)
    weights = {key: _weight(name, key) for key in header}
    entries = {key: _entry(name, key, entry, data_start, size) for key, entry in header.items()}
    _require_gapless(name, entries, data_start, size)
    halves: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, weight in weights.items():
        parts = halves.setdefault(weight.module, {})
        if weight.part in parts:
            raise AdapterInvalidError(f"{name} holds two different {weight.part} for {weight.module[:100]}.", LoraProblem.INCOMPLETE_PAIR)
        parts[weight.part] = entries[key].shape
    return LoraHeader(
        path=path,
        size=size,
        metadata=metadata,
        manifest=LoraManifest.from_metadata(metadata),
        dialect=next(iter(weights.values())).dialect,
        modules={module: _module_shape(name, module, parts) for module, parts in halves.items()},
        keys={key: (weight.module, weight.part) for key, weight in weights.items()},
        entries=entries,
    )


def write_lora(path: Path, tensors: Mapping[str, Content], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that appears under its name only when it is complete, readable by everybody.

    Equal content gives equal bytes: the safetensors library puts metadata in another order in every process, and a training that
    was interrupted must end with the very file of one that was not.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    reached = 0
    for key, content in tensors.items():
        size = prod(content.shape) * DTYPE_BYTES[content.dtype]
        header[key] = {"dtype": content.dtype, "shape": list(content.shape), "data_offsets": [reached, reached + size]}
        reached += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # weights begin at a multiple of 8 bytes
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            for content in tensors.values():
                target.write(content.data())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _raw_header(path: Path, name: str, size: int) -> tuple[dict[str, Any], int]:
    """The header as JSON, and the byte at which the weights begin."""
    problem = AdapterInvalidError(f"{name} is not a safetensors file.", LoraProblem.NOT_SAFETENSORS)
    with path.open("rb") as stream:
        start = stream.read(8)
        if start.startswith(_PICKLE_STARTS):
            raise AdapterInvalidError(
                f"{name} is not a safetensors file but a pickle, which can run code when opened: convert it to safetensors.",
                LoraProblem.PICKLE,
            )
        length = int.from_bytes(start, "little")
        if size < 10 or length < 2:
            raise problem
        if length > MAX_HEADER_BYTES and start[4:] == b"\0\0\0\0":  # else it is text or a picture, whose first bytes are no length
            raise AdapterInvalidError(
                f"{name} is not a safetensors file we read: its header claims {length} bytes, a LoRA's has far fewer.",
                LoraProblem.HEADER_TOO_LARGE,
            )
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise problem
        raw = stream.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise problem from error
    if not isinstance(header, dict):
        raise problem
    return header, 8 + length


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different; two readers could take different ones of a repeated key."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _weight(name: str, key: str) -> Weight:
    found = parse_key(key)
    if isinstance(found, LoraProblem):
        raise AdapterInvalidError(f"{name} holds {key[:100]!r}, {_REASONS[found]}.", found)
    return found


def _entry(name: str, key: str, entry: object, data_start: int, size: int) -> TensorEntry:
    """One tensor, after its dtype, shape and place in the file agree with each other."""
    problem = AdapterInvalidError(f"{name} describes {key[:100]!r} in a way that cannot be right.", LoraProblem.DESCRIPTION)
    if not isinstance(entry, dict):
        raise problem
    dtype, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(span, list) or len(span) != 2:
        raise problem
    if dtype not in DTYPE_BYTES:
        raise AdapterInvalidError(
            f"{name} holds weights of type {dtype[:20]}; save it as {', '.join(DTYPE_BYTES)}.", LoraProblem.WRONG_DTYPE
        )
    if not all(type(number) is int and 0 <= number <= MAX_FILE_BYTES for number in (*shape, *span)):
        raise problem
    start, end = span
    if data_start + end > size or end - start != prod(shape) * DTYPE_BYTES[dtype]:
        raise problem
    return TensorEntry(dtype, tuple(shape), data_start + start, data_start + end)


def _require_gapless(name: str, entries: Mapping[str, TensorEntry], data_start: int, size: int) -> None:
    """Tensors must fill the file without overlap, as the format demands: nothing hides between them or behind them."""
    reached = data_start
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != reached:
            raise AdapterInvalidError(f"{name} has weights that overlap or leave gaps; save it again.", LoraProblem.DESCRIPTION)
        reached = entry.end
    if reached != size:
        raise AdapterInvalidError(f"{name} holds more than its header describes; save it again.", LoraProblem.DESCRIPTION)


def _module_shape(name: str, module: str, parts: Mapping[str, tuple[int, ...]]) -> ModuleShape:
    """The shape of one A/B pair."""
    down, up = parts.get("lora_A"), parts.get("lora_B")
    if down is None or up is None or len(down) != 2 or len(up) != 2 or down[0] != up[1] or prod(parts.get("alpha", ())) != 1:
        raise AdapterInvalidError(f"{name} has no matching pair of matrices for {module[:100]}.", LoraProblem.INCOMPLETE_PAIR)
    if not 1 <= down[0] <= MAX_RANK:
        raise AdapterInvalidError(f"{name} has rank {down[0]}; use 1 to {MAX_RANK}.", LoraProblem.RANK)
    return ModuleShape(rank=down[0], in_features=down[1], out_features=up[0])
