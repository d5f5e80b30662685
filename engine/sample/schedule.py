"""From what a person asked for to what the pipeline is called with. No tensors here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import SampleConfig
from engine.contracts.generation import GenerationMode, Quality
from engine.contracts.geometry import Geometry, GeometryRule
from engine.contracts.lora import LoraKind
from engine.contracts.stack import MAX_TOTAL_WEIGHT
from engine.data.captions import with_trigger
from engine.errors import BaseUnavailableError, InvalidConfigError, StackWeightsError
from engine.model.bases import Base

if TYPE_CHECKING:  # torch is heavy, and the shell checks sizes before it needs any
    from engine.model.adapters import LoadedUse


@dataclass(frozen=True)
class SamplingPlan:
    """One render, every value decided."""

    prompt: str
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    sigmas: tuple[float, ...]
    """Noise levels from 1 down as the pipeline is given them, without the final 0; its scheduler shifts them unless they are fixed."""

    fixed_sigmas: bool
    distilled: bool
    """True: the base's distilled LoRA counts beside the stack."""

    arguments: dict[str, Any]
    """Keyword arguments of the pipeline's call besides prompts, generator, callback and output type."""


def plan(base: Base, config: SampleConfig, uses: Sequence[LoadedUse]) -> SamplingPlan:
    """Fill what `config` leaves open from the base's defaults and put the stack's triggers into the prompt.

    Raises:
        InvalidConfigError: The base cannot denoise a clip of this geometry.
    """
    check_geometry(base.profile.geometry, config.geometry)
    defaults = base.sampling_for(config.quality)
    steps = config.num_inference_steps or defaults.num_inference_steps
    if defaults.sigmas is not None and steps != len(defaults.sigmas):
        raise InvalidConfigError(f"{base.name} takes {len(defaults.sigmas)} fixed steps at this quality, not {steps}.")
    guidance = defaults.guidance_scale if config.guidance_scale is None else config.guidance_scale
    return SamplingPlan(
        prompt=compose_prompt(config.prompt, uses),
        negative_prompt=config.negative_prompt or defaults.negative_prompt,
        num_inference_steps=steps,
        guidance_scale=guidance,
        sigmas=defaults.sigmas or tuple(float(sigma) for sigma in np.linspace(1.0, 1.0 / steps, steps)),
        fixed_sigmas=defaults.sigmas is not None,
        distilled=defaults is base.fast and base.distilled is not None,
        arguments={
            "width": config.geometry.width,
            "height": config.geometry.height,
            "num_frames": config.geometry.num_frames,
            "frame_rate": config.geometry.fps,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "max_sequence_length": defaults.max_sequence_length,
            **({"sigmas": list(defaults.sigmas)} if defaults.sigmas is not None else {}),
            **defaults.pipeline_kwargs,
        },
    )


def plan_second_stage(base: Base, planned: SamplingPlan) -> SamplingPlan:
    """The second stage of an upscale after a first one as `planned`.

    Raises:
        BaseUnavailableError: the base has none.
    """
    stage = base.second_stage
    if stage is None:
        raise BaseUnavailableError(f"{base.name} has no second stage: render at the size you want.")
    steps = len(stage.sigmas)
    fast = base.sampling_for(Quality.FAST)
    arguments = {**planned.arguments, **(fast.pipeline_kwargs if stage.guidance_scale <= 1.0 else {}), "num_inference_steps": steps}
    return replace(
        planned,
        num_inference_steps=steps,
        guidance_scale=stage.guidance_scale,
        sigmas=stage.sigmas,
        fixed_sigmas=True,
        distilled=stage.distilled,
        arguments={**arguments, "guidance_scale": stage.guidance_scale, "sigmas": list(stage.sigmas)},
    )


def total_steps(base: Base, config: SampleConfig) -> int:
    """Denoising steps that a render of `config` reports, re-rolled scenes left out; the last step of a restyle may come earlier."""
    defaults = base.sampling_for(config.quality)
    steps = config.num_inference_steps or defaults.num_inference_steps
    second = len(base.second_stage.sigmas) if base.second_stage is not None else 0
    match config.mode:
        case GenerationMode.STORYBOARD if config.storyboard is not None:
            return steps * len(config.storyboard.scenes)
        case GenerationMode.UPSCALE if config.upscale is not None:
            return second + (steps if config.upscale.path is None else 0)
        case _:
            return steps


def check_weights(uses: Sequence[LoadedUse]) -> None:
    """Refuse a stack that is noise. One of weight 0 takes no part: people are refused it, comparisons ask for it.

    Raises:
        StackWeightsError: the weights add up to less than 0 or to more than `MAX_TOTAL_WEIGHT`.
    """
    if not 0.0 <= sum(use.weight for use in uses) <= MAX_TOTAL_WEIGHT:
        raise StackWeightsError(f"The weights of a stack must add up to 0 or more and at most {MAX_TOTAL_WEIGHT:g}.")


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
