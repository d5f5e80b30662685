"""The `tiny` base: every component of an LTX-2.3 pipeline, built small, from the same diffusers classes and flags.

Geometry. Frames are 32x32 px, `num_frames = 4k + 1` (9 by default), 8 frames per second. The VAE compresses 8x in
space and 4x in time (first frame alone), so 9 frames are 3x4x4 = 48 latent tokens of 64 channels.

Sampling. `generation_defaults()` returns every argument `LTX2Pipeline.__call__` needs for this base: the defaults of
that method are meant for the 22B model (1024 text tokens, guidance through block 28, four kinds of guidance).

Sound. The audio branch is complete, so that all code paths of the big model run, but the base is silent by
construction: the vocoder's last layer and the audio-to-video gates are zero. The video is therefore exactly the
same whether the audio branch runs beside it or is isolated (`isolate_modalities=True`), as LoRA training does.

Sources: class arguments after the 2.3 checkpoints' configuration (flags `gated_attn`, `cross_attn_mod`,
`use_prompt_embeddings=False`, `perturbed_attn`, split RoPE, per-modality text projections, `use_cross_timestep`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import diffusers as untyped_diffusers
import torch
from diffusers.pipelines import ltx2 as untyped_ltx2
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from engine.contracts.bases import TINY
from engine.model.bases import get_base
from engine.tiny.tokenizer import VOCAB_SIZE, build_tokenizer

# neither library is typed
diffusers: Any = untyped_diffusers
ltx2: Any = untyped_ltx2

WEIGHTS_DIR: Final = Path(__file__).parent / "weights"

# Geometry of the base, by short names.
FRAME_SIZE: Final = TINY.geometry.aspects["1:1"][0]  # px, height and width of a clip
FRAMES_PER_SECOND: Final = int(TINY.geometry.fps)
NUM_FRAMES: Final = TINY.geometry.default_frames
FRAME_STEP: Final = TINY.geometry.frame_stride  # num_frames = FRAME_STEP * k + 1
MAX_NUM_FRAMES: Final = TINY.geometry.max_frames  # longest clip seen in pretraining
SPATIAL_COMPRESSION: Final = TINY.geometry.spatial_compression
LATENT_CHANNELS: Final = 64
DISPLAY_SCALE: Final = 8  # nearest-neighbour factor to the size that is posted (256 px)

_SAMPLING: Final = get_base(TINY.name).sampling
MAX_SEQUENCE_LENGTH: Final = _SAMPLING.max_sequence_length  # text tokens; a multiple of TEXT_REGISTERS

TEXT_REGISTERS: Final = 8
TRANSFORMER_LAYERS: Final = 6
HEADS: Final = 6
HEAD_DIM: Final = 32
AUDIO_HEAD_DIM: Final = 8
TEXT_DIM: Final = 64
TEXT_LAYERS: Final = 2
DECODER_WIDTH: Final = 96
_MEL_BINS: Final = 16
_AUDIO_LATENT_CHANNELS: Final = 2
_AUDIO_TOKEN_DIM: Final = _AUDIO_LATENT_CHANNELS * _MEL_BINS // 4
_FALLBACK_CAPTIONS: Final = ("a red ball rolling left on a green field", "a small robot on a beach")


def generation_defaults() -> dict[str, Any]:
    """Keyword arguments of `LTX2Pipeline.__call__` that suit this base; prompt, generator and output are added by the caller."""
    return {
        "height": FRAME_SIZE,
        "width": FRAME_SIZE,
        "num_frames": NUM_FRAMES,
        "frame_rate": float(FRAMES_PER_SECOND),
        "max_sequence_length": MAX_SEQUENCE_LENGTH,
        "num_inference_steps": _SAMPLING.num_inference_steps,
        "guidance_scale": _SAMPLING.guidance_scale,
        **_SAMPLING.pipeline_kwargs,
    }


def build_pipeline(seed: int = 0, captions: Iterable[str] = _FALLBACK_CAPTIONS) -> Any:
    """Assemble an untrained pipeline, deterministic by `seed`; `captions` train the tokenizer's merges."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipe = diffusers.LTX2Pipeline(
            scheduler=build_scheduler(),
            vae=build_video_vae(),
            audio_vae=build_audio_vae(),
            text_encoder=build_text_encoder(),
            tokenizer=build_tokenizer(captions),
            connectors=build_connectors(),
            transformer=build_transformer(),
            vocoder=build_vocoder(),
        )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def build_scheduler() -> Any:
    """Flow-matching Euler scheduler with the resolution-dependent shift of LTX-2.3."""
    return diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )


def build_transformer() -> Any:
    """The denoiser: 6 blocks of width 192 (video) and 48 (audio), RoPE scaled to a 32-px, 2-second canvas."""
    dim, audio_dim = HEADS * HEAD_DIM, HEADS * AUDIO_HEAD_DIM
    transformer = diffusers.LTX2VideoTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_DIM,
        cross_attention_dim=dim,
        vae_scale_factors=(FRAME_STEP, SPATIAL_COMPRESSION, SPATIAL_COMPRESSION),
        pos_embed_max_pos=2,
        base_height=FRAME_SIZE,
        base_width=FRAME_SIZE,
        gated_attn=True,
        cross_attn_mod=True,
        audio_in_channels=_AUDIO_TOKEN_DIM,
        audio_out_channels=_AUDIO_TOKEN_DIM,
        audio_num_attention_heads=HEADS,
        audio_attention_head_dim=AUDIO_HEAD_DIM,
        audio_cross_attention_dim=audio_dim,
        audio_scale_factor=4,
        audio_pos_embed_max_pos=2,
        audio_gated_attn=True,
        audio_cross_attn_mod=True,
        num_layers=TRANSFORMER_LAYERS,
        caption_channels=TEXT_DIM,
        rope_theta=8.0,
        rope_type="split",
        rope_double_precision=True,
        use_prompt_embeddings=False,
        perturbed_attn=True,
        cross_attn_timestep_scale_multiplier=1000,
    )
    _init_transformer(transformer)
    return transformer


@torch.no_grad()
def _init_transformer(transformer: Any) -> None:
    """Make the randomly built denoiser trainable from scratch.

    The stock tables are unit-normal, which is harmless when a checkpoint overwrites them and fatal otherwise: they
    start at zero here (gates at 0.5), the AdaLN outputs small. Audio-to-video gates and the audio output stay zero.
    """
    for name, parameter in transformer.named_parameters():
        if name.endswith(("scale_shift_table", "to_gate_logits.weight", "to_gate_logits.bias")):
            parameter.zero_()
    for block in transformer.transformer_blocks:
        for table in (block.scale_shift_table, block.audio_scale_shift_table):
            table[[2, 5, 8]] = 0.5  # gates of self-attention, feed-forward and text attention
    for module_name, module in transformer.named_modules():
        if module_name.endswith(("embed", "adaln", "scale_shift", "gate")) and hasattr(module, "linear"):
            module.linear.weight.mul_(0.02)
            module.linear.bias.zero_()
    transformer.proj_out.weight.mul_(0.1)
    transformer.proj_out.bias.zero_()
    for silent in (
        transformer.av_cross_attn_video_a2v_gate.linear,
        transformer.av_cross_attn_audio_v2a_gate.linear,
        transformer.audio_proj_out,
    ):
        silent.weight.zero_()
        silent.bias.zero_()


def build_connectors() -> Any:
    """Text connectors of 2.3: one projection and one small transformer with registers per modality."""
    return ltx2.LTX2TextConnectors(
        caption_channels=TEXT_DIM,
        text_proj_in_factor=TEXT_LAYERS + 1,
        video_connector_num_attention_heads=HEADS,
        video_connector_attention_head_dim=HEAD_DIM,
        video_connector_num_layers=2,
        video_connector_num_learnable_registers=TEXT_REGISTERS,
        video_gated_attn=True,
        audio_connector_num_attention_heads=HEADS,
        audio_connector_attention_head_dim=AUDIO_HEAD_DIM,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=TEXT_REGISTERS,
        audio_gated_attn=True,
        connector_rope_base_seq_len=64,
        rope_theta=32.0,
        rope_type="split",
        per_modality_projections=True,
        video_hidden_dim=HEADS * HEAD_DIM,
        audio_hidden_dim=HEADS * AUDIO_HEAD_DIM,
        proj_bias=True,
    )


def build_text_encoder() -> Any:
    """A random, frozen Gemma-3: its hidden states are fixed token codes that the connectors learn to read."""
    config = Gemma3Config(
        text_config={
            "vocab_size": VOCAB_SIZE,
            "hidden_size": TEXT_DIM,
            "intermediate_size": 2 * TEXT_DIM,
            "num_hidden_layers": TEXT_LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "max_position_embeddings": 1024,
            "sliding_window": 512,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
    )
    encoder: Any = Gemma3ForConditionalGeneration(config)
    encoder.eval()
    with torch.no_grad():
        encoder.get_input_embeddings().weight.normal_(0.0, TEXT_DIM**-0.5)
    encoder.requires_grad_(False)
    return encoder


def build_video_vae() -> Any:
    """Causal video VAE: 8x8 patches, then two temporal halvings; encoder residual paths only rearrange values.

    The encoder has no resnets: with group size 1 each downsampler's shortcut is a lossless unshuffle, so `conv_out`
    sees all values of a 4-frame block and can be solved in closed form (`engine.tiny.vae`).
    """
    return diffusers.AutoencoderKLLTX2Video(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(2 * LATENT_CHANNELS, 4 * LATENT_CHANNELS),
        down_block_types=("LTX2VideoDownBlock3D",) * 2,
        decoder_block_out_channels=(DECODER_WIDTH,) * 2,
        layers_per_block=(0, 0, 0),
        decoder_layers_per_block=(1, 0, 1),
        spatio_temporal_scaling=(True, True),
        decoder_spatio_temporal_scaling=(True, True),
        decoder_inject_noise=(False, False, False),
        downsample_type=("temporal", "temporal"),
        upsample_type=("temporal", "temporal"),
        upsample_residual=(False, False),
        upsample_factor=(1, 1),
        timestep_conditioning=False,
        patch_size=SPATIAL_COMPRESSION,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
        encoder_spatial_padding_mode="zeros",
        decoder_spatial_padding_mode="zeros",
        spatial_compression_ratio=SPATIAL_COMPRESSION,
        temporal_compression_ratio=FRAME_STEP,
    )


def build_audio_vae() -> Any:
    """Audio VAE of the 2.3 class; `base_channels` must equal the packed token width (statistics are stored by it)."""
    vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=_AUDIO_TOKEN_DIM,
        output_channels=2,
        ch_mult=(1, 1, 2),
        num_res_blocks=1,
        in_channels=2,
        resolution=_MEL_BINS,
        latent_channels=_AUDIO_LATENT_CHANNELS,
        mel_bins=_MEL_BINS,
    )
    with torch.no_grad():
        for parameter in vae.decoder.conv_out.parameters():
            parameter.zero_()
    return vae


def build_vocoder() -> Any:
    """Vocoder with bandwidth extension whose two output layers are zero: exact digital silence at 48 kHz."""
    vocoder = ltx2.LTX2VocoderWithBWE(
        in_channels=2 * _MEL_BINS,
        hidden_channels=8,
        upsample_kernel_sizes=[20, 32],
        upsample_factors=[10, 16],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 1, 1]],
        bwe_in_channels=2 * _MEL_BINS,
        bwe_hidden_channels=8,
        bwe_upsample_kernel_sizes=[31, 32],
        bwe_upsample_factors=[15, 16],
        bwe_resnet_kernel_sizes=[3],
        bwe_resnet_dilations=[[1, 1, 1]],
        filter_length=128,
        hop_length=80,
        window_length=128,
        num_mel_channels=_MEL_BINS,
    )
    with torch.no_grad():
        for stage in (vocoder.vocoder, vocoder.bwe_generator):
            for parameter in stage.conv_out.parameters():
                parameter.zero_()
    return vocoder


def save_pipeline(pipe: Any, folder: Path = WEIGHTS_DIR) -> None:
    """Write one diffusers pipeline folder, fp16 safetensors throughout except the text encoder.

    The text encoder stays fp32 because transformers loads the stored dtype and the pipeline runs in the encoder's.
    `pipe` is left in fp32 with its values rounded to what was written.
    """
    for name in ("vae", "audio_vae", "connectors", "transformer", "vocoder"):
        module = getattr(pipe, name)
        _cast_floats(module, torch.float16)
        module.save_pretrained(folder / name, safe_serialization=True)
        _cast_floats(module, torch.float32)
    pipe.tokenizer.backend_tokenizer.no_truncation()  # the last call's length would be saved as the tokenizer's own
    pipe.tokenizer.backend_tokenizer.no_padding()
    for name in ("text_encoder", "tokenizer", "scheduler"):
        getattr(pipe, name).save_pretrained(folder / name)
    pipe.save_config(folder)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)


def _cast_floats(module: torch.nn.Module, dtype: torch.dtype) -> None:
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
