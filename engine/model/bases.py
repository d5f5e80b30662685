"""The registry of base models: where their weights lie, how they are sampled and which presets training starts from.

The only place where bases differ. It does not import torch, so listing bases is instant.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from engine.config import Schedule, TrainConfig
from engine.contracts.bases import LTX_2_3, TINY, BaseProfile
from engine.contracts.controls import Control, ControlKind
from engine.contracts.lora import LoraKind
from engine.errors import BaseUnavailableError

VIDEO_ATTENTION: Final = r"transformer_blocks\.\d+\.(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)"
VIDEO_FEED_FORWARD: Final = r"transformer_blocks\.\d+\.ff\.net\.(0\.proj|2)"
VIDEO_TARGETS: Final = (VIDEO_ATTENTION, VIDEO_FEED_FORWARD)
"""Self-attention, text attention and feed-forward of the video branch: silent data must not touch the audio branch."""


EDGES: Final = Control(kind=ControlKind.EDGES)


@dataclass(frozen=True)
class SamplingDefaults:
    """How the base likes to be sampled; `pipeline_kwargs` are the remaining arguments of the pipeline's call."""

    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    max_sequence_length: int  # text tokens, a multiple of the connectors' registers
    pipeline_kwargs: Mapping[str, Any]
    image_crf: int | None = None  # H.264 quality a first frame is put through, as in training; None: the pipeline's own, 0: none


@dataclass(frozen=True)
class TrainingPreset:
    """What a config leaves open, for one kind of LoRA."""

    schedule: Schedule = Schedule.LINEAR
    warmup_steps: int = 0
    caption_dropout: float = 0.0
    first_frame_probability: float = 0.1
    preservation_share: float = 0.0
    preservation_weight: float = 1.0
    gradient_checkpointing: bool = False
    targets: tuple[str, ...] = VIDEO_TARGETS
    control: Control | None = None  # what guides an effect unless the person says otherwise


@dataclass(frozen=True)
class Base:
    """One base model as the engine sees it."""

    profile: BaseProfile
    source: Path | str
    """Folder of a diffusers pipeline, or a hub id."""

    dtype: Literal["float32", "bfloat16"]
    sampling: SamplingDefaults
    presets: Mapping[LoraKind, TrainingPreset]

    @property
    def name(self) -> str:
        """The name people type."""
        return self.profile.name

    def completed(self, config: TrainConfig) -> TrainConfig:
        """`config` with every open value taken from the preset of its kind."""
        preset = self.presets[config.kind]
        filled = {
            "targets": preset.targets,
            "schedule": preset.schedule,
            "warmup_steps": min(preset.warmup_steps, config.steps // 10),
            "caption_dropout": preset.caption_dropout,
            "first_frame_probability": preset.first_frame_probability,
            "preservation_share": preset.preservation_share,
            "preservation_weight": preset.preservation_weight,
            "gradient_checkpointing": preset.gradient_checkpointing,
            "control": preset.control,
            "max_frames": self.profile.geometry.default_frames,
        }
        return config.model_copy(update={key: value for key, value in filled.items() if getattr(config, key) is None})


_TINY_SOURCE: Final = Path(__file__).parents[1] / "tiny" / "weights"

_BASES: Final[Mapping[str, Base]] = MappingProxyType(
    {
        base.name: base
        for base in (
            Base(
                profile=TINY,
                source=_TINY_SOURCE,
                dtype="float32",
                sampling=SamplingDefaults(
                    num_inference_steps=TINY.sampling_steps,
                    guidance_scale=3.0,
                    negative_prompt="",
                    max_sequence_length=32,
                    # no guidance beyond the classifier-free one: the other three cost a forward pass each
                    pipeline_kwargs=MappingProxyType(
                        {
                            "audio_guidance_scale": None,
                            "stg_scale": 0.0,
                            "audio_stg_scale": 0.0,
                            "modality_scale": 1.0,
                            "audio_modality_scale": 1.0,
                            "guidance_rescale": 0.0,
                            "audio_guidance_rescale": 0.0,
                            "spatio_temporal_guidance_blocks": None,
                            "use_cross_timestep": True,
                        }
                    ),
                    image_crf=0,
                ),
                presets={
                    LoraKind.CHARACTER: TrainingPreset(preservation_share=0.25),
                    LoraKind.STYLE: TrainingPreset(),
                    LoraKind.MOTION: TrainingPreset(),
                    LoraKind.EFFECT: TrainingPreset(control=EDGES),
                },
            ),
            Base(
                profile=LTX_2_3,
                source="diffusers/LTX-2.3-Diffusers",
                dtype="bfloat16",
                sampling=SamplingDefaults(
                    num_inference_steps=LTX_2_3.sampling_steps,
                    guidance_scale=3.0,
                    negative_prompt="blurry, distorted, low contrast, compression artefacts, jerky motion, extra limbs, watermark",
                    max_sequence_length=1024,
                    # Lightricks' published settings for the 2.3 dev checkpoint
                    pipeline_kwargs=MappingProxyType(
                        {
                            "audio_guidance_scale": 7.0,
                            "stg_scale": 1.0,
                            "audio_stg_scale": 1.0,
                            "modality_scale": 3.0,
                            "audio_modality_scale": 3.0,
                            "guidance_rescale": 0.7,
                            "audio_guidance_rescale": 0.7,
                            "spatio_temporal_guidance_blocks": [28],
                            "use_cross_timestep": True,
                        }
                    ),
                ),
                # first frame: Lightricks' i2v and in-context recipes, reference ltx-2.3.md §1.4
                presets={
                    LoraKind.CHARACTER: TrainingPreset(first_frame_probability=0.5, gradient_checkpointing=True),
                    LoraKind.STYLE: TrainingPreset(first_frame_probability=0.5, gradient_checkpointing=True),
                    LoraKind.MOTION: TrainingPreset(first_frame_probability=0.5, gradient_checkpointing=True),
                    LoraKind.EFFECT: TrainingPreset(first_frame_probability=0.2, gradient_checkpointing=True, control=EDGES),
                },
            ),
        )
    }
)


def list_bases() -> list[Base]:
    """Every base, in the order they are offered."""
    return list(_BASES.values())


def get_base(name: str) -> Base:
    """The base called `name`.

    Raises:
        BaseUnavailableError: there is none; the message names the nearest ones.
    """
    base = _BASES.get(name)
    if base is None:
        near = difflib.get_close_matches(name, _BASES, n=2, cutoff=0.4) or list(_BASES)
        raise BaseUnavailableError(f"There is no base called {name!r}; try {' or '.join(near)}.")
    return base
