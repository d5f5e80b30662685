"""The only denoising path: user videos, previews during training, evaluation and the shell all render here.

Frames are those of plain `LTX2Pipeline.from_pretrained(base)` with the LoRA files loaded and the same arguments, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.config import SampleConfig
from engine.contracts.events import Phase
from engine.data.media import load_picture
from engine.errors import InvalidConfigError, JobCancelledError
from engine.model.adapters import AdapterStack, LoadedUse
from engine.model.loader import ResidentBase
from engine.model.memory import guarded
from engine.ports import CancelToken, EventSink, NeverCancelled, NullSink
from engine.sample.schedule import SamplingPlan, plan
from engine.sample.video import RenderedClip

PROMPT_CACHE_BYTES: Final = 1024 * 1024 * 1024  # LTX-2.3 keeps 385 MB a prompt: the negative one and the last prompt stay


def generate(
    resident: ResidentBase,
    config: SampleConfig,
    uses: Sequence[LoadedUse] = (),
    sink: EventSink | None = None,
    cancel: CancelToken | None = None,
) -> RenderedClip:
    """Denoise one clip with the stack `uses`; the base is afterwards exactly as it was, with a training on it or not.

    All noise comes from a CPU generator seeded by `config.seed`, so a clip is the same on any machine up to the device's
    arithmetic, and no other generator is touched. Reports every denoising step to `sink` and asks `cancel` between them.

    Raises:
        InvalidConfigError: The geometry or the stack is not possible on this base.
        InvalidMediaError: `config.image` is no usable picture.
        AdapterMissingError, AdapterInvalidError, AdapterIncompatibleError: A LoRA of the stack cannot be used.
        OutOfMemoryError: The clip does not fit beside what is on the device.
        JobCancelledError: `cancel` said so.
    """
    sink, cancel = sink or NullSink(), cancel or NeverCancelled()
    planned = plan(resident.base, config, uses)
    total = planned.num_inference_steps
    sink.progress(Phase.PREPARING, 0, 1)
    _stop_if(cancel)
    prompt, negative = prompt_states(resident, planned.prompt), prompt_states(resident, planned.negative_prompt)
    pipeline, conditioning = _pipeline_for(resident, config)
    sink.progress(Phase.PREPARING, 1, 1)
    with guarded("This clip"), AdapterStack(resident).applied(uses):
        sink.progress(Phase.DENOISING, 0, total)
        output = pipeline(
            prompt_embeds=prompt[0],
            prompt_attention_mask=prompt[1],
            negative_prompt_embeds=negative[0],
            negative_prompt_attention_mask=negative[1],
            generator=torch.Generator("cpu").manual_seed(config.seed),
            output_type="np",
            callback_on_step_end=_StepReporter(sink, cancel, total),
            **conditioning,
            **planned.arguments,
        )
    audio, rate = _audio(resident, output.audio)
    return RenderedClip(_to_uint8(output.frames[0]), config.geometry.fps, audio, rate, config.seed, config.geometry)


def prompt_states(resident: ResidentBase, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Text encoder states [1, L, D] and mask [1, L] of one text on the base's device, from the cache when they are there."""
    cache = resident.prompt_states
    if text in cache:
        cache.move_to_end(text)
    else:
        with torch.no_grad():
            states, mask, _, _ = resident.pipeline.encode_prompt(
                prompt=text,
                do_classifier_free_guidance=False,
                max_sequence_length=resident.base.sampling.max_sequence_length,
                device=resident.device,
            )
        cache[text] = (states.cpu(), mask.cpu())
        while len(cache) > 1 and sum(s.nbytes + m.nbytes for s, m in cache.values()) > PROMPT_CACHE_BYTES:
            cache.popitem(last=False)
    states, mask = cache[text]
    return states.to(resident.device), mask.to(resident.device)


class _StepReporter:
    """Called by the pipeline after every denoising step."""

    def __init__(self, sink: EventSink, cancel: CancelToken, total: int) -> None:
        self._sink = sink
        self._cancel = cancel
        self._total = total
        self._since = perf_counter()

    def __call__(self, pipeline: Any, index: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002  # diffusers' signature
        now = perf_counter()
        self._sink.progress(Phase.DENOISING, index + 1, self._total, seconds_per_step=now - self._since)
        self._since = now
        _stop_if(self._cancel)
        return tensors


def _stop_if(cancel: CancelToken) -> None:
    if cancel.cancelled():
        raise JobCancelledError("The render was cancelled.")


def _pipeline_for(resident: ResidentBase, config: SampleConfig) -> tuple[Any, dict[str, Any]]:
    """The pipeline and its extra arguments: text-to-video, or image-to-video when there is a first frame."""
    if config.image is None:
        return resident.pipeline, {}
    size = (config.geometry.width, config.geometry.height)
    first = ImageOps.fit(load_picture(config.image), size, Image.Resampling.BOX)  # cut to the clip's shape, centre kept
    return resident.image_pipeline(), {"image": first, "image_crf": resident.base.sampling.image_crf}


def _to_uint8(frames: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[F, H, W, 3], 0..1 to bytes.

    Raises:
        InvalidConfigError: The frames are not numbers.
    """
    if not np.isfinite(frames).all():
        raise InvalidConfigError("Denoising ran into values that are no numbers: lower the LoRA weights or the guidance.")
    return (frames * 255.0).round().clip(0, 255).astype(np.uint8)


def _audio(resident: ResidentBase, audio: torch.Tensor | None) -> tuple[NDArray[np.float32] | None, int]:
    """Samples [channels, N] and their rate in Hz."""
    if audio is None:
        return None, 0
    rate = int(resident.pipeline.vocoder.config.output_sampling_rate)
    return audio[0].float().cpu().numpy(), rate


__all__ = ["PROMPT_CACHE_BYTES", "RenderedClip", "SamplingPlan", "generate", "prompt_states"]
