"""A small LoRA of the tiny base as another tool writes it, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from engine.contracts.bases import TINY
from engine.lora_keys import layer_sizes

_FEED: Final = ("ff.net.0.proj", "ff.net.2")


ONE_LAYER: Final = ("transformer_blocks.0.attn1.to_q",)
VIDEO_LAYERS: Final = tuple(
    f"transformer_blocks.{block}.{layer}"
    for block in range(TINY.transformer.blocks)
    for layer in (*(f"{attention}.{linear}" for attention in ("attn1", "attn2") for linear in ("to_q", "to_k", "to_v", "to_out.0")), *_FEED)
)
"""What a training of the tiny base writes."""


def write_lora(
    path: Path,
    *,
    rank: int = 4,
    seed: int = 0,
    scale: float = 1.0,
    modules: Sequence[str] = ONE_LAYER,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Random weights in diffusers' naming; `seed` makes files of different content, `scale` is the deviation of both matrices."""
    random = np.random.default_rng(seed)
    tensors = {}
    for module in modules:
        sizes = layer_sizes(module, TINY.transformer)
        assert sizes is not None, module
        tensors[f"transformer.{module}.lora_A.weight"] = random.normal(scale=scale, size=(rank, sizes[0])).astype("<f4")
        tensors[f"transformer.{module}.lora_B.weight"] = random.normal(scale=scale, size=(sizes[1], rank)).astype("<f4")
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
