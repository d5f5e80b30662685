"""Reference tokens are those of diffusers' in-context pipeline: values, order, positions, masks."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2InContextPipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition
from PIL import Image

from engine.contracts.controls import Control, ControlKind
from engine.control.condition import check_downscale, encode_reference, reference_of
from engine.errors import InvalidConfigError
from engine.model.loader import ResidentBase, pack_latents

FPS = 8.0


def _frames(side: int, num_frames: int = 9) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (num_frames, side, side, 3), dtype=np.uint8)


def _pipelines_own(resident: ResidentBase, frames: np.ndarray, side: int, factor: int) -> Any:
    known = inspect.signature(LTX2InContextPipeline.__init__).parameters
    pipeline = LTX2InContextPipeline(**{name: part for name, part in resident.pipeline.components.items() if name in known})
    condition = LTX2ReferenceCondition(frames=[Image.fromarray(frame) for frame in frames])
    return pipeline.prepare_latents(
        reference_conditions=[condition],
        reference_downscale_factor=factor,
        num_channels_latents=resident.transformer.config.in_channels,
        height=side,
        width=side,
        num_frames=len(frames),
        frame_rate=FPS,
        noise_scale=1.0,
        dtype=torch.float32,
        device=resident.device,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize(("side", "factor"), [(32, 1), (64, 2)])
def test_reference_equals_the_pipelines(tiny: ResidentBase, side: int, factor: int) -> None:
    """Tokens, their order, and positions in seconds and target pixels are what `LTX2InContextPipeline` appends."""
    frames = _frames(side // factor)
    control = Control(kind=ControlKind.EDGES, downscale=factor)
    ours = reference_of(tiny, encode_reference(tiny, frames), control, FPS)
    latents, mask, _, coords, num_tokens, _, _ = _pipelines_own(tiny, frames, side, factor)
    assert num_tokens == ours.tokens.shape[1]
    assert torch.allclose(ours.tokens, latents[:, -num_tokens:], atol=1e-5)
    assert torch.equal(ours.coords, coords)
    assert bool((mask[:, -num_tokens:] == 1).all())
    assert not mask[:, :-num_tokens].any()


def test_reference_covers_the_canvas_of_the_clip_it_guides(tiny: ResidentBase) -> None:
    """With a factor of 2, half the rows and columns span the same pixels, and the same seconds."""
    control = Control(kind=ControlKind.EDGES, downscale=2)
    guide = reference_of(tiny, encode_reference(tiny, _frames(32)), control, FPS).coords
    clip = tiny.video_coords(3, 8, 8, FPS)
    for axis in range(3):
        assert guide[0, axis].min() == clip[0, axis].min()
        assert guide[0, axis].max() == clip[0, axis].max()


def test_packed_order_is_the_pipelines(tiny: ResidentBase) -> None:
    """Frame, row, column."""
    latents = torch.randn(2, 64, 3, 4, 4)
    assert torch.equal(pack_latents(latents), LTX2InContextPipeline._pack_latents(latents))


def test_a_factor_that_breaks_the_grid_is_refused(tiny: ResidentBase) -> None:
    """32 pixels cannot be halved on a base whose sides are multiples of 32; the sentence names the unit."""
    rule = tiny.base.profile.geometry
    with pytest.raises(InvalidConfigError, match="multiples of 32"):
        check_downscale(rule, Control(kind=ControlKind.EDGES, downscale=2), 32, 32)
    check_downscale(rule, Control(kind=ControlKind.EDGES, downscale=2), 64, 64)
