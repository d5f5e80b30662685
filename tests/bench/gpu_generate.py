"""Full-size LTX-2.3 with random weights on a GPU: seconds, memory and share of the peak, ours beside plain diffusers. Never a test.

`python tests/bench/gpu_generate.py` prints one JSON object. With CUDA: 22 billion bf16 weights made on the device, 768x512x121, the
distilled 8 steps and the 30 steps of the dev checkpoint, attention backends, regional compile. Without: 164 million fp32 weights in the
tiny base's frame, a clip of 32 x 32 x 9, the same calls; the compiler only with `--compile`.
Text states are random; nothing is read from a hub.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2Pipeline, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2VocoderWithBWE
from torch.utils.flop_counter import FlopCounterMode

from engine.config import SampleConfig
from engine.contracts.generation import Quality
from engine.contracts.geometry import Geometry
from engine.errors import InvalidConfigError
from engine.model.bases import Base, get_base
from engine.model.compiled import CompiledBlocks
from engine.model.loader import ResidentBase, load_base
from engine.model.speed import AttentionKernel
from engine.sample.generate import generate
from engine.sample.schedule import plan
from engine.tiny.architecture import build_scheduler
from tests.bench.bench_generate import write_base

FLAGS_2_3 = {"gated_attn": True, "cross_attn_mod": True, "audio_gated_attn": True, "audio_cross_attn_mod": True} | {
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
    "rope_type": "split",
    "cross_attn_timestep_scale_multiplier": 1000,
}
CONNECTORS_2_3 = {"per_modality_projections": True, "proj_bias": True, "rope_type": "split", "video_gated_attn": True} | {
    "audio_gated_attn": True,
    "video_connector_num_attention_heads": 32,
    "audio_connector_num_attention_heads": 32,
    "audio_connector_attention_head_dim": 64,
}
KERNELS = ("native", "_native_math", "_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3", "sage")
PROMPT = "a red ball on a beach"


def main() -> None:
    """Build, measure, print."""
    cuda = torch.cuda.is_available()
    if not cuda:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    resident = full_size() if cuda else mid_size()
    size = Geometry(width=768, height=512, num_frames=121, fps=24) if cuda else Geometry(width=32, height=32, num_frames=9, fps=8)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
        "load_at_start": os.getloadavg()[0],
        "parameters_billions": round(sum(p.numel() for p in resident.transformer.parameters()) / 1e9, 3),
        "geometry": f"{size.width}x{size.height}x{size.num_frames}",
        "matmul_tflops": round(matmul_rate(resident) / 1e12, 3),
    }
    for quality in (Quality.FAST, Quality.BEST):
        config = SampleConfig(prompt=PROMPT, geometry=size, seed=7, quality=quality)
        flops = flops_of(lambda c=config: plain(resident, c))
        one = {
            "ours": measured(lambda c=config: generate(resident, c), resident, flops),
            "plain": measured(lambda c=config: plain(resident, c), resident, flops),
        }
        if quality is Quality.FAST:
            one["attention"] = {name: with_kernel(resident, name, config, flops) for name in KERNELS}
            if cuda or "--compile" in sys.argv:
                one["compiled"] = compiled(resident, config, flops)
        figures[quality.value] = one
    figures["load_at_end"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=2))


def mid_size() -> ResidentBase:
    """A transformer that a CPU can bear and that is large enough for matrix products to count."""
    with tempfile.TemporaryDirectory() as folder:
        return load_base(replace(get_base("tiny"), source=write_base(Path(folder) / "base")), "cpu")


def plain(resident: ResidentBase, config: SampleConfig) -> None:
    """The bare call of diffusers' pipeline with the same settings."""
    planned = plan(resident.base, config, [])
    states, mask = (tensor.to(resident.device) for tensor in resident.prompt_states.get(PROMPT) or encoded(resident, PROMPT))
    none, none_mask = (tensor.to(resident.device) for tensor in encoded(resident, planned.negative_prompt))
    resident.pipeline_for("text", fixed_sigmas=planned.fixed_sigmas)(
        prompt_embeds=states,
        prompt_attention_mask=mask,
        negative_prompt_embeds=none,
        negative_prompt_attention_mask=none_mask,
        generator=torch.Generator().manual_seed(config.seed),
        output_type="np",
        **planned.arguments,
    )


def encoded(resident: ResidentBase, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Text states from the cache, or from the encoder where there is one."""
    from engine.sample.prompts import prompt_states

    return resident.prompt_states.get(text) or prompt_states(resident, text)


def full_size() -> ResidentBase:
    """The 22-billion base without weights of anybody: every module made on the device at its real size."""
    # without a distilled LoRA: its file is not here, and 8 steps cost the same without it
    base: Base = replace(get_base("ltx-2.3"), distilled=None)
    with torch.device("cuda"):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        transformer = LTX2VideoTransformer3DModel(**FLAGS_2_3)
        parts = (AutoencoderKLLTX2Video(), AutoencoderKLLTX2Audio(), LTX2TextConnectors(**CONNECTORS_2_3), LTX2VocoderWithBWE())
        torch.set_default_dtype(before)
    for module in (transformer, *parts):
        module.requires_grad_(False).eval()
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, 0.0, 0.02)
    vae, audio_vae, connectors, vocoder = parts
    pipeline: Any = LTX2Pipeline(
        scheduler=build_scheduler(),
        vae=vae,
        audio_vae=audio_vae,
        text_encoder=None,
        tokenizer=None,
        connectors=connectors,
        transformer=transformer,
        vocoder=vocoder,
    )
    pipeline.set_progress_bar_config(disable=True)
    resident = ResidentBase(base=base, pipeline=pipeline, device=torch.device("cuda"), dtype=torch.bfloat16, fingerprint="random")
    config, length = connectors.config, base.sampling.max_sequence_length
    for text in (PROMPT, base.sampling.negative_prompt):
        states = torch.randn(1, length, config.caption_channels * config.text_proj_in_factor, dtype=torch.bfloat16)
        resident.prompt_states[text] = (states, torch.ones(1, length, dtype=torch.int64))
    return resident


def measured(call: Callable[[], object], resident: ResidentBase, flops: float) -> dict[str, float]:
    """Seconds of the second call (of the processor, on a CPU), peak memory, and the rate of the transformer's products."""
    call()
    if resident.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    clock = time.perf_counter if resident.device.type == "cuda" else time.process_time  # a CPU may be shared
    began = clock()
    call()
    if resident.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = clock() - began
    peak = torch.cuda.max_memory_allocated() / 2**30 if resident.device.type == "cuda" else 0.0
    return {"seconds": round(seconds, 3), "peak_gib": round(peak, 1), "tflops": round(flops / seconds / 1e12, 3)}


def with_kernel(resident: ResidentBase, name: str, config: SampleConfig, flops: float) -> dict[str, Any]:
    """The same with another attention kernel where attention has no mask; why not, where it does not run."""
    try:
        there = replace(resident, kernel=AttentionKernel(resident.transformer, name))
    except InvalidConfigError as error:
        return {"not_here": str(error)}
    return measured(lambda: generate(there, config), resident, flops)


def compiled(resident: ResidentBase, config: SampleConfig, flops: float) -> dict[str, float]:
    """The same with every block compiled and slots for LoRAs in it; what compiling took stands beside it."""
    there = replace(resident, compiled=CompiledBlocks(resident.transformer))
    began = time.perf_counter()
    generate(there, config)
    first_s = time.perf_counter() - began
    return {**measured(lambda: generate(there, config), resident, flops), "first_call_seconds": round(first_s, 1)}


def flops_of(call: Callable[[], object]) -> float:
    """Floating-point operations of one call, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def matmul_rate(resident: ResidentBase) -> float:
    """FLOP/s of a large matrix product in the base's dtype: the peak that can be had here."""
    cuda = resident.device.type == "cuda"
    side, clock = (8192, time.perf_counter) if cuda else (1024, time.process_time)
    one = torch.randn(side, side, device=resident.device, dtype=resident.dtype)
    best = float("inf")
    for _ in range(5):
        began = clock()
        _ = one @ one
        if cuda:
            torch.cuda.synchronize()
        best = min(best, clock() - began)
    return 2 * side**3 / best


if __name__ == "__main__":
    main()
