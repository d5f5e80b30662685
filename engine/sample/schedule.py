"""From what a person asked for to what the pipeline is called with. No tensors here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import SampleConfig
from engine.contracts.geometry import Geometry, GeometryRule
from engine.contracts.lora import LoraKind
from engine.data.captions import with_trigger
from engine.errors import InvalidConfigError
from engine.model.adapters import LoadedUse
from engine.model.bases import Base


@dataclass(frozen=True)
class SamplingPlan:
    """One render, every value decided."""

    prompt: str
    negative_prompt: str
    num_inference_steps: int
    arguments: dict[str, Any]
    """Keyword arguments of the pipeline's call besides prompts, generator, callback and output type."""


def plan(base: Base, config: SampleConfig, uses: Sequence[LoadedUse]) -> SamplingPlan:
    """Fill what `config` leaves open from the base's defaults and put the stack's triggers into the prompt.

    Raises:
        InvalidConfigError: The base cannot denoise a clip of this geometry.
    """
    check_geometry(base.profile.geometry, config.geometry)
    defaults = base.sampling
    steps = config.num_inference_steps or defaults.num_inference_steps
    guidance = defaults.guidance_scale if config.guidance_scale is None else config.guidance_scale
    return SamplingPlan(
        prompt=compose_prompt(config.prompt, uses),
        negative_prompt=config.negative_prompt or defaults.negative_prompt,
        num_inference_steps=steps,
        arguments={
            "width": config.geometry.width,
            "height": config.geometry.height,
            "num_frames": config.geometry.num_frames,
            "frame_rate": config.geometry.fps,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "max_sequence_length": defaults.max_sequence_length,
            **defaults.pipeline_kwargs,
        },
    )


def compose_prompt(prompt: str, uses: Sequence[LoadedUse]) -> str:
    """The prompt with the trigger of every active LoRA in it: styles last, the others first, in the order of the stack.

    A trigger that is there already, as a word in any case, is left where it is; a LoRA of weight 0 takes no part.
    """
    active = [(use.kind, use.trigger) for use in uses if use.trigger and use.weight != 0.0]
    for kind, trigger in reversed(active):
        if kind is not LoraKind.STYLE:
            prompt = with_trigger(prompt, kind, trigger)
    for kind, trigger in active:
        if kind is LoraKind.STYLE:
            prompt = with_trigger(prompt, kind, trigger)
    return prompt


def check_geometry(rule: GeometryRule, geometry: Geometry) -> None:
    """Refuse what the pipeline would silently round or fail on.

    Raises:
        InvalidConfigError: Sides, frame count or length are not what the base can do; the message says what it can.
    """
    multiple, stride = rule.spatial_multiple, rule.frame_stride
    if geometry.width % multiple or geometry.height % multiple:
        raise InvalidConfigError(f"{geometry.width} x {geometry.height} does not work: both sides must be multiples of {multiple}.")
    if (geometry.num_frames - 1) % stride:
        raise InvalidConfigError(f"{geometry.num_frames} frames do not work: use {stride} k + 1, such as {rule.default_frames}.")
    if geometry.num_frames > rule.max_frames:
        raise InvalidConfigError(f"{geometry.num_frames} frames are too many: use at most {rule.max_frames}.")
