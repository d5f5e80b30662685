"""Loading a base once and speaking to it: text features, latents, velocities. The only file that names LTX classes.

Everything above works with `ResidentBase` and cannot tell a 5-million-parameter base from a 22-billion one.
Shapes: B batch, C latent channels, f/h/w latent frames, height, width, N = f*h*w packed tokens, L text tokens.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    LTX2ConditionPipeline,
    LTX2InContextPipeline,
    LTX2Pipeline,
)
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.pipeline_ltx2 import calculate_shift
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition
from huggingface_hub import hf_hub_download
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.controls import ControlModels
from engine.contracts.geometry import Geometry
from engine.contracts.speed import SpeedOptions
from engine.errors import BaseUnavailableError
from engine.model.bases import Base
from engine.model.compiled import CompiledBlocks
from engine.model.lora_layers import LoraLayers
from engine.model.lora_weights import LoraShelf
from engine.model.memory import release_cached
from engine.model.speed import AttentionKernel, RestingEncoder, rests

PipelineKind = Literal["text", "frames", "reference"]
"""From words alone; with given frames at the start; with reference tokens, and frames if wanted."""

_PIPELINES: Final[Mapping[PipelineKind, Any]] = {"text": LTX2Pipeline, "frames": LTX2ConditionPipeline, "reference": LTX2InContextPipeline}

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FINGERPRINT_BYTES: Final = 1 << 20
_DEFAULTS: Final = SpeedOptions()


@dataclass(frozen=True)
class TextFeatures:
    """What the transformer reads of captions: connector outputs.

    `video` [B, L, D], `audio` [B, L, D_audio], `mask` [B, L] with 1 for tokens that are read.
    """

    video: torch.Tensor
    audio: torch.Tensor
    mask: torch.Tensor

    def to(self, device: torch.device) -> TextFeatures:
        """The same features on `device`."""
        return TextFeatures(self.video.to(device), self.audio.to(device), self.mask.to(device))


@dataclass(frozen=True, eq=False)
class ResidentBase:
    """A base model in memory, eval mode, nothing trainable.

    `pipeline` is a complete `LTX2Pipeline`; sampling calls it, training uses the methods below.
    `fingerprint` changes when the weights do; caches of latents and text features are keyed by it.
    """

    base: Base
    pipeline: Any
    device: torch.device
    dtype: torch.dtype
    fingerprint: str
    loaded_adapters: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """LoRA files on the device, sha256 -> adapter name; kept by `engine.model.adapters` for the next render."""

    shelf: LoraShelf = field(default_factory=LoraShelf)
    """LoRA files in host memory, read, checked and converted."""

    prompt_states: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=OrderedDict)
    """Text encoder states and mask by text, on the CPU, least recently used first; kept by `engine.sample.generate`."""

    pipelines: dict[tuple[PipelineKind, bool], Any] = field(default_factory=dict)
    """Kept by `pipeline_for`."""

    control_models: ControlModels = field(default_factory=ControlModels)
    """What reads depth and pose from clips."""

    extras: dict[str, Any] = field(default_factory=dict)
    """Models that few jobs need, loaded once; kept by `upsampler` and `engine.control.extract`."""

    kernel: AttentionKernel | None = None
    """Of renders; None: torch's own attention."""

    compiled: CompiledBlocks | None = None
    """The denoiser's blocks compiled for renders; None: they run as they are."""

    resting: RestingEncoder | None = None
    """The text encoder, where it gives way to the denoiser; None: it stays on the device."""

    @property
    def transformer(self) -> Any:
        """The denoiser; adapters hang on its linear layers."""
        return self.pipeline.transformer

    @cached_property
    def lora_layers(self) -> LoraLayers:
        """The layers of the denoiser that carry adapters."""
        return LoraLayers(self.transformer)

    @property
    def blocks(self) -> Sequence[torch.nn.Module]:
        """The transformer's blocks, which hold nearly all of its weights."""
        return tuple(self.transformer.transformer_blocks)

    @property
    def encoders(self) -> dict[str, torch.nn.Module]:
        """Every model but the transformer and a text encoder that makes room by itself, by its name in the pipeline."""
        others = {"transformer"} if self.resting is None else {"transformer", "text_encoder"}
        parts = self.pipeline.components.items()
        return {name: part for name, part in parts if isinstance(part, torch.nn.Module) and name not in others}

    def pipeline_for(self, kind: PipelineKind, *, fixed_sigmas: bool = False) -> Any:
        """A pipeline over the same components; nothing is loaded twice.

        With `fixed_sigmas` the noise levels it is called with are taken as they are: distilled weights and second stages were
        trained at certain levels, which the base's own scheduler would shift by the number of tokens.
        """
        key = (kind, fixed_sigmas)
        if key not in self.pipelines:
            components = dict(self.pipeline.components)
            if fixed_sigmas:
                components["scheduler"] = FlowMatchEulerDiscreteScheduler.from_config(  # type: ignore[no-untyped-call]
                    self.pipeline.scheduler.config, use_dynamic_shifting=False, shift_terminal=None
                )
            accepted = inspect.signature(_PIPELINES[kind].__init__).parameters
            pipeline: Any = _PIPELINES[kind](**{name: part for name, part in components.items() if name in accepted})
            pipeline.set_progress_bar_config(disable=True)
            self.pipelines[key] = pipeline
        return self.pipelines[key]

    def upsampler(self) -> Any:
        """The spatial latent upsampler of the base, loaded when it is first asked for.

        Raises:
            BaseUnavailableError: the base has none, or it is not here.
        """
        if "upsampler" not in self.extras:
            source = self.base.upsampler
            if source is None:
                raise BaseUnavailableError(f"{self.base.name} has no upscaler: render at the size you want.")
            try:
                model: Any = LTX2LatentUpsamplerModel.from_pretrained(
                    source.path, subfolder=source.subfolder, torch_dtype=self.dtype, use_safetensors=True
                )
            except (OSError, ValueError, KeyError) as error:
                raise BaseUnavailableError(f"The upscaler of {self.base.name} at {source.path} cannot be loaded: {error}") from error
            self.extras["upsampler"] = model.to(self.device).requires_grad_(False).eval()
        return self.extras["upsampler"]

    def distilled_lora(self) -> Path:
        """The file of the LoRA that distils this base.

        Raises:
            BaseUnavailableError: the base has none, or it is not here and cannot be fetched.
        """
        source = self.base.distilled
        if source is None or source.filename is None:
            raise BaseUnavailableError(f"{self.base.name} has no distilled LoRA: use quality best.")
        try:
            return Path(hf_hub_download(str(source.path), source.filename))
        except (OSError, ValueError) as error:
            raise BaseUnavailableError(f"The distilled LoRA of {self.base.name} is not here: use quality best.") from error

    def latent_shape(self, geometry: Geometry) -> tuple[int, int, int, int, int]:
        """Shape [1, C, f, h, w] of a clip's latents."""
        frames = (geometry.num_frames - 1) // self.pipeline.vae_temporal_compression_ratio + 1
        ratio = self.pipeline.vae_spatial_compression_ratio
        return 1, self.transformer.config.in_channels, frames, geometry.height // ratio, geometry.width // ratio

    def audio_shape(self, geometry: Geometry) -> tuple[int, int, int]:
        """Shape [1, L, D] of the packed audio latents beside a clip."""
        vae, pipeline = self.pipeline.audio_vae.config, self.pipeline
        per_second = vae.sample_rate / vae.mel_hop_length / float(pipeline.audio_vae_temporal_compression_ratio)
        bins = vae.mel_bins // pipeline.audio_vae_mel_compression_ratio
        return 1, round(geometry.num_frames / geometry.fps * per_second), vae.latent_channels * bins

    def noise_levels(self, sigmas: Sequence[float], tokens: int, *, fixed_sigmas: bool) -> list[float]:
        """The levels, 0..1 and the final 0 included, that a pipeline called with `sigmas` goes through for that many tokens."""
        scheduler = copy.deepcopy(self.pipeline_for("text", fixed_sigmas=fixed_sigmas).scheduler)
        config = scheduler.config
        shift = calculate_shift(tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift)
        scheduler.set_timesteps(sigmas=list(sigmas), device="cpu", mu=shift)
        return [float(sigma) for sigma in scheduler.sigmas]

    @torch.no_grad()
    def read_text(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Text encoder states [B, L, D] and mask [B, L] for `texts`; the transformer reads them through the connectors.

        Raises:
            OutOfMemoryError: the text encoder waited in host memory and finds no room.
        """
        if self.resting is not None:
            self.resting.come()
        states, mask, _, _ = self.pipeline.encode_prompt(
            prompt=list(texts),
            do_classifier_free_guidance=False,
            max_sequence_length=self.base.sampling.max_sequence_length,
            device=self.device,
        )
        return states, mask

    def make_room(self) -> None:
        """Before the denoiser runs: whatever only reads texts gives its place on the device back."""
        if self.resting is not None:
            self.resting.leave()

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Connector outputs for `texts`, exactly as the pipeline computes them when it samples."""
        embeds, mask = self.read_text(texts)
        video, audio, mask = self.pipeline.connectors(embeds, mask, padding_side=self.pipeline.tokenizer.padding_side)
        return TextFeatures(video, audio, mask)

    def denormalised(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, f, h, w] as the VAE decodes them, of normalised ones."""
        vae = self.pipeline.vae
        mean, std = (t.to(latents.device, latents.dtype).view(1, -1, 1, 1, 1) for t in (vae.latents_mean, vae.latents_std))
        raw: torch.Tensor = latents * std / vae.config.scaling_factor + mean
        return raw

    def normalised(self, raw: torch.Tensor) -> torch.Tensor:
        """The inverse of `denormalised`."""
        vae = self.pipeline.vae
        mean, std = (t.to(raw.device, raw.dtype).view(1, -1, 1, 1, 1) for t in (vae.latents_mean, vae.latents_std))
        latents: torch.Tensor = (raw - mean) * vae.config.scaling_factor / std
        return latents

    def unpacked_audio(self, tokens: torch.Tensor) -> torch.Tensor:
        """Audio latents [1, C, L, M] as the pipelines take and return them, of normalised packed ones [1, L, D]."""
        vae, pipeline = self.pipeline.audio_vae, self.pipeline
        raw = pipeline._denormalize_audio_latents(tokens, vae.latents_mean, vae.latents_std)  # noqa: SLF001 - diffusers has no public way
        bins = vae.config.mel_bins // pipeline.audio_vae_mel_compression_ratio
        audio: torch.Tensor = pipeline._unpack_audio_latents(raw, tokens.shape[1], num_mel_bins=bins)  # noqa: SLF001
        return audio

    def packed_audio(self, raw: torch.Tensor) -> torch.Tensor:
        """The inverse of `unpacked_audio`."""
        vae, pipeline = self.pipeline.audio_vae, self.pipeline
        packed = pipeline._pack_audio_latents(raw)  # noqa: SLF001 - diffusers has no public way
        tokens: torch.Tensor = pipeline._normalize_audio_latents(packed, vae.latents_mean, vae.latents_std)  # noqa: SLF001
        return tokens

    @torch.no_grad()
    def decode_pixels(self, raw: torch.Tensor) -> torch.Tensor:
        """Pixels [B, 3, F, H, W], about -1..1, of denormalised latents [B, C, f, h, w].

        What did not fit into the device's memory in one piece is decoded in overlapping tiles of space and time, and so is, from then
        on, everything as large.
        """
        vae = self.pipeline.vae
        raw = raw.to(self.device, vae.dtype)
        if raw.numel() < self.extras.get("tile-from", math.inf):
            try:
                return self._decode(raw)
            except torch.OutOfMemoryError:
                self.extras["tile-from"] = raw.numel()
        release_cached()
        vae.enable_tiling()
        vae.use_framewise_decoding = True
        try:
            return self._decode(raw)
        finally:
            vae.disable_tiling()
            vae.use_framewise_decoding = False

    def _decode(self, raw: torch.Tensor) -> torch.Tensor:
        pixels: torch.Tensor = self.pipeline.vae.decode(raw, None, return_dict=False)[0]
        return pixels

    def decode_video(self, raw: torch.Tensor) -> NDArray[np.float32]:
        """Frames [F, H, W, 3], 0..1, of denormalised latents [1, C, f, h, w]."""
        frames: NDArray[np.float32] = self.pipeline.video_processor.postprocess_video(self.decode_pixels(raw), output_type="np")[0]
        return frames

    @torch.no_grad()
    def decode_audio(self, latents: torch.Tensor) -> tuple[NDArray[np.float32], int]:
        """Samples [channels, N] and their rate in Hz, of audio latents [1, C, L, M] as a pipeline returns them."""
        mel = self.pipeline.audio_vae.decode(latents.to(self.device, self.pipeline.audio_vae.dtype), return_dict=False)[0]
        samples = self.pipeline.vocoder(mel)[0].float().cpu().numpy()
        return samples, int(self.pipeline.vocoder.config.output_sampling_rate)

    @torch.no_grad()
    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised latents [B, C, f, h, w], fp32, of `pixels` [B, 3, F, H, W] in -1..1; the mode, never a sample."""
        vae = self.pipeline.vae
        return self.normalised(vae.encode(pixels.to(self.device, vae.dtype)).latent_dist.mode().float())

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 matrix products around fp32 adapter weights on a bf16 base; nothing on an fp32 one."""
        if self.dtype is torch.float32:
            return nullcontext()
        return cast("AbstractContextManager[None]", torch.autocast(self.device.type, self.dtype))

    def video_coords(self, latent_frames: int, latent_height: int, latent_width: int, fps: float) -> torch.Tensor:
        """Bounds [1, 3, N, 2] of every packed token in seconds and pixels, as the pipeline computes them."""
        coords: torch.Tensor = self.transformer.rope.prepare_video_coords(
            1, latent_frames, latent_height, latent_width, self.device, fps=fps
        )
        return coords

    def velocity(
        self,
        tokens: torch.Tensor,  # [B, N, C] noisy, packed
        timestep: torch.Tensor,  # [B, N] or [B, 1], 0..1, 0 for given tokens
        sigma: torch.Tensor,  # [B], 0..1, the sample's noise level whatever is given
        text: TextFeatures,
        coords: torch.Tensor,  # [1 or B, 3, N, 2]
    ) -> torch.Tensor:
        """Predicted velocity [B, N, C] of the video alone.

        The model has no call without sound, so one silent token per sample runs beside the video with the modalities
        isolated: the video neither reads it nor sends it gradients (Lightricks train silent data without the stream).
        Noise levels are scaled to the 0..1000 that diffusers' transformer expects for `timestep` and for `sigma`.
        """
        self.make_room()
        config = self.transformer.config
        batch = tokens.shape[0]
        scale = float(config.timestep_scale_multiplier)
        silence = tokens.new_zeros(batch, 1, config.audio_in_channels, dtype=self.dtype)
        output: torch.Tensor = self.transformer(
            hidden_states=tokens.to(self.dtype),
            audio_hidden_states=silence,
            encoder_hidden_states=text.video,
            audio_encoder_hidden_states=text.audio,
            timestep=timestep * scale,
            audio_timestep=sigma * scale,
            sigma=sigma * scale,
            audio_sigma=sigma * scale,
            encoder_attention_mask=text.mask,
            audio_encoder_attention_mask=text.mask,
            video_coords=coords.expand(batch, -1, -1, -1),
            audio_num_frames=1,
            isolate_modalities=True,
            use_cross_timestep=bool(self.base.sampling.pipeline_kwargs.get("use_cross_timestep", True)),
            return_dict=False,
        )[0]
        return output


def given_frames(frames: NDArray[np.uint8], crf: int | None) -> Any:
    """Condition of the `frames` and `reference` pipelines: the clip starts with `frames` [F, H, W, 3], already at its size.

    `crf` is the H.264 quality that a single frame is put through first, as in training.
    """
    return LTX2VideoCondition(frames=frames.copy(), index=0, strength=1.0, crf=crf)


def reference_frames(frames: NDArray[np.uint8], strength: float) -> Any:
    """Condition of the `reference` pipeline: clean tokens of `frames` [F, h, w, 3] beside the noisy ones."""
    return LTX2ReferenceCondition(frames=[Image.fromarray(frame) for frame in frames], strength=strength)


def to_pixels(frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> torch.Tensor:
    """[3, F, H, W] in -1..1 of frames [H, W, 3]."""
    clip = torch.from_numpy(np.stack(tuple(frames)))  # [F, H, W, 3]
    return clip.permute(3, 0, 1, 2).float().div_(127.5).sub_(1.0)


def pack_latents(latents: torch.Tensor) -> torch.Tensor:
    """[B, C, f, h, w] to tokens [B, f*h*w, C], ordered by frame, row, column as the transformer reads them."""
    return latents.flatten(2).transpose(1, 2)


def unpack_latents(tokens: torch.Tensor, latent_frames: int, latent_height: int, latent_width: int) -> torch.Tensor:
    """The inverse of `pack_latents`."""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, latent_frames, latent_height, latent_width)


def pick_device(wanted: str = "auto") -> torch.device:
    """`wanted`, or the GPU when there is one."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_base(
    base: Base,
    device: str = "auto",
    source: Path | str | None = None,
    control_models: ControlModels | None = None,
    speed: SpeedOptions = _DEFAULTS,
    *,
    transformer_waits: bool = False,
) -> ResidentBase:
    """Load all components of `base` onto `device`; `source` overrides where its weights are read from.

    `control_models` are only named here, and loaded when something is guided by depth or pose. A transformer that `waits` stays on the
    host: it is larger than one device, and comes in parts when a training begins.

    Raises:
        BaseUnavailableError: the weights are not here, or are not a pipeline of this kind.
        InvalidConfigError: `speed` asks for what this machine does not have.
    """
    where = source or base.source
    if isinstance(where, Path) and not (where / "model_index.json").is_file():
        raise BaseUnavailableError(f"The weights of {base.name} are not at {where}; put a diffusers pipeline folder there.")
    target, dtype = pick_device(device), DTYPES[base.dtype]
    try:
        pipeline: Any = LTX2Pipeline.from_pretrained(where, dtype=dtype, use_safetensors=True)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError) as error:
        raise BaseUnavailableError(f"The weights of {base.name} at {where} cannot be loaded: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    resting = RestingEncoder(pipeline.text_encoder, target) if rests(speed.text_encoder, pipeline.components, target) else None
    waiting = {"transformer"} if transformer_waits else set()
    if resting is not None:
        waiting.add("text_encoder")
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            component.requires_grad_(False).eval()
            if name not in waiting:
                component.to(target)
    return ResidentBase(
        base=base,
        pipeline=pipeline,
        device=target,
        dtype=dtype,
        fingerprint=_fingerprint(base, where),
        control_models=control_models or ControlModels(),
        kernel=AttentionKernel(pipeline.transformer, speed.attention),
        compiled=CompiledBlocks(pipeline.transformer) if speed.compile_blocks else None,
        resting=resting,
    )


def _fingerprint(base: Base, where: Path | str) -> str:
    """A short hash that changes with the weights: revision, file names, sizes, and the head and tail of each file."""
    digest = hashlib.sha256(f"{base.name}:{base.profile.revision}:{base.dtype}".encode())
    if isinstance(where, Path) or Path(where).is_dir():
        root = Path(where)
        for file in sorted(path for path in root.rglob("*") if path.suffix in {".safetensors", ".json"}):
            size = file.stat().st_size
            digest.update(f"{file.relative_to(root).as_posix()}:{size}".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_FINGERPRINT_BYTES))
                stream.seek(-min(size, _FINGERPRINT_BYTES), os.SEEK_END)
                digest.update(stream.read(_FINGERPRINT_BYTES))
    else:
        digest.update(str(where).encode())
    return digest.hexdigest()[:16]
