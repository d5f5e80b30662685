"""Transformers of any size with random weights, wrapped as a base whose pictures and captions need no encoders: for speed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel

from engine.model.bases import get_base
from engine.model.loader import ResidentBase, TextFeatures
from engine.ports import NeverCancelled, NullMetrics, NullSink
from engine.tiny.architecture import _init_transformer
from engine.train.recipe import LocalItem, build_run
from engine.train.run import TrainingRun
from tests.support.engine import train_config, write_pictures

FULL: dict[str, Any] = {}
"""LTX-2.3 22B: diffusers' defaults are the widths of LTX-2, which 2.3 shares."""

MID: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 64,
    "cross_attention_dim": 1024,
    "audio_num_attention_heads": 16,
    "audio_attention_head_dim": 16,
    "audio_cross_attention_dim": 256,
    "num_layers": 6,
}
"""About 130 million parameters: large enough that matrix products count, small enough for a CPU."""

_FLAGS_2_3: dict[str, Any] = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
    "rope_type": "split",
    "cross_attn_timestep_scale_multiplier": 1000,
}


@dataclass(frozen=True, eq=False)
class RandomBase(ResidentBase):
    """A resident base without encoders: latents and text features are noise of the right shape, the same for the same input."""

    text_tokens: int = 1024

    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Noise instead of connector outputs."""
        config = self.transformer.config
        generator = torch.Generator().manual_seed(sum(map(len, texts)))
        widths = config.cross_attention_dim, config.audio_cross_attention_dim
        video, audio = (torch.randn(len(texts), self.text_tokens, width, generator=generator) for width in widths)
        mask = torch.ones(len(texts), self.text_tokens, device=self.device)
        return TextFeatures(video.to(self.device, self.dtype), audio.to(self.device, self.dtype), mask)

    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """Noise instead of latents."""
        rule = self.base.profile.geometry
        batch, _, frames, height, width = pixels.shape
        latent_frames = (frames - 1) // rule.temporal_compression + 1
        shape = (
            batch,
            self.transformer.config.in_channels,
            latent_frames,
            height // rule.spatial_compression,
            width // rule.spatial_compression,
        )
        return torch.randn(shape, generator=torch.Generator().manual_seed(int(pixels.sum()) & 0xFFFF))


def random_base(sizes: dict[str, Any], device: str = "cpu", dtype: torch.dtype = torch.float32, text_tokens: int = 1024) -> RandomBase:
    """A transformer made on `device` in `dtype`, never in a larger one, as the base ltx-2.3."""
    place, before = torch.device(device), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with place:
            transformer: Any = LTX2VideoTransformer3DModel(**{**_FLAGS_2_3, **sizes})
    finally:
        torch.set_default_dtype(before)
    _init_transformer(transformer)
    transformer.requires_grad_(False).eval()
    base = replace(get_base("ltx-2.3"), dtype="float32" if dtype is torch.float32 else "bfloat16", likeness=None)
    return RandomBase(
        base=base,
        pipeline=SimpleNamespace(transformer=transformer, components={"transformer": transformer}),
        device=place,
        dtype=dtype,
        fingerprint="random",
        text_tokens=text_tokens,
    )


def ready_run(resident: RandomBase, folder: Path, *, frames: int = 1, steps: int = 1000, **changes: Any) -> TrainingRun:
    """A training of 512 x 512 that has prepared its items and makes an optimizer step at every `step()`."""
    items = write_pictures(folder / "data", 4, size=512) if frames == 1 else _clips(folder / "data", frames)
    given = {"width": 512, "height": 512, "rank": 32, "batch_size": 1, "steps": steps, "learning_rate": 1e-4, "evaluate_every": 0}
    config = train_config(**{**given, "max_frames": frames, "preservation_share": 0.0, "first_frame_probability": 0.0, **changes})
    run = build_run(resident, config, items, folder / "run", NullSink(), NeverCancelled(), NullMetrics(), resume=False)
    while run._state is None:
        run.step()
    return run


def captured_step(run: TrainingRun) -> dict[str, Any]:
    """Make one step of ours and return what the transformer was called with."""
    caught: dict[str, Any] = {}

    def catch(_module: Any, _positional: Any, given: dict[str, Any]) -> None:
        caught.update(given)

    hook = run._parts.resident.transformer.register_forward_pre_hook(catch, with_kwargs=True)
    run.step()
    hook.remove()
    return caught


def bare_step(resident: ResidentBase, optimizer: torch.optim.Optimizer, given: dict[str, Any], target: torch.Tensor) -> None:
    """What any trainer must do at least: forward, mean squared error, backward, optimizer."""
    with resident.autocast():
        predicted = resident.transformer(**given)[0]
    torch.nn.functional.mse_loss(predicted.float(), target).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@contextmanager
def closing(run: TrainingRun) -> Iterator[TrainingRun]:
    """The run, closed afterwards."""
    try:
        yield run
    finally:
        run.close()


def _clips(folder: Path, frames: int) -> list[LocalItem]:
    from tests.support.engine import write_clip

    return [write_clip(folder / f"clip-{index}.mp4", frames, 24, caption=f"zoko walking {index}") for index in range(4)]
