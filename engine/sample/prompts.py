"""What the text encoder makes of a prompt, kept: the encoder of a large base is half its size, and prompts repeat."""

from __future__ import annotations

from typing import Final

import torch

from engine.model.loader import ResidentBase

PROMPT_CACHE_BYTES: Final = 1024 * 1024 * 1024  # LTX-2.3 keeps 385 MB a prompt: the negative one and the last prompt stay


def prompt_states(resident: ResidentBase, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Text encoder states [1, L, D] and mask [1, L] of one text on the base's device, from the cache when they are there.

    Raises:
        OutOfMemoryError: as `ResidentBase.read_text`.
    """
    cache = resident.prompt_states
    if text in cache:
        cache.move_to_end(text)
    else:
        states, mask = resident.read_text([text])
        cache[text] = (states.cpu(), mask.cpu())
        while len(cache) > 1 and sum(s.nbytes + m.nbytes for s, m in cache.values()) > PROMPT_CACHE_BYTES:
            cache.popitem(last=False)
    states, mask = cache[text]
    return states.to(resident.device), mask.to(resident.device)
