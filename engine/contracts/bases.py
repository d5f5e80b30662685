"""What the bot must know of a base model without torch: geometry, training defaults, price. Loading lives in `engine/model/bases.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.contracts.geometry import Geometry, GeometryRule
from engine.contracts.lora import LoraKind
from engine.contracts.model import Contract


class TrainingDefaults(Contract):
    """Values `/train` starts from; every one is visible and can be overridden in the shell."""

    rank: int
    steps: int
    learning_rate: float
    batch_size: int
    width: int
    height: int


class BaseProfile(Contract):
    """One base model as the product sees it."""

    name: str
    title: str
    revision: str
    licence: str
    geometry: GeometryRule
    training: Mapping[LoraKind, TrainingDefaults]
    sampling_steps: int
    posted_min_side: int  # clips smaller than this are posted upscaled by whole factors, nearest neighbour
    token_steps_per_unit: int  # packed tokens x denoising or training steps that make one quota unit

    def generation_units(self, geometry: Geometry) -> int:
        """Price of one clip in quota units, at least 1."""
        return max(1, math.ceil(self.geometry.tokens(geometry) * self.sampling_steps / self.token_steps_per_unit))

    def training_units(self, defaults: TrainingDefaults, steps: int) -> int:
        """Price of `steps` training steps in quota units, at least 1; a step costs about three forward passes."""
        still = Geometry(width=defaults.width, height=defaults.height, num_frames=1, fps=self.geometry.fps)
        work = 3 * self.geometry.tokens(still) * defaults.batch_size * steps
        return max(1, math.ceil(work / self.token_steps_per_unit))


def _same_for_all(defaults: TrainingDefaults) -> dict[LoraKind, TrainingDefaults]:
    return dict.fromkeys(LoraKind, defaults)


TINY = BaseProfile(
    name="tiny",
    title="Tiny (built in, pixel art)",
    revision="tiny-1",
    licence="Apache-2.0",
    geometry=GeometryRule(
        spatial_multiple=32,
        spatial_compression=8,
        temporal_compression=4,
        frame_stride=4,
        fps=8.0,
        max_frames=17,
        default_frames=9,
        aspects={"1:1": (32, 32)},
    ),
    training=_same_for_all(TrainingDefaults(rank=16, steps=400, learning_rate=1e-3, batch_size=8, width=32, height=32)),
    sampling_steps=16,
    posted_min_side=256,
    token_steps_per_unit=768,
)

LTX_2_3 = BaseProfile(
    name="ltx-2.3",
    title="LTX-2.3 (22B)",
    revision="ltx-2.3-dev",
    licence="LTX-2 Community License (2026-01-05)",
    geometry=GeometryRule(
        spatial_multiple=32,
        spatial_compression=32,
        temporal_compression=8,
        frame_stride=8,
        fps=24.0,
        max_frames=257,
        default_frames=121,
        aspects={"16:9": (768, 448), "9:16": (448, 768), "1:1": (512, 512), "3:2": (768, 512)},
    ),
    training={
        LoraKind.CHARACTER: TrainingDefaults(rank=32, steps=2000, learning_rate=1e-4, batch_size=1, width=512, height=512),
        LoraKind.STYLE: TrainingDefaults(rank=32, steps=2500, learning_rate=1e-4, batch_size=1, width=512, height=512),
        LoraKind.MOTION: TrainingDefaults(rank=32, steps=3000, learning_rate=1e-4, batch_size=1, width=512, height=512),
        LoraKind.EFFECT: TrainingDefaults(rank=32, steps=3000, learning_rate=2e-4, batch_size=1, width=512, height=512),
    },
    sampling_steps=30,
    posted_min_side=0,
    token_steps_per_unit=120_000,
)

BASES: Mapping[str, BaseProfile] = {profile.name: profile for profile in (TINY, LTX_2_3)}
