"""The inside of LoRA files: read and checked, written, and kept in host memory for the next job that wants them."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch

from engine.contracts.bases import BaseProfile
from engine.contracts.lora import LoraManifest
from engine.contracts.lora_facts import LoraProblem
from engine.errors import AdapterError, AdapterInvalidError, AdapterMissingError
from engine.hashing import file_sha256
from engine.lora_file import PREFIX, Content, read_header, write_lora

SHELF_BYTES: Final = 4 * 1024**3
"""Host memory for converted LoRAs: some thirty of rank 32 for a 22-billion base, thousands for the tiny one."""

_MAX_HASHES: Final = 4096


_DTYPES: Final = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True)
class LoraWeights:
    """The weights of one file: module -> (A [rank, in], B [out, rank]), alpha folded into B, on the CPU."""

    path: Path
    sha256: str
    rank: int
    manifest: LoraManifest | None
    modules: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(down.nbytes + up.nbytes for down, up in self.modules.values())

    def delta_norms(self) -> dict[str, float]:
        """Frobenius norm of each module's weight change B @ A, without forming it."""
        return {module: delta_norm(down, up) for module, (down, up) in self.modules.items()}


def read_lora(path: Path, profile: BaseProfile) -> LoraWeights:
    """Read the LoRA at `path` for the base of `profile`; the header is checked before a weight is read.

    Raises:
        AdapterMissingError, AdapterInvalidError: see `engine.lora_file.read_header`; also weights that are not finite.
        AdapterIncompatibleError: its manifest names another base.
    """
    header = read_header(path)
    header.require_base(profile.lora_base)
    try:
        tensors = safetensors.torch.load_file(path)
        sha256 = file_sha256(path)
    except FileNotFoundError as error:
        raise AdapterMissingError(f"There is no LoRA file {path.name}.") from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise AdapterInvalidError(f"{path.name} is damaged.") from error
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, (module, part) in header.keys.items():
        parts.setdefault(module, {})[part] = tensors[key]
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise AdapterInvalidError(f"{path.name} holds weights that are not numbers.", LoraProblem.NOT_FINITE)
    common = header.common_scale
    modules = {module: (pair["lora_A"], _folded(pair, common)) for module, pair in parts.items()}
    return LoraWeights(path, sha256, header.rank, header.manifest, modules)


def save_lora(path: Path, modules: Mapping[str, tuple[torch.Tensor, torch.Tensor]], manifest: LoraManifest, dtype: torch.dtype) -> None:
    """Write one safetensors file with alpha equal to rank, so that it needs no alpha keys and loads in every tool.

    The file appears under its name only when it is complete.
    """
    tensors = {
        f"{PREFIX}{module}.{part}.weight": Content(_DTYPES[dtype], tuple(weight.shape), partial(_bytes, weight, dtype))
        for module, pair in modules.items()
        for part, weight in zip(("lora_A", "lora_B"), pair, strict=True)
    }
    write_lora(path, tensors, manifest.to_metadata())


def _bytes(weight: torch.Tensor, dtype: torch.dtype) -> bytes:
    return weight.detach().to("cpu", dtype).contiguous().view(torch.uint8).numpy().tobytes()


def delta_norm(down: torch.Tensor, up: torch.Tensor) -> float:
    """Frobenius norm of `up @ down` from the two rank-sized Gram matrices: ||BA||^2 = tr((B^T B)(A A^T))."""
    a, b = down.detach().double(), up.detach().double()
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def _folded(pair: Mapping[str, torch.Tensor], common: float) -> torch.Tensor:
    """B times alpha / rank; the scale is 1 unless another tool stored an alpha."""
    alpha = pair.get("alpha")
    scale = common if alpha is None else float(alpha.flatten()[0]) / pair["lora_A"].shape[0]
    return pair["lora_B"] if scale == 1.0 else pair["lora_B"] * scale


class LoraShelf:
    """Validated, converted weights in host memory, by the hash of their file; the least recently used go first.

    Safe to use from several threads: `prefetch` reads the next job's files while the current one denoises.
    """

    def __init__(self, max_bytes: int = SHELF_BYTES) -> None:
        self._max_bytes = max_bytes
        self._weights: OrderedDict[str, LoraWeights] = OrderedDict()
        self._hashes: OrderedDict[tuple[int, int, int, int], str] = OrderedDict()
        self._lock = threading.Lock()
        self._reader: ThreadPoolExecutor | None = None

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._weights

    def sha256(self, path: Path) -> str:
        """Hash of the file's content; a file that has not changed since is not read again.

        Raises:
            AdapterMissingError: there is none.
        """
        try:
            stat = path.stat()
            key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            with self._lock:
                known = self._hashes.get(key)
            if known is None:
                known = file_sha256(path)
                with self._lock:
                    self._hashes[key] = known
                    while len(self._hashes) > _MAX_HASHES:
                        self._hashes.popitem(last=False)
        except FileNotFoundError as error:
            raise AdapterMissingError(f"There is no LoRA file {path.name}.") from error
        return known

    def get(self, path: Path, profile: BaseProfile) -> LoraWeights:
        """The weights of the file at `path`, from the shelf when they are there.

        Raises:
            AdapterMissingError, AdapterInvalidError, AdapterIncompatibleError: as `read_lora`.
        """
        sha256 = self.sha256(path)
        with self._lock:
            if sha256 in self._weights:
                self._weights.move_to_end(sha256)
                return self._weights[sha256]
        lora = read_lora(path, profile)
        with self._lock:
            self._weights[lora.sha256] = lora
            while len(self._weights) > 1 and sum(kept.nbytes for kept in self._weights.values()) > self._max_bytes:
                self._weights.popitem(last=False)
        return lora

    def prefetch(self, paths: Iterable[Path], profile: BaseProfile) -> None:
        """Begin to read files that will be wanted soon; what is wrong with one is said when it is."""
        if self._reader is None:
            self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lora-reader")
        for path in paths:
            self._reader.submit(self._read_ahead, path, profile)

    def settle(self) -> None:
        """Wait until everything begun by `prefetch` is read."""
        if self._reader is not None:
            self._reader.submit(lambda: None).result()

    def _read_ahead(self, path: Path, profile: BaseProfile) -> None:
        with contextlib.suppress(AdapterError, OSError):
            self.get(path, profile)
