"""From what a clip is made of to the call of the pipeline that makes it. One branch per mode; the loop itself is diffusers'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import SampleConfig
from engine.contracts.controls import Control
from engine.contracts.generation import Fit, GenerationMode
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.control.condition import check_downscale
from engine.control.extract import extractor_of, guiding_frames
from engine.data.media import load_picture
from engine.data.videos import Frames, check_clip, fit_picture, read_clip
from engine.errors import EffectMissingError, GuideMissingError, InvalidConfigError, VideoTooShortError
from engine.lora_file import read_header
from engine.model.adapters import LoadedUse
from engine.model.loader import PipelineKind, ResidentBase, given_frames, pack_latents, reference_frames, to_pixels, unpack_latents
from engine.sample.noise import StartNoise, start_noise
from engine.sample.schedule import SamplingPlan


@dataclass(frozen=True)
class Start:
    """Everything about one denoising that depends on the mode."""

    pipeline: PipelineKind
    arguments: dict[str, Any] = field(default_factory=dict)
    num_inference_steps: int | None = None  # None: the plan's
    film: Frames | None = None
    """Of an extension: the whole source, to which the new frames are appended."""

    given: int = 0
    """Frames at the start of the clip that are the source's last ones."""


def start_of(resident: ResidentBase, config: SampleConfig, planned: SamplingPlan, uses: Sequence[LoadedUse]) -> Start:
    """Read the files of `config` and prepare the call; nothing is denoised.

    Raises:
        InvalidMediaError: a picture or video cannot be used; its kinds say why.
        EffectMissingError: a guide without an effect that follows it.
        InvalidConfigError: sizes or counts do not work together.
    """
    match config.mode:
        case GenerationMode.IMAGE:
            return _from_frames(resident, config, picture_of(config))
        case GenerationMode.CONTROL:
            return _from_guide(resident, config, _control(config, control_of(uses), uses))
        case GenerationMode.EXTEND:
            return _from_end(resident, config)
        case GenerationMode.VIDEO:
            return _from_clip(resident, config, planned)
        case _:
            return _from_words(resident, config)


def from_latents(
    resident: ResidentBase, config: SampleConfig, latents: torch.Tensor, audio: torch.Tensor | None, sigmas: Sequence[float], level: float
) -> Start:
    """Denoise `latents` [1, C, f, h, w] (normalised) from the noise level `level` down through `sigmas`.

    `audio` [1, L, D] are the packed, normalised latents of its sound; None: silence, as far as the model knows.
    """
    noise = start_noise(resident, config.geometry, config.seed, config.vary, packed=True)
    sound = torch.zeros_like(noise.audio) if audio is None else audio.float().cpu()
    arguments = {
        "latents": _on(resident, level * noise.video + (1.0 - level) * pack_latents(latents.float().cpu())),
        "audio_latents": _on(resident, level * noise.audio + (1.0 - level) * sound),
        "noise_scale": 0.0,  # the noise is in already
        "sigmas": list(sigmas),
        "num_inference_steps": len(sigmas),
    }
    return Start("text", arguments, num_inference_steps=len(sigmas))


def picture_of(config: SampleConfig) -> Frames:
    """The first frame [1, H, W, 3] at the clip's size.

    Raises:
        InvalidMediaError: it is no usable picture.
    """
    assert config.image is not None
    return fit_picture(load_picture(config.image), config.geometry.width, config.geometry.height, config.fit)[None]


def require_guide(config: SampleConfig, uses: Sequence[LoadedUse]) -> None:
    """Refuse a person's stack with an effect that follows a video when there is none; previews of a training show the bare effect.

    Raises:
        GuideMissingError: so it is.
        InvalidConfigError, AdapterMissingError, AdapterInvalidError: as `control_of`.
    """
    control = control_of(uses)
    if control is not None and config.guide is None:
        raise GuideMissingError(f"An effect of this stack follows the {control.kind.value} of a video: give it one.")


def control_of(uses: Sequence[LoadedUse]) -> Control | None:
    """What the effects of a stack are guided by; None when none of them needs a guide.

    Raises:
        InvalidConfigError: two of them want different guides.
    """
    found = {control for use in uses if use.weight != 0.0 and (control := _control_in(use.path)) is not None}
    if len(found) > 1:
        raise InvalidConfigError("Two effects of this stack follow different guides: leave one out.")
    return next(iter(found), None)


def _control_in(path: Path) -> Control | None:
    header = read_header(path)
    return header.manifest.control if header.manifest is not None else Control.from_metadata(header.metadata)


def _control(config: SampleConfig, trained: Control | None, uses: Sequence[LoadedUse]) -> Control:
    """What is taken from the guide: what the effect was trained on, unless its file does not say."""
    assert config.guide is not None
    asked = config.guide.control
    if trained is None:
        if asked is None or not any(use.kind is LoraKind.EFFECT and use.weight != 0.0 for use in uses):
            raise EffectMissingError("A guiding video needs an effect LoRA that follows it: add one to the stack.")
        return Control(kind=asked)
    if asked is not None and asked is not trained.kind:
        raise InvalidConfigError(f"The effect of this stack follows {trained.kind.value}, not {asked.value}.")
    return trained


def _from_words(resident: ResidentBase, config: SampleConfig) -> Start:
    if config.vary is None:
        return Start("text")
    noise = start_noise(resident, config.geometry, config.seed, config.vary, packed=False)
    return Start("text", {"latents": _on(resident, noise.video), "audio_latents": _on(resident, noise.audio), "noise_scale": 0.0})


def _from_frames(resident: ResidentBase, config: SampleConfig, frames: Frames) -> Start:
    conditions = [given_frames(frames, resident.base.sampling.image_crf)]
    return Start("frames", {"conditions": conditions, **_varied(resident, config)})


def _from_guide(resident: ResidentBase, config: SampleConfig, control: Control) -> Start:
    """Reference tokens beside the noisy ones, and a first frame when there is a picture."""
    guide, size, rule = config.guide, config.geometry, resident.base.profile.geometry
    assert guide is not None
    check_downscale(rule, control, size.width, size.height)
    check_clip(guide.path, max_seconds=rule.max_frames / rule.fps)
    width, height = size.width // control.downscale, size.height // control.downscale
    frames = read_clip(guide.path, width, height, fps=size.fps, num_frames=size.num_frames, fit=config.fit)
    signal = guiding_frames(frames, control, size.width, size.height, extractor_of(resident, control.kind))
    tokens = resident.latent_shape(size)[2] * (height // rule.spatial_compression) * (width // rule.spatial_compression)
    conditions = [given_frames(picture_of(config), resident.base.sampling.image_crf)] if config.image is not None else None
    arguments = {
        "reference_conditions": [reference_frames(signal, guide.strength)],
        "reference_downscale_factor": control.downscale,
        "conditions": conditions,
    }
    return Start("reference", arguments | _varied(resident, config, beside=tokens))


def _from_end(resident: ResidentBase, config: SampleConfig) -> Start:
    """The last frames of a clip as the first of the next one."""
    source, size, rule = config.extend, config.geometry, resident.base.profile.geometry
    assert source is not None
    film = read_clip(source.path, size.width, size.height, fps=size.fps, fit=config.fit)
    given = source.last_frames or (rule.frame_stride + 1 if len(film) > rule.frame_stride else 1)
    if (given - 1) % rule.frame_stride:
        raise InvalidConfigError(f"{given} last frames do not work: use {rule.frame_stride} k + 1, such as {rule.frame_stride + 1}.")
    if given > len(film):
        raise VideoTooShortError(f"The clip has {len(film)} frames at {size.fps:g} a second: go on from fewer than {given}.")
    if given >= size.num_frames:
        raise InvalidConfigError(f"{given} of {size.num_frames} frames would be the old clip's: ask for a longer one.")
    start = _from_frames(resident, config, film[-given:])
    return Start(start.pipeline, start.arguments, film=film, given=given)


def _from_clip(resident: ResidentBase, config: SampleConfig, planned: SamplingPlan) -> Start:
    """The clip's own latents, noised to the first level that is not above the asked strength."""
    source, size = config.restyle, config.geometry
    assert source is not None
    latents = latents_of(resident, source_frames(resident, source.path, size, config.fit))
    levels = resident.noise_levels(planned.sigmas, latents[0, 0].numel(), fixed_sigmas=planned.fixed_sigmas)
    first = next((index for index, level in enumerate(levels[:-1]) if level <= source.strength), len(levels) - 2)
    return from_latents(resident, config, latents, None, planned.sigmas[first:], levels[first])


def source_frames(resident: ResidentBase, path: Path, size: Geometry, fit: Fit) -> Frames:
    """The clip at `path` as a clip of `size`: [F, H, W, 3].

    Raises:
        InvalidMediaError: it cannot be used; its kinds say why.
    """
    rule = resident.base.profile.geometry
    check_clip(path, max_seconds=rule.max_frames / rule.fps)
    return read_clip(path, size.width, size.height, fps=size.fps, num_frames=size.num_frames, fit=fit)


def latents_of(resident: ResidentBase, frames: NDArray[np.uint8]) -> torch.Tensor:
    """Normalised latents [1, C, f, h, w], fp32, of frames [F, H, W, 3]."""
    return resident.encode_video(to_pixels(frames).unsqueeze(0))


def _varied(resident: ResidentBase, config: SampleConfig, beside: int = 0) -> dict[str, Any]:
    """Start latents for the conditioned pipelines, which take them as the VAE would decode them; none without a variation."""
    if config.vary is None:
        return {}
    noise: StartNoise = start_noise(resident, config.geometry, config.seed, config.vary, packed=True, beside=beside)
    _, _, frames, height, width = resident.latent_shape(config.geometry)
    grid = resident.denormalised(_on(resident, unpack_latents(noise.video, frames, height, width)))
    return {"latents": grid, "audio_latents": resident.unpacked_audio(_on(resident, noise.audio)), "noise_scale": 0.0}


def _on(resident: ResidentBase, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(resident.device)
