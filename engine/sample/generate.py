"""The only denoising path: user videos, previews during training, evaluation and the shell all render here.

Frames are those of diffusers' own pipelines over the base with the LoRA files loaded and the same arguments, bit for bit in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import SampleConfig
from engine.contracts.generation import UPSCALE_FACTOR, GenerationMode
from engine.contracts.lora import LoraKind
from engine.data.videos import psnr
from engine.errors import InvalidConfigError
from engine.model.adapters import AdapterStack, LoadedUse
from engine.model.loader import ResidentBase
from engine.model.memory import guarded
from engine.ports import CancelToken, EventSink, IdentityJudge, NeverCancelled, NullSink
from engine.sample.progress import Progress, quiet_pipelines
from engine.sample.prompts import prompt_states
from engine.sample.schedule import SamplingPlan, check_weights, plan, plan_second_stage, total_steps
from engine.sample.sources import Start, from_latents, latents_of, source_frames, start_of
from engine.sample.storyboard import film
from engine.sample.video import RenderedClip, joined_audio, read_audio

__all__ = ["RenderedClip", "SamplingPlan", "generate", "prompt_states", "total_steps"]

MAX_UPSCALED_SIDE: Final = 2048  # pixels; positions beyond it are unknown to LTX-2.3


def generate(
    resident: ResidentBase,
    config: SampleConfig,
    uses: Sequence[LoadedUse] = (),
    sink: EventSink | None = None,
    cancel: CancelToken | None = None,
    *,
    judge: IdentityJudge | None = None,
    stills: Path | None = None,
) -> RenderedClip:
    """Denoise one clip or film with the stack `uses`; the base is afterwards exactly as it was, with a training on it or not.

    All noise comes from CPU generators seeded by `config.seed`, so a clip is the same on any machine up to the device's
    arithmetic, and no other generator is touched. Reports every denoising step to `sink` and asks `cancel` between them. Scenes of a
    storyboard are compared by `judge`; without one none is re-rolled. In the folder `stills` pictures of a long denoising appear.

    Raises:
        InvalidConfigError: The geometry, the sources or the stack do not work on this base or together.
        InvalidMediaError: A picture or video cannot be used.
        BaseUnavailableError: A part of the base that this mode needs is not here.
        AdapterMissingError, AdapterInvalidError, AdapterIncompatibleError: A LoRA of the stack cannot be used.
        OutOfMemoryError: The clip does not fit beside what is on the device.
        JobCancelledError: `cancel` said so.
    """
    check_weights(uses)
    progress = Progress(resident, sink or NullSink(), cancel or NeverCancelled(), total_steps(resident.base, config), stills)
    if config.storyboard is not None:
        return film(config, config.storyboard, lambda scene: _clip(resident, scene, uses, progress), judge, progress)
    return _clip(resident, config, uses, progress)


def _clip(resident: ResidentBase, config: SampleConfig, uses: Sequence[LoadedUse], progress: Progress) -> RenderedClip:
    """One clip of any mode but a storyboard."""
    progress.preparing(0)
    progress.check()
    planned = plan(resident.base, config, uses)
    if config.mode is GenerationMode.UPSCALE:
        return _upscaled(resident, config, planned, uses, progress)
    start = start_of(resident, config, planned, uses)
    progress.begin(start.num_inference_steps or planned.num_inference_steps, config.geometry)
    latents, audio = _denoised(resident, config, planned, start, uses, progress)
    clip = _decoded(resident, config, planned.prompt, latents, audio)
    if start.film is not None:
        return _appended(clip, start.film, start.given, config)
    if config.restyle is not None:
        return _with_sound_of(clip, config.restyle.path, config)
    return clip


def _denoised(
    resident: ResidentBase,
    config: SampleConfig,
    planned: SamplingPlan,
    start: Start,
    uses: Sequence[LoadedUse],
    progress: Progress,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [1, C, f, h, w] and audio latents [1, C, L, M], both as the VAEs decode them."""
    prompt, negative = prompt_states(resident, planned.prompt), prompt_states(resident, planned.negative_prompt)
    pipeline = resident.pipeline_for(start.pipeline, fixed_sigmas=planned.fixed_sigmas)
    progress.preparing(1)
    own = [_distilled(resident)] if planned.distilled else []
    # guides bring masks of their own, which faster kernels do not know
    kernel = resident.kernel.at_work() if resident.kernel is not None and start.pipeline != "reference" else nullcontext()
    resident.make_room()
    with guarded("This clip"), AdapterStack(resident).applied(uses, own), kernel, quiet_pipelines(), torch.inference_mode():
        progress.denoising()
        output = pipeline(
            prompt_embeds=prompt[0],
            prompt_attention_mask=prompt[1],
            negative_prompt_embeds=negative[0],
            negative_prompt_attention_mask=negative[1],
            generator=torch.Generator("cpu").manual_seed(config.seed),
            output_type="latent",
            callback_on_step_end=progress.on_step,
            **{**planned.arguments, **start.arguments},
        )
    return output.frames, output.audio


def _distilled(resident: ResidentBase) -> LoadedUse:
    """The base's own distilled LoRA.

    Raises:
        BaseUnavailableError: it is not on this machine and cannot be fetched.
    """
    return LoadedUse(resident.distilled_lora(), "distilled", 1.0, None, LoraKind.STYLE)


def _upscaled(
    resident: ResidentBase, config: SampleConfig, planned: SamplingPlan, uses: Sequence[LoadedUse], progress: Progress
) -> RenderedClip:
    """Two stages: a clip at half the size, given or denoised, then its upsampled latents denoised from a low noise level."""
    assert config.upscale is not None
    second, size = plan_second_stage(resident.base, planned), config.geometry
    if max(size.width, size.height) > MAX_UPSCALED_SIDE:
        raise InvalidConfigError(f"{size.width} x {size.height} is too large: use at most {MAX_UPSCALED_SIDE} pixels a side.")
    small = size.model_copy(update={"width": size.width // UPSCALE_FACTOR, "height": size.height // UPSCALE_FACTOR})
    upsampler = resident.upsampler()
    source, sound = config.upscale.path, None
    if source is None:
        first = config.model_copy(update={"geometry": small, "upscale": None})
        first_plan = plan(resident.base, first, uses)
        progress.begin(first_plan.num_inference_steps, small)
        latents, audio = _denoised(resident, first, first_plan, start_of(resident, first, first_plan, uses), uses, progress)
        sound = resident.packed_audio(audio)
    else:
        latents = resident.denormalised(latents_of(resident, source_frames(resident, source, small, config.fit)))
    with guarded("This clip"), torch.inference_mode():
        larger = upsampler(latents.to(resident.device, upsampler.dtype)).float()
    start = from_latents(resident, config, resident.normalised(larger), sound, second.sigmas, second.sigmas[0])
    progress.begin(second.num_inference_steps, size)
    latents, audio = _denoised(resident, config, second, start, [use.in_second_stage() for use in uses], progress)
    clip = _decoded(resident, config, planned.prompt, latents, audio)
    return clip if source is None else _with_sound_of(clip, source, config)


def _decoded(resident: ResidentBase, config: SampleConfig, prompt: str, latents: torch.Tensor, audio: torch.Tensor) -> RenderedClip:
    with guarded("This clip"), torch.inference_mode():
        frames = resident.decode_video(latents)
        samples, rate = (None, 0) if config.mute else resident.decode_audio(audio)
    return RenderedClip(_to_uint8(frames), config.geometry.fps, samples, rate, config.seed, config.geometry, prompt=prompt)


def _appended(clip: RenderedClip, source: NDArray[np.uint8], given: int, config: SampleConfig) -> RenderedClip:
    """The source and, after it, what is new."""
    assert config.extend is not None
    audio, rate = (None, 0)
    if not config.mute:
        audio, rate = joined_audio(config.extend.path, len(source) / clip.fps, clip.audio, clip.audio_rate, given / clip.fps)
    frames = np.concatenate([source, clip.frames[given:]])
    return replace(clip, frames=frames, audio=audio, audio_rate=rate, join_psnr=round(psnr(source[-1], clip.frames[given - 1]), 2))


def _with_sound_of(clip: RenderedClip, source: Path, config: SampleConfig) -> RenderedClip:
    """The clip with the sound of the clip it was made from."""
    audio, rate = (None, 0) if config.mute else read_audio(source)
    return replace(clip, audio=audio, audio_rate=rate)


def _to_uint8(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[F, H, W, 3], 0..1 to bytes.

    Raises:
        InvalidConfigError: The frames are not numbers.
    """
    if not np.isfinite(frames).all():
        raise InvalidConfigError("Denoising ran into values that are no numbers: lower the LoRA weights or the guidance.")
    return (frames * 255.0).round().clip(0, 255).astype(np.uint8)
