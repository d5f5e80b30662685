"""What makes a base faster or smaller without changing what it computes: attention kernels, and a text encoder that makes room."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

from engine.contracts.speed import TextEncoderPlace
from engine.errors import InvalidConfigError
from engine.model.memory import device_memory, guarded, release_cached

logger = logging.getLogger(__name__)

_EXACT: Final = ("_flash_3", "flash")
"""Kernels that compute plain attention faster than torch's own, the fastest first; each needs its package and its GPU."""

_MASKLESS: Final = ("attn1", "audio_attn1", "audio_to_video_attn", "video_to_audio_attn")
"""Attentions of a block that see everything; those to the text have a mask, which most kernels do not know."""

_FULL: Final = 0.75
"""Share of the device that a base may fill with its text encoder on it; LTX-2.3 fills seven eighths of 80 GB."""


class AttentionKernel:
    """The attention kernel of renders; a training keeps torch's own, whose gradients are its own too.

    Args:
        transformer: The denoiser, on its device.
        wanted: See `SpeedOptions.attention`.

    Raises:
        InvalidConfigError: `wanted` is unknown, or cannot run here.
    """

    def __init__(self, transformer: Any, wanted: str = "auto") -> None:
        self._attentions = [getattr(block, name) for block in transformer.transformer_blocks for name in _MASKLESS]
        self.name: str | None = None
        """None: torch's own."""

        if wanted == "auto":
            self.name = next((name for name in _EXACT if _runs(name, transformer)), None)
        elif wanted != "native":
            if not _runs(wanted, transformer):
                raise InvalidConfigError(f"The attention kernel {wanted} does not run on this machine: use auto.")
            self.name = wanted

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Attention without a mask is computed by the kernel in the body."""
        if self.name is None:
            yield
            return
        before = [attention.processor._attention_backend for attention in self._attentions]  # noqa: SLF001 - diffusers can set it, not tell it
        try:
            for attention in self._attentions:
                attention.set_attention_backend(self.name)
            yield
        finally:
            for attention, backend in zip(self._attentions, before, strict=True):
                attention.processor._attention_backend = backend  # noqa: SLF001


def _runs(name: str, transformer: Any) -> bool:
    """Whether a kernel computes a small attention here, in the denoiser's own dtype and head size."""
    tokens = torch.zeros(1, 16, 2, transformer.config.attention_head_dim, dtype=transformer.dtype, device=transformer.device)
    try:
        dispatch_attention_fn(tokens, tokens, tokens, backend=AttentionBackendName(name))
    except Exception as error:  # noqa: BLE001 - a missing package or GPU shows as anything from ImportError to TypeError
        reason = next(iter(str(error).splitlines()), "")  # PyTorch appends its whole dispatch table
        logger.info("attention kernel %s does not run here: %s", name, reason)
        return False
    return True


class RestingEncoder:
    """A text encoder that is on the device while texts are read and waits in host memory while anything is denoised.

    It leaves when the denoiser needs the room and not before, so that the captions of a whole training set are read in one visit.
    """

    def __init__(self, encoder: Any, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        self.on_device = False

    def come(self) -> None:
        """Onto the device, before texts are read.

        Raises:
            OutOfMemoryError: it does not fit beside what is there.
        """
        if not self.on_device:
            with guarded("The text encoder"):
                self._encoder.to(self._device)
            self.on_device = True

    def leave(self) -> None:
        """Into host memory, before something is denoised."""
        if self.on_device:
            self._encoder.to("cpu")
            self.on_device = False
            release_cached()


def rests(place: TextEncoderPlace, components: dict[str, Any], device: torch.device) -> bool:
    """Whether the text encoder of a pipeline's `components` waits in host memory."""
    if place is not TextEncoderPlace.AUTO:
        return place is TextEncoderPlace.HOST
    weights = [p for part in components.values() if isinstance(part, torch.nn.Module) for p in part.parameters()]
    total = device_memory(device).total
    return total > 0 and sum(weight.nbytes for weight in weights) > _FULL * total
