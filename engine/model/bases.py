"""The registry of base models: where their weights lie, how they are sampled and which presets training starts from.

The only place where bases differ. It does not import torch, so listing bases is instant.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from engine.config import Schedule, TrainConfig
from engine.contracts.bases import LTX_2_3, LTX_2_3_FAST, TINY, BaseProfile
from engine.contracts.controls import Control, ControlKind
from engine.contracts.generation import Quality
from engine.contracts.lora import LoraKind
from engine.errors import BaseUnavailableError, InvalidConfigError

VIDEO_ATTENTION: Final = r"transformer_blocks\.\d+\.(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)"
VIDEO_FEED_FORWARD: Final = r"transformer_blocks\.\d+\.ff\.net\.(0\.proj|2)"
VIDEO_TARGETS: Final = (VIDEO_ATTENTION, VIDEO_FEED_FORWARD)
"""Self-attention, text attention and feed-forward of the video branch: silent data must not touch the audio branch."""

TEXT_TARGETS: Final = (r"transformer_blocks\.\d+\.attn2\.(to_q|to_k|to_v|to_out\.0)",)
"""Text attention of the video branch alone."""

EDGES: Final = Control(kind=ControlKind.EDGES)


@dataclass(frozen=True)
class SamplingDefaults:
    """How the base likes to be sampled; `pipeline_kwargs` are the remaining arguments of the pipeline's call."""

    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str
    max_sequence_length: int  # text tokens, a multiple of the connectors' registers
    pipeline_kwargs: Mapping[str, Any]
    sigmas: tuple[float, ...] | None = None  # fixed noise levels; None: the base's scheduler spaces them
    image_crf: int | None = None  # H.264 quality a first frame is put through, as in training; None: the pipeline's own, 0: none


@dataclass(frozen=True)
class SecondStage:
    """How an upscaled clip is denoised: from the first of `sigmas` down, levels taken as they are."""

    sigmas: tuple[float, ...]
    guidance_scale: float
    distilled: bool = False  # with the base's distilled LoRA beside the stack, where it has one


@dataclass(frozen=True)
class HubFile:
    """A file, or with `subfolder` a model, of a hub repository or of a local folder."""

    path: Path | str
    subfolder: str | None = None
    filename: str | None = None


@dataclass(frozen=True)
class TrainingPreset:
    """What a config leaves open, for one kind of LoRA."""

    schedule: Schedule = Schedule.LINEAR
    warmup_steps: int = 0
    caption_dropout: float = 0.0
    mirror: bool = False
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
    fast: SamplingDefaults | None = None  # of `Quality.FAST`; None: both qualities are the same
    second_stage: SecondStage | None = None
    upsampler: HubFile | None = None
    distilled: HubFile | None = None
    """A LoRA that makes this base its own distilled sister; fast sampling uses it beside the stack."""

    memory: str = ""
    """What it needs, in words for `python -m engine bases`."""

    likeness: str | None = None
    """Vision model of transformers that compares frames with a training set; None: colours alone."""

    @property
    def name(self) -> str:
        """The name people type."""
        return self.profile.name

    def sampling_for(self, quality: Quality) -> SamplingDefaults:
        """The settings of a quality."""
        return self.fast if quality is Quality.FAST and self.fast is not None else self.sampling

    def completed(self, config: TrainConfig) -> TrainConfig:
        """`config` with every open value taken from the preset of its kind.

        Raises:
            InvalidConfigError: nothing is trained on this base.
        """
        if config.kind not in self.presets:
            raise InvalidConfigError(f"LoRAs for {self.name} are trained on {self.profile.lora_base}: train there, they run on both.")
        preset = self.presets[config.kind]
        filled = {
            "targets": preset.targets,
            "schedule": preset.schedule,
            "warmup_steps": min(preset.warmup_steps, config.steps // 10),
            "caption_dropout": preset.caption_dropout,
            "mirror": preset.mirror,
            "first_frame_probability": preset.first_frame_probability,
            "preservation_share": preset.preservation_share,
            "preservation_weight": preset.preservation_weight,
            "gradient_checkpointing": preset.gradient_checkpointing,
            "control": preset.control,
            "max_frames": self.profile.geometry.default_frames,
        }
        return config.model_copy(update={key: value for key, value in filled.items() if getattr(config, key) is None})


_TINY_SOURCE: Final = Path(__file__).parents[1] / "tiny" / "weights"

_PLAIN_GUIDANCE: Final[Mapping[str, Any]] = MappingProxyType(
    # no guidance beyond the classifier-free one: the other three cost a forward pass each
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
)

_DISTILLED_SIGMAS: Final = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875)
"""The levels Lightricks distilled for; below them come 0 and, in a second stage, the last three (reference ltx-2.3.md §6.3)."""

_NEGATIVE: Final = "blurry, distorted, low contrast, compression artefacts, jerky motion, extra limbs, watermark"

_TINY_SAMPLING: Final = SamplingDefaults(
    num_inference_steps=TINY.sampling_steps,
    guidance_scale=3.0,
    negative_prompt="",
    max_sequence_length=32,
    pipeline_kwargs=_PLAIN_GUIDANCE,
    image_crf=0,
)

_LTX_SAMPLING: Final = SamplingDefaults(
    num_inference_steps=LTX_2_3.sampling_steps,
    guidance_scale=3.0,
    negative_prompt=_NEGATIVE,
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
)

_LTX_FAST_SAMPLING: Final = SamplingDefaults(
    num_inference_steps=len(_DISTILLED_SIGMAS),
    guidance_scale=1.0,
    negative_prompt=_NEGATIVE,
    max_sequence_length=1024,
    pipeline_kwargs=_PLAIN_GUIDANCE,
    sigmas=_DISTILLED_SIGMAS,
)

_LTX_UPSAMPLER: Final = HubFile("dg845/LTX-2.3-Spatial-Upsampler-Diffusers", subfolder="latent_upsampler")

_BASES: Final[Mapping[str, Base]] = MappingProxyType(
    {
        base.name: base
        for base in (
            Base(
                profile=TINY,
                source=_TINY_SOURCE,
                dtype="float32",
                sampling=_TINY_SAMPLING,
                presets={
                    # what a name means is read from the text; what is drawn of it is left to the base, so that styles reach it too
                    LoraKind.CHARACTER: TrainingPreset(preservation_share=0.15, targets=TEXT_TARGETS),
                    LoraKind.STYLE: TrainingPreset(),
                    LoraKind.MOTION: TrainingPreset(),
                    LoraKind.EFFECT: TrainingPreset(mirror=True, control=EDGES),
                },
                fast=replace(_TINY_SAMPLING, num_inference_steps=TINY.steps(Quality.FAST)),
                second_stage=SecondStage(sigmas=(0.1,), guidance_scale=1.0),  # what it draws at twice its size gets worse from higher up
                upsampler=HubFile(_TINY_SOURCE, subfolder="upsampler"),
                memory="1 GB of ordinary memory, no GPU",
            ),
            Base(
                profile=LTX_2_3,
                source="diffusers/LTX-2.3-Diffusers",
                dtype="bfloat16",
                likeness="facebook/dinov2-base",
                sampling=_LTX_SAMPLING,
                # first frame: Lightricks' i2v and in-context recipes, reference ltx-2.3.md §1.4
                presets={
                    LoraKind.CHARACTER: TrainingPreset(first_frame_probability=0.5, gradient_checkpointing=True),
                    LoraKind.STYLE: TrainingPreset(first_frame_probability=0.5, gradient_checkpointing=True),
                    LoraKind.MOTION: TrainingPreset(first_frame_probability=0.5, gradient_checkpointing=True),
                    LoraKind.EFFECT: TrainingPreset(mirror=True, first_frame_probability=0.2, gradient_checkpointing=True, control=EDGES),
                },
                fast=_LTX_FAST_SAMPLING,
                second_stage=SecondStage(sigmas=_DISTILLED_SIGMAS[-3:], guidance_scale=1.0, distilled=True),
                upsampler=_LTX_UPSAMPLER,
                distilled=HubFile("Lightricks/LTX-2.3", filename="ltx-2.3-22b-distilled-lora-384-1.1.safetensors"),
                memory="46 GB of weights in bf16 and 24 GB for the text encoder: an 80 GB GPU",
            ),
            Base(
                profile=LTX_2_3_FAST,
                source="diffusers/LTX-2.3-Distilled-Diffusers",
                dtype="bfloat16",
                sampling=_LTX_FAST_SAMPLING,
                presets={},
                second_stage=SecondStage(sigmas=_DISTILLED_SIGMAS[-3:], guidance_scale=1.0),
                upsampler=_LTX_UPSAMPLER,
                memory="46 GB of weights in bf16 and 24 GB for the text encoder: an 80 GB GPU",
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
