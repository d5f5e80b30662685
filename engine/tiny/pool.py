"""A pool of encoded, captioned clips of one length: what the denoiser trains on, held in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GemmaTokenizer

from engine.tiny.architecture import FRAME_SIZE, FRAME_STEP, MAX_SEQUENCE_LENGTH, SPATIAL_COMPRESSION
from engine.tiny.captions import describe
from engine.tiny.scenery import GRID
from engine.tiny.sprites import BOX_COLUMNS, BOX_ROWS
from engine.tiny.vae import encode, pack, to_video
from engine.tiny.world import Scene, positions, random_scene, render

CAPTIONS_PER_CLIP: Final = 3
_PATCHES: Final = FRAME_SIZE // SPATIAL_COMPRESSION  # latent rows and columns
_LOGICAL_PER_PATCH: Final = GRID // _PATCHES


@dataclass(frozen=True)
class Pool:
    """Clips of one length.

    latents: [N, tokens, channels] fp16, normalised and packed; inside: [N, tokens] bool, tokens the character touches;
    captions: [N, CAPTIONS_PER_CLIP, MAX_SEQUENCE_LENGTH] int16 token ids, left-padded with zeros.
    """

    num_frames: int
    latents: Tensor
    inside: Tensor
    captions: Tensor

    def __len__(self) -> int:
        return len(self.latents)


def build_pool(
    vae: Any,
    tokenizer: GemmaTokenizer,
    *,
    num_frames: int,
    size: int,
    seed: int,
    advance: Callable[[int], None] = lambda _count: None,
    chunk: int = 100,
) -> Pool:
    """Render, encode and caption `size` clips; `advance(n)` is told of every n clips done."""
    rng = np.random.default_rng(seed)
    latents, inside, captions = [], [], []
    for start in range(0, size, chunk):
        scenes = [random_scene(rng, num_frames) for _ in range(min(chunk, size - start))]
        video = to_video(np.stack([render(scene) for scene in scenes]))
        latents.append(pack(encode(vae, video)).half())
        inside.append(torch.from_numpy(np.stack([touched_tokens(scene) for scene in scenes])))
        texts = [describe(scene, rng) for scene in scenes for _ in range(CAPTIONS_PER_CLIP)]
        captions.append(tokenise(tokenizer, texts).view(len(scenes), CAPTIONS_PER_CLIP, MAX_SEQUENCE_LENGTH))
        advance(len(scenes))
    return Pool(num_frames, torch.cat(latents), torch.cat(inside), torch.cat(captions))


def tokenise(tokenizer: GemmaTokenizer, texts: list[str]) -> Tensor:
    """Token ids as the pipeline makes them, [N, MAX_SEQUENCE_LENGTH] int16, left-padded with zeros."""
    batch = tokenizer(texts, padding="max_length", max_length=MAX_SEQUENCE_LENGTH, truncation=True, return_tensors="pt")
    ids: Tensor = batch.input_ids
    return ids.to(torch.int16)


def touched_tokens(scene: Scene) -> NDArray[np.bool_]:
    """Which latent tokens hold a piece of the character's box in any of their frames, [tokens]."""
    num_latent_frames = (scene.num_frames - 1) // FRAME_STEP + 1
    touched = np.zeros((num_latent_frames, _PATCHES, _PATCHES), dtype=bool)
    for frame, (column, row) in enumerate(positions(scene)):
        rows = slice(max(row, 0) // _LOGICAL_PER_PATCH, (row + BOX_ROWS - 1) // _LOGICAL_PER_PATCH + 1)
        columns = slice(max(column, 0) // _LOGICAL_PER_PATCH, (column + BOX_COLUMNS - 1) // _LOGICAL_PER_PATCH + 1)
        touched[(frame + FRAME_STEP - 1) // FRAME_STEP, rows, columns] = True
    return touched.reshape(-1)
