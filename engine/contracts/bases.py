"""What the bot must know of a base model without torch: geometry, training defaults, price. Loading lives in `engine/model/bases.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.contracts.generation import UPSCALE_FACTOR, GenerationMode, Quality
from engine.contracts.geometry import Geometry, GeometryRule
from engine.contracts.jobs import GenerateVideo
from engine.contracts.lora import LoraKind
from engine.contracts.model import Contract
from engine.contracts.status import Lane


class TrainingDefaults(Contract):
    """Values `/train` starts from; every one is visible and can be overridden in the shell."""

    rank: int
    steps: int
    learning_rate: float
    batch_size: int
    width: int
    height: int


class TransformerShape(Contract):
    """Sizes of a denoiser that decide which LoRA fits it."""

    blocks: int
    width: int  # features of a video token
    audio_width: int
    heads: int


class BaseProfile(Contract):
    """One base model as the product sees it."""

    name: str
    title: str
    revision: str
    licence: str
    transformer: TransformerShape
    geometry: GeometryRule
    training: Mapping[LoraKind, TrainingDefaults]
    sampling_steps: int
    posted_min_side: int  # clips smaller than this are posted upscaled by whole factors, nearest neighbour
    token_steps_per_unit: int  # packed tokens x denoising or training steps that make one quota unit
    fast_steps: int | None = None  # of `Quality.FAST`; None: both qualities are the same
    second_stage_steps: int = 3  # of an upscale
    stack_weights: Mapping[LoraKind, float] = {}  # what a LoRA counts beside others when nobody says; 1.0 for kinds not named
    memory_bytes: Mapping[Lane, int] = {}  # least device memory a worker needs for a lane; a lane that is not named runs anywhere
    trained_on: str | None = None  # the base whose LoRAs this one takes; None: its own. Nothing is trained on a base that names another

    @property
    def lora_base(self) -> str:
        """The base that LoRAs for this one are trained on."""
        return self.trained_on or self.name

    def default_weight(self, kind: LoraKind, stack_size: int) -> float:
        """The weight of a LoRA nobody gave one, in a stack of that many."""
        return 1.0 if stack_size < 2 else self.stack_weights.get(kind, 1.0)

    def steps(self, quality: Quality) -> int:
        """Denoising steps of one clip."""
        return self.fast_steps if quality is Quality.FAST and self.fast_steps is not None else self.sampling_steps

    def generation_units(self, geometry: Geometry) -> int:
        """Price of one text-to-video clip of the best quality in quota units, at least 1."""
        return self._units(self.geometry.tokens(geometry) * self.sampling_steps)

    def job_units(self, job: GenerateVideo) -> int:
        """Price of a render in quota units, at least 1: what it denoises, without a storyboard's re-rolls."""
        tokens, steps = self.geometry.tokens(job.geometry), self.steps(job.quality)
        match job.mode:
            case GenerationMode.CONTROL:
                return self._units(2 * tokens * steps)  # the reference tokens are denoised along
            case GenerationMode.VIDEO if job.restyle is not None:
                return self._units(tokens * max(1.0, steps * job.restyle.strength))
            case GenerationMode.STORYBOARD if job.storyboard is not None:
                return self._units(tokens * steps * len(job.storyboard.scenes))
            case GenerationMode.UPSCALE:
                first = tokens // UPSCALE_FACTOR**2 * steps if job.source_clip is None else 0
                return self._units(first + tokens * self.second_stage_steps)
            case _:
                return self._units(tokens * steps)

    def _units(self, token_steps: float) -> int:
        return max(1, math.ceil(token_steps / self.token_steps_per_unit))

    def training_units(self, defaults: TrainingDefaults, steps: int, *, clips: float = 0.0, guided: bool = False) -> int:
        """Price of `steps` training steps in quota units, at least 1; a step costs about three forward passes.

        `clips` is the share of clips among the items, 0 to 1: they have more tokens than stills. `guided`: reference tokens double them.
        """
        still = Geometry(width=defaults.width, height=defaults.height, num_frames=1, fps=self.geometry.fps)
        clip = still.model_copy(update={"num_frames": self.geometry.default_frames})
        tokens = (1 - clips) * self.geometry.tokens(still) + clips * self.geometry.tokens(clip)
        work = 3 * tokens * (2 if guided else 1) * defaults.batch_size * steps
        return self._units(work)


def _same_for_all(defaults: TrainingDefaults) -> dict[LoraKind, TrainingDefaults]:
    return dict.fromkeys(LoraKind, defaults)


TINY = BaseProfile(
    name="tiny",
    title="Tiny (built in, pixel art)",
    revision="tiny-3",
    licence="Apache-2.0",
    transformer=TransformerShape(blocks=6, width=192, audio_width=48, heads=6),
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
    training={
        **_same_for_all(TrainingDefaults(rank=16, steps=400, learning_rate=1e-3, batch_size=8, width=32, height=32)),
        LoraKind.CHARACTER: TrainingDefaults(rank=16, steps=600, learning_rate=3e-3, batch_size=8, width=32, height=32),
        # reading a guide is a new sense, not a new word: it takes more (engine/LOG.md, "Effects guided by edges")
        LoraKind.EFFECT: TrainingDefaults(rank=32, steps=1320, learning_rate=2e-3, batch_size=4, width=32, height=32),
    },
    sampling_steps=16,
    posted_min_side=256,
    token_steps_per_unit=768,
    fast_steps=8,
    second_stage_steps=1,
    stack_weights={LoraKind.CHARACTER: 1.5},  # beside a style a figure fades first (engine/LOG.md)
)

LTX_2_3 = BaseProfile(
    name="ltx-2.3",
    title="LTX-2.3 (22B)",
    revision="ltx-2.3-dev",
    licence="LTX-2 Community License (2026-01-05)",
    transformer=TransformerShape(blocks=48, width=4096, audio_width=2048, heads=32),
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
    fast_steps=8,
    stack_weights={LoraKind.CHARACTER: 0.9, LoraKind.STYLE: 0.7, LoraKind.MOTION: 0.8, LoraKind.EFFECT: 1.0},
    # fp8 clips peak at 24 GB (SceneWorks PR 85), int8 trainings at 31 GB (LTX-2 issue 180); less with offload, which workers don't do
    memory_bytes={Lane.RENDER: 24 * 10**9, Lane.TRAIN: 32 * 10**9},
)

LTX_2_3_FAST = LTX_2_3.model_copy(
    update={
        "name": "ltx-2.3-fast",
        "title": "LTX-2.3 distilled (22B, 8 steps)",
        "revision": "ltx-2.3-distilled-1.1",
        "sampling_steps": 8,
        "trained_on": LTX_2_3.name,
    }
)

BASES: Mapping[str, BaseProfile] = {profile.name: profile for profile in (TINY, LTX_2_3, LTX_2_3_FAST)}
