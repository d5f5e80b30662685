"""A small LoRA of the tiny base as another tool writes it, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from engine.contracts.bases import TINY


def write_lora(path: Path, *, rank: int = 4, seed: int = 0) -> Path:
    """One attention layer in diffusers' naming; `seed` makes files of different content."""
    width, random = TINY.transformer.width, np.random.default_rng(seed)
    module = "transformer.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"{module}.lora_A.weight": random.normal(size=(rank, width)).astype("<f4"),
        f"{module}.lora_B.weight": random.normal(size=(width, rank)).astype("<f4"),
    }
    header, data = {}, b""
    for key, values in tensors.items():
        raw = values.tobytes()
        header[key] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path
