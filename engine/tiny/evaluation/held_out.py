"""LoRAs of held-out characters, styles and motions and of the edge effect, made as the product makes them: files, `/train` defaults."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from engine.config import TrainConfig
from engine.contracts.lora import DATASET_GUIDANCE, LoraKind
from engine.model.adapters import LoadedUse
from engine.model.loader import ResidentBase
from engine.ports import EventSink, NeverCancelled, NullMetrics, NullSink
from engine.tiny.sets import write_by_name
from engine.train.recipe import LocalItem, build_run

SET_SIZE: Final = 24
GUIDED_SET_SIZE: Final = DATASET_GUIDANCE[LoraKind.EFFECT].enough
_IMAGE_PX: Final = 256


@dataclass(frozen=True)
class TrainedUse:
    """A finished LoRA, how long it took, and the mean time of an optimizer step."""

    use: LoadedUse
    seconds: float
    seconds_per_step: float


def train_held_out(
    resident: ResidentBase, name: str, kind: LoraKind, out: Path, *, seed: int = 0, sink: EventSink | None = None
) -> TrainedUse:
    """Write the training set that teaches `name` under `out` and train it with the base's own defaults.

    Motions and effects are taught by clips, the others by stills.
    """
    clips = kind in {LoraKind.MOTION, LoraKind.EFFECT}
    media: Literal["png", "mp4"] = "mp4" if clips else "png"
    count = GUIDED_SET_SIZE if kind is LoraKind.EFFECT else SET_SIZE
    files = write_by_name(name, kind, count=count, out=out / "set", size=_IMAGE_PX, media=media, seed=seed)
    media_type = "video/mp4" if clips else "image/png"
    items = [LocalItem(file, media_type, file.name, file.with_suffix(".txt").read_text(encoding="utf-8").strip()) for file in files]
    config = default_config(resident, name, kind, seed)
    started = time.monotonic()
    with build_run(resident, config, items, out / "run", sink or NullSink(), NeverCancelled(), NullMetrics(), resume=False) as run:
        stepping = 0.0
        while not run.finished:
            before, step_started = run.steps_done, time.monotonic()
            run.step()
            stepping += (time.monotonic() - step_started) * (run.steps_done - before)
        trained = run.finish()
    use = LoadedUse(path=trained.path, name=name, weight=1.0, trigger=config.trigger, kind=kind)
    return TrainedUse(use, time.monotonic() - started, stepping / run.steps_done)


def default_config(resident: ResidentBase, name: str, kind: LoraKind, seed: int = 0) -> TrainConfig:
    """What `/train` starts from for this base and kind."""
    defaults = resident.base.profile.training[kind]
    trigger = None if kind is LoraKind.EFFECT else name  # an effect is called by its guide
    return TrainConfig(name=name, kind=kind, trigger=trigger, seed=seed, **defaults.model_dump())
