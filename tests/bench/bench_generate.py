"""What a render costs beside its denoising: figures for a note, never a test.

`python tests/bench/bench_generate.py [switch|overhead]` prints one JSON object.
switch: changing a stack on a resident transformer of 100 million random weights, rank 32, against one of its denoising steps and against
what a plain script does (load the pipeline, load the LoRA), in turns. overhead: `engine.sample.generate` against the bare call of
diffusers' pipeline, in turns. What many renders leave behind is asked of the real child by `bench_child_memory.py`.
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
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from diffusers import LTX2Pipeline, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

from engine.config import SampleConfig
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.model.adapters import MAX_LOADED, AdapterStack, LoadedUse, save_lora
from engine.model.bases import VIDEO_TARGETS, get_base
from engine.model.loader import ResidentBase, load_base
from engine.sample.generate import generate
from tests.support.contracts import manifest

SIZE = Geometry(width=32, height=32, num_frames=9, fps=8)
PAIRS = 12


def main(wanted: list[str]) -> None:
    """Measure what is asked for, or everything, then print."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {"switch": switch, "overhead": overhead}
    figures: dict[str, Any] = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "load_at_start": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted or parts:
            figures[name] = parts[name](Path(folder))
    figures["load_at_end"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=2))


def switch(folder: Path) -> dict[str, Any]:
    """Milliseconds of CPU time, so that a busy machine does not count."""
    base = write_base(folder / "base")
    resident = load_base(replace(get_base("tiny"), source=base), "cpu")
    uses = [write_lora(folder / f"{index}.safetensors", resident, index, rank=32) for index in range(MAX_LOADED + 4)]
    stack, config = AdapterStack(resident), SampleConfig(prompt="a red ball", geometry=SIZE, num_inference_steps=8)
    step_s = [timed(lambda: generate(resident, config, uses[:1])) / 8 for _ in range(3)]
    warm, shelved, reloaded = [], [], []
    for turn in range(PAIRS):
        one, other = uses[turn % 2], uses[1 - turn % 2]
        enter(stack, one)
        warm.append(timed(lambda use=other: enter(stack, use)))
        for use in uses[2 : 2 + MAX_LOADED]:  # pushes both off the device, not off the shelf
            enter(stack, use)
        shelved.append(timed(lambda use=one: enter(stack, use)))
        if turn % 4 == 0:
            reloaded.append(timed(lambda use=other: plain(base, use)))
    step = median(step_s)
    return {
        "parameters_millions": round(sum(p.numel() for p in resident.transformer.parameters() if "lora" not in str(p)) / 1e6),
        "step_ms": ms(step),
        "warm_switch_ms": ms(median(warm)),
        "warm_switch_share_of_step": round(median(warm) / step, 3),
        "switch_from_shelf_ms": ms(median(shelved)),
        "reloading_the_pipeline_ms": ms(median(reloaded)),
        "reloading_share_of_step": round(median(reloaded) / step, 1),
    }


def overhead(folder: Path) -> dict[str, Any]:
    """CPU seconds of a clip with one LoRA, ours and bare, in turns; the bare call encodes its prompt, ours has it cached or not."""
    resident = load_base(get_base("tiny"), "cpu")
    use = write_lora(folder / "a.safetensors", resident, 1, rank=16)
    pipeline: Any = LTX2Pipeline.from_pretrained(resident.base.source, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(use.path))
    sampling = resident.base.sampling
    config = SampleConfig(prompt="a red ball on a beach", geometry=SIZE, seed=7)

    def bare() -> None:
        pipeline(
            prompt=config.prompt,
            negative_prompt="",
            width=32,
            height=32,
            num_frames=9,
            frame_rate=8.0,
            num_inference_steps=sampling.num_inference_steps,
            guidance_scale=sampling.guidance_scale,
            max_sequence_length=sampling.max_sequence_length,
            **sampling.pipeline_kwargs,
            generator=torch.Generator().manual_seed(7),
            output_type="np",
        )

    def ours(*, cached: bool) -> None:
        if not cached:
            resident.prompt_states.clear()
        generate(resident, config, [use])

    bare()
    ours(cached=False)
    plain_s, cached_s, fresh_s = [], [], []
    for _ in range(PAIRS):
        plain_s.append(timed(bare))
        cached_s.append(timed(lambda: ours(cached=True)))
        plain_s.append(timed(bare))
        fresh_s.append(timed(lambda: ours(cached=False)))
    bare_s = median(plain_s)
    return {
        "bare_ms": ms(bare_s),
        "ours_ms": ms(median(cached_s)),
        "ours_new_prompt_ms": ms(median(fresh_s)),
        "overhead": round(median(cached_s) / bare_s - 1, 4),
        "overhead_new_prompt": round(median(fresh_s) / bare_s - 1, 4),
    }


def write_base(folder: Path) -> Path:
    """The tiny base with a transformer of about 100 million random weights."""
    pipeline: Any = LTX2Pipeline.from_pretrained(get_base("tiny").source, dtype=torch.float32)
    heads, head_dim, layers = 12, 64, 10
    torch.manual_seed(0)
    sizes = {
        "num_attention_heads": heads,
        "attention_head_dim": head_dim,
        "cross_attention_dim": heads * head_dim,
        "audio_num_attention_heads": heads,
        "audio_cross_attention_dim": heads * pipeline.transformer.config.audio_attention_head_dim,
        "num_layers": layers,
    }
    pipeline.transformer = LTX2VideoTransformer3DModel.from_config({**pipeline.transformer.config, **sizes})
    for parameter in pipeline.transformer.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.02)
    pipeline.connectors = LTX2TextConnectors.from_config(
        {
            **pipeline.connectors.config,
            "video_hidden_dim": heads * head_dim,
            "audio_hidden_dim": heads * pipeline.transformer.config.audio_attention_head_dim,
            "video_connector_num_attention_heads": heads,
            "video_connector_attention_head_dim": head_dim,
            "audio_connector_num_attention_heads": heads,
        }
    )
    pipeline.save_pretrained(folder)
    return folder


def write_lora(path: Path, resident: ResidentBase, seed: int, rank: int) -> LoadedUse:
    """A LoRA on every video module, as a training writes it."""
    import re

    generator, pattern = torch.Generator().manual_seed(seed), re.compile("|".join(f"(?:{target})" for target in VIDEO_TARGETS))
    modules = {
        name: (
            torch.randn(rank, module.in_features, generator=generator) * 0.02,
            torch.randn(module.out_features, rank, generator=generator) * 0.02,
        )
        for name, module in resident.transformer.named_modules()
        if pattern.fullmatch(name)
    }
    save_lora(path, modules, manifest(rank=rank), torch.float32)
    return LoadedUse(path, path.stem, 1.0, None, LoraKind.CHARACTER)


def enter(stack: AdapterStack, use: LoadedUse) -> None:
    """One switch there and back, as a render makes it."""
    with stack.applied([use]):
        pass


def plain(base: Path, use: LoadedUse) -> None:
    """What a script does between two clips."""
    pipeline: Any = LTX2Pipeline.from_pretrained(base, dtype=torch.float32)
    pipeline.load_lora_weights(str(use.path))


def timed(call: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    call()
    return time.process_time() - began


def ms(seconds: float) -> float:
    """Milliseconds, to a tenth."""
    return round(seconds * 1000, 1)


if __name__ == "__main__":
    main(sys.argv[1:])
