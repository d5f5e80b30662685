"""Loading a base once and speaking to it: text features, latents, velocities. The only file that names LTX classes.

Everything above works with `ResidentBase` and cannot tell a 5-million-parameter base from a 22-billion one.
Shapes: B batch, C latent channels, f/h/w latent frames, height, width, N = f*h*w packed tokens, L text tokens.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import LTX2ImageToVideoPipeline, LTX2Pipeline
from numpy.typing import NDArray

from engine.errors import BaseUnavailableError
from engine.model.bases import Base

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FINGERPRINT_BYTES: Final = 1 << 20


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

    prompt_states: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=OrderedDict)
    """Text encoder states and mask by text, on the CPU, least recently used first; kept by `engine.sample.generate`."""

    @property
    def transformer(self) -> Any:
        """The denoiser; adapters hang on its linear layers."""
        return self.pipeline.transformer

    def image_pipeline(self) -> Any:
        """The image-to-video pipeline over the same components; nothing is loaded twice."""
        pipeline: Any = LTX2ImageToVideoPipeline(**self.pipeline.components)  # type: ignore[no-untyped-call]
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> TextFeatures:
        """Connector outputs for `texts`, exactly as the pipeline computes them when it samples."""
        embeds, mask, _, _ = self.pipeline.encode_prompt(
            prompt=list(texts),
            do_classifier_free_guidance=False,
            max_sequence_length=self.base.sampling.max_sequence_length,
            device=self.device,
        )
        video, audio, mask = self.pipeline.connectors(embeds, mask, padding_side=self.pipeline.tokenizer.padding_side)
        return TextFeatures(video, audio, mask)

    @torch.no_grad()
    def encode_video(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised latents [B, C, f, h, w], fp32, of `pixels` [B, 3, F, H, W] in -1..1; the mode, never a sample."""
        vae = self.pipeline.vae
        raw = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist.mode().float()
        mean = vae.latents_mean.float().to(self.device).view(1, -1, 1, 1, 1)
        std = vae.latents_std.float().to(self.device).view(1, -1, 1, 1, 1)
        normalised: torch.Tensor = (raw - mean) * vae.config.scaling_factor / std
        return normalised

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


def load_base(base: Base, device: str = "auto", source: Path | str | None = None) -> ResidentBase:
    """Load all components of `base` onto `device`; `source` overrides where its weights are read from.

    Raises:
        BaseUnavailableError: the weights are not here, or are not a pipeline of this kind.
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
    pipeline.to(target)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.requires_grad_(False).eval()
    return ResidentBase(base=base, pipeline=pipeline, device=target, dtype=dtype, fingerprint=_fingerprint(base, where))


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
