"""How good the ways to make a clip are on the tiny base, through a worker's real GPU child, in the files it would post. Never a test.

`python tests/bench/bench_modes.py [extend] [storyboard] [edges] [stack] [stage] --lora zoko=FILE --lora dusk=FILE --lora edges=FILE`
prints one JSON object; a LoRA that a part needs and nobody named is trained first with the defaults of `/train`.
extend: the frame that a clip and its continuation share, in dB, and the step from old to new against the steps around it.
storyboard: the character's identity over the scenes of a film against that of single clips of the same scenes.
edges: overlap of the generated figure with the one whose outlines guide it, with the effect and without.
stack: a character and a style together, at full weights and at those the product picks.
stage: where the second stage of an upscale should begin, against the scene painted at twice the size (in process, no LoRA).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from numpy.typing import NDArray

from engine.config import SampleConfig, UpscaledVideo
from engine.contracts.bases import TINY
from engine.contracts.generation import Extension, Guide, Scene, Storyboard
from engine.contracts.geometry import Geometry
from engine.contracts.lora import AdapterUse, LoraKind
from engine.model.bases import SecondStage, get_base
from engine.model.loader import load_base
from engine.sample.generate import generate
from engine.tiny.evaluation import prompts
from engine.tiny.evaluation.held_out import train_held_out
from engine.tiny.evaluation.oracle import Clip, read
from engine.tiny.evaluation.report import TAUGHT
from engine.tiny.evaluation.scores import follows, identity, normalised, silhouette_iou, style_match
from engine.tiny.sets import write_mp4
from engine.tiny.styles import HELD_OUT_STYLES
from engine.tiny.vae import psnr_db, to_video
from engine.tiny.world import HELD_OUT_CHARACTERS, render
from tests.support.contracts import adapter_use, stored
from tests.support.real_child import frames_of, real_child, rendered, rendering
from worker import pipe
from worker.runner import Runner

SIDE = 32
GUIDE_SCALE = 16
SCENES = 4
CHARACTER, STYLE = HELD_OUT_CHARACTERS["zoko"], HELD_OUT_STYLES["dusk"]
STAGES = (
    (0.1,),
    (0.2, 0.1),
    (0.3, 0.2, 0.1),
    (0.4, 0.27, 0.13),
    (0.5, 0.33, 0.17),
    (0.6, 0.4, 0.2),
    (0.2, 0.15, 0.1, 0.05),
    (0.7, 0.5, 0.3, 0.15),
)


@dataclass
class Studio:
    """The child, LoRA files by name, and a folder of clips."""

    runner: Runner
    loras: dict[str, Path]
    folder: Path
    seeds: range
    made: int = 0

    async def post(self, prompt: str, seed: int, stack: dict[str, float], **asked: Any) -> pipe.Rendered:
        """One job; `stack` is LoRA name to weight."""
        self.made += 1
        uses = [use_of(name, weight) for name, weight in stack.items()]
        command = rendering(
            self.folder / f"clip-{self.made:05d}", [self.loras[name] for name in stack], uses, prompt=prompt, seed=seed, **asked
        )
        return await rendered(self.runner, command)

    async def clip(self, prompt: str, seed: int, stack: dict[str, float], **asked: Any) -> Clip:
        """Its frames as the base made them, out of the posted file."""
        return shrunk((await self.post(prompt, seed, stack, **asked)).clip)

    async def clips(self, texts: Sequence[str], stack: dict[str, float]) -> list[Clip]:
        """All prompts with all seeds, seeds outermost."""
        return [await self.clip(text, 1000 * seed + i, stack) for seed in self.seeds for i, text in enumerate(texts)]


def use_of(name: str, weight: float) -> AdapterUse:
    """A LoRA as a job carries it."""
    kind = TAUGHT[name]
    return adapter_use(lora_id=name, name=name, kind=kind, trigger=None if kind is LoraKind.EFFECT else name, weight=weight)


def shrunk(path: Path) -> Clip:
    """Frames of a posted clip, mean of the pixels that one pixel of the base became."""
    frames = frames_of(path).astype(np.float32)
    count, height, width, _ = frames.shape
    cells = frames.reshape(count, SIDE, height // SIDE, SIDE, width // SIDE, 3).mean((2, 4))
    return np.asarray(cells.round(), dtype=np.uint8)


async def extend(studio: Studio) -> dict[str, Any]:
    """Clips of various characters, gone on from their last frames as `/extend` does."""
    shared, steps, around = [], [], []
    for seed in studio.seeds:
        for index, (text, _) in enumerate(prompts.base_scenes(6, 40 + seed)):
            source = await studio.post(text, 100 * seed + index, {})
            film = await studio.post(text, 100 * seed + index + 50, {}, extend=Extension(video=stored()), files={"clip": source.clip})
            assert film.join_psnr is not None
            shared.append(film.join_psnr)
            frames, join = shrunk(film.clip).astype(np.float32), source.num_frames
            moved = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
            steps.append(float(moved[join - 1]))
            around.append(float(np.delete(moved, join - 1).mean()))
    return {
        "films": len(shared),
        "join_psnr_db": {"mean": fmean(shared), "least": min(shared), "share_from_30": fmean(db >= 30 for db in shared)},
        "step_at_the_join": fmean(steps),
        "steps_elsewhere": fmean(around),
    }


async def storyboard(studio: Studio) -> dict[str, Any]:
    """Films of four scenes, and single clips of the same prompts with seeds of their own."""
    films, singles, base, rerolled = [], [], [], 0
    for seed in studio.seeds:
        asked = [text for text, _ in prompts.character_scenes(CHARACTER, count=SCENES, seed=seed)]
        board = Storyboard(scenes=tuple(Scene(prompt=text) for text in asked))
        film = await studio.post("a day", 1000 * seed + 500, {"zoko": 1.0}, storyboard=board)
        rerolled += sum(scene.rerolls for scene in film.scenes)
        frames = shrunk(film.clip)
        films += [identity(scene, CHARACTER) for scene in np.split(frames, SCENES)]
        for index, text in enumerate(asked):
            singles.append(identity(await studio.clip(text, 1000 * seed + index, {"zoko": 1.0}), CHARACTER))
            base.append(identity(await studio.clip(text, 1000 * seed + index, {}), CHARACTER))
    scores = [normalised(fmean(found), fmean(base), 1.0) for found in (films, singles)]
    return {"films": len(studio.seeds), "identity_in_films": scores[0], "identity_single": scores[1]} | {
        "ratio": scores[0] / scores[1],
        "raw": [fmean(films), fmean(singles), fmean(base)],
        "rerolls": rerolled,
    }


async def edges(studio: Studio) -> dict[str, Any]:
    """Guides are clips of the true scenes, as people would bring them."""
    asked = prompts.guided_scenes()
    with_it, without = [], []
    for index, (text, scene) in enumerate(asked):
        guide = studio.folder / f"guide-{index}.mp4"
        write_mp4(render(scene, scale=GUIDE_SCALE), guide)
        truth = render(scene)
        for seed in studio.seeds:
            given = {"guide": Guide(video=stored()), "files": {"guide": guide}}
            with_it.append(silhouette_iou(await studio.clip(text, 1000 * seed + index, {"edges": 1.0}, **given), truth))
            without.append(silhouette_iou(await studio.clip(text, 1000 * seed + index, {}), truth))
    return {"clips": len(with_it), "edges_iou": fmean(with_it), "edges_iou_without": fmean(without)}


async def stack(studio: Studio) -> dict[str, Any]:
    """The figures of issue B.3 through a job: identity 0 is what the style alone gives, style 0 what the base gives."""
    asked = prompts.character_scenes(CHARACTER, STYLE)
    texts = [text for text, _ in asked]
    truth = fmean(identity(render(scene), CHARACTER, STYLE) for _, scene in asked)
    picked = {name: TINY.default_weight(TAUGHT[name], 2) for name in ("zoko", "dusk")}
    base, styled = await studio.clips(texts, {}), await studio.clips(texts, {"dusk": 1.0})
    found: dict[str, Any] = {"weights_picked": picked}
    for name, weights in {"full": {"zoko": 1.0, "dusk": 1.0}, "picked": picked}.items():
        if name == "picked" and picked == {"zoko": 1.0, "dusk": 1.0}:
            continue
        both = await studio.clips(texts, weights)
        shown, alone = (fmean(identity(clip, CHARACTER, STYLE) for clip in clips) for clips in (both, styled))
        looks, plain = (fmean(style_match(clip, STYLE) for clip in clips) for clips in (both, base))
        found[name] = {"identity": normalised(shown, alone, truth), "style": normalised(looks, plain, 1.0)}
    return found


async def stage(studio: Studio) -> dict[str, Any]:
    """Upscales of clips of known scenes, from several noise levels down."""
    resident = load_base(get_base("tiny"), "cpu")
    double = Geometry(width=2 * SIDE, height=2 * SIDE, num_frames=9, fps=8)
    found: dict[str, Any] = {}
    scenes = [entry for seed in studio.seeds for entry in prompts.base_scenes(6, 70 + seed)]
    sources = []
    for index, (_, scene) in enumerate(scenes):
        sources.append(studio.folder / f"small-{index}.mp4")
        write_mp4(render(scene, scale=GUIDE_SCALE), sources[-1])
    for sigmas in STAGES:
        there = replace(resident, base=replace(resident.base, second_stage=SecondStage(sigmas=sigmas, guidance_scale=1.0)))
        clips = [
            generate(there, SampleConfig(prompt=text, geometry=double, seed=index, upscale=UpscaledVideo(path=path))).frames
            for index, ((text, _), path) in enumerate(zip(scenes, sources, strict=True))
        ]
        truths = [render(scene, scale=4) for _, scene in scenes]
        found[" ".join(map(str, sigmas))] = {
            "psnr_db": fmean(psnr_db(video(truth), video(clip)) for truth, clip in zip(truths, clips, strict=True)),
            "follows": fmean(fmean(follows(read(clip), scene).values()) for clip, (_, scene) in zip(clips, scenes, strict=True)),
        }
    return found


def video(clip: NDArray[np.uint8]) -> Any:
    """A batch of one."""
    return to_video(clip[None])


PARTS: dict[str, tuple[Callable[[Studio], Awaitable[dict[str, Any]]], tuple[str, ...]]] = {
    "extend": (extend, ()),
    "storyboard": (storyboard, ("zoko",)),
    "edges": (edges, ("edges",)),
    "stack": (stack, ("zoko", "dusk")),
    "stage": (stage, ()),
}


async def measure(wanted: Sequence[str], loras: dict[str, Path], seeds: int, folder: Path) -> dict[str, Any]:
    """Train what is missing, then every part in turn."""
    missing = sorted({name for part in wanted for name in PARTS[part][1]} - set(loras))
    if missing:
        resident = load_base(get_base("tiny"), "cpu")
        loras |= {name: train_held_out(resident, name, TAUGHT[name], folder / name).use.path for name in missing}
    async with real_child(folder / "credentials") as runner:
        studio = Studio(runner, loras, folder, range(seeds))
        return {part: await PARTS[part][0](studio) for part in wanted}


def rounded(value: Any) -> Any:
    """For reading."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return round(value, 3) if isinstance(value, float) else value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--lora", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    loras = {name: Path(path) for name, _, path in (entry.partition("=") for entry in args.lora)}
    figures: dict[str, Any] = {"base": TINY.revision, "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        figures |= asyncio.run(measure(args.parts, loras, args.seeds, Path(folder)))
    print(json.dumps(rounded(figures | {"load_at_end": os.getloadavg()[0]}), indent=2))


if __name__ == "__main__":
    main()
