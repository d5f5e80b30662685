"""A small LoRA of the tiny base as another tool writes it, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from engine.contracts.bases import TINY


def write_lora(path: Path, *, rank: int = 4, seed: int = 0, scale: float = 1.0, metadata: Mapping[str, str] | None = None) -> Path:
    """One attention layer in diffusers' naming; `seed` makes files of different content, `scale` is the deviation of both matrices."""
    width, random = TINY.transformer.width, np.random.default_rng(seed)
    module = "transformer.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"{module}.lora_A.weight": random.normal(scale=scale, size=(rank, width)).astype("<f4"),
        f"{module}.lora_B.weight": random.normal(scale=scale, size=(width, rank)).astype("<f4"),
    }
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for key, values in tensors.items():
        raw = values.tobytes()
        header[key] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path
