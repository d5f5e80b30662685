"""Wiring of one training: checks what can be checked before work begins, then puts the parts of a run together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import torch

from engine.config import TrainConfig
from engine.contracts.controls import Control
from engine.contracts.lora import DATASET_GUIDANCE
from engine.control.condition import check_downscale
from engine.control.extract import extractor_of
from engine.data.buckets import sizes
from engine.data.cache import FeatureCache
from engine.data.captioner import captioner_of
from engine.data.dataset import LocalItem, TextTable, data_sha256
from engine.data.prepare import Extract, ItemReader
from engine.errors import DatasetTooSmallError, InvalidConfigError
from engine.evaluate.exam import Exam, looks_every
from engine.evaluate.held_out import held_out_count, pick_held_out
from engine.evaluate.identity import likeness_for
from engine.model.loader import ResidentBase
from engine.model.placement import device_for_training
from engine.model.plan import UNLIMITED, Device, Precision
from engine.ports import CancelToken, EventSink, MetricLogger, NeverCancelled
from engine.train import checkpoint
from engine.train.checkpoint import Checkpoint
from engine.train.fit import Fit
from engine.train.parallel import ALONE, World
from engine.train.parts import RunParts
from engine.train.preview import Previews, showings_of
from engine.train.run import TrainingRun
from engine.train.seeds import generator_for
from engine.train.state import SIZE

__all__ = ["LocalItem", "TrainingRun", "build_run"]

_NOT_PART_OF_THE_RESULT: Final = {"checkpoint_every", "preview_every", "preview_prompt", "preview_seed"}


def build_run(
    resident: ResidentBase,
    config: TrainConfig,
    items: Sequence[LocalItem],
    run_dir: Path,
    sink: EventSink,
    cancel: CancelToken,
    metrics: MetricLogger,
    resume: bool,
    gives_way: CancelToken | None = None,
    began_at: datetime | None = None,
    shared_cache: Path | None = None,
    world: World = ALONE,
) -> TrainingRun:
    """A training of `items` on `resident`, ready for `step()`; nothing is on the base yet.

    `resume` goes on from `run_dir/checkpoint` when there is one. A preview stops between two denoising steps when
    `gives_way` says that something more urgent waits, and is tried again later. `began_at` (default: now) is the date in the
    manifest; a resumed run keeps that of its checkpoint. `shared_cache` is a folder of latents and text features that trainings of the
    same files have in common. Processes of one `world` read features and checkpoint in the same `run_dir`.

    Raises:
        DatasetTooSmallError: fewer items than the kind needs at least.
        InvalidConfigError: sizes the base cannot do, a batch the processes cannot share, or a checkpoint of another training.
        OutOfMemoryError: it fits into the device in no way.
    """
    completed = _with_looks(resident.base.completed(config), len(items))
    _require_enough(completed, items)
    _require_size(resident, completed)
    world.share(completed.batch_size)
    if completed.control is not None:
        check_downscale(resident.base.profile.geometry, completed.control, completed.width, completed.height)
    data = data_sha256(items)
    identity = _identity(resident, completed, data)
    found = checkpoint.load_latest(run_dir / "checkpoint") if resume else None
    if found is not None and found.identity != identity:
        raise InvalidConfigError("The checkpoint belongs to another training: other settings, pictures or base; start anew.")
    cache, agreed, own_folder = FeatureCache(run_dir / "cache", resident, shared_cache), world.agreed(cancel), world.own_folder(run_dir)
    aside = pick_held_out(len(items), completed.held_out or 0, generator_for(completed.seed, "held-out"))
    showings = showings_of(completed, items, aside, resident.base.profile.geometry)
    likeness = likeness_for(resident.base.likeness if completed.evaluate_every else None, resident.device)
    gives_way = gives_way or NeverCancelled()
    first_began_at = datetime.fromisoformat(found.facts["began_at"]) if found is not None else began_at or datetime.now(UTC)

    def fitted(fit: Fit) -> RunParts:
        config, rule = fit.applied_to(completed), resident.base.profile.geometry
        return RunParts(
            resident=resident,
            config=config,
            items=tuple(items),
            reader=ItemReader(
                cache=cache,
                rule=rule,
                options=tuple(sizes(config.width, config.height, rule)),
                max_frames=config.max_frames or rule.default_frames,
                kind=config.kind,
                trigger=config.trigger,
                batch_size=config.batch_size,
                mirror=bool(config.mirror),
                control=config.control,
                extract=_extractor(resident, config.control),
                captioner=captioner_of(resident),
            ),
            texts=TextTable(cache),
            data_sha256=data,
            identity=identity,
            run_dir=own_folder,
            sink=sink,
            cancel=agreed,
            metrics=metrics,
            exam=Exam(resident, config, showings, likeness, own_folder / "checkpoint", agreed, gives_way),
            world=world,
            fit=fit,
            refitted=fitted,
            saved=partial(checkpoint.load_latest, run_dir / "checkpoint"),
            began_at=first_began_at,
            kept_aside=aside,
            showing=showings[0],
            render_preview=Previews(resident, config, showings[0], own_folder, agreed, gives_way),
        )

    return TrainingRun(fitted(world.main_does(lambda: _fit(resident, completed, found, world))), found)


def _fit(resident: ResidentBase, config: TrainConfig, found: Checkpoint | None, world: World) -> Fit:
    """How the training lies in memory; one that is resumed keeps the sizes it had, wherever it began.

    Raises:
        OutOfMemoryError: it fits in no way.
    """
    size = dict(zip(SIZE, found.facts.get("size", ()), strict=False)) if found is not None else {}
    share = world.share(config.batch_size)
    asked = config.model_copy(update={**size, "batch_size": share.stop - share.start})
    device = Device("the shards", UNLIMITED) if world.shards else device_for_training(resident)
    return Fit.of(asked, resident.base.profile, Precision.FP32 if resident.dtype is torch.float32 else Precision.BF16, device)


def _with_looks(config: TrainConfig, num_items: int) -> TrainConfig:
    """`config` with how often its checkpoints are looked at and how many items are kept aside for it, where it does not say."""
    every = looks_every(config.steps) if config.evaluate_every is None else config.evaluate_every
    aside = held_out_count(num_items) if config.held_out is None else config.held_out
    if every and aside > num_items - 1:
        raise InvalidConfigError(f"{aside} of {num_items} items cannot be kept aside: nothing would be left to learn from.")
    return config.model_copy(update={"evaluate_every": every, "held_out": aside if every else 0})


def _require_enough(config: TrainConfig, items: Sequence[LocalItem]) -> None:
    minimum = DATASET_GUIDANCE[config.kind].minimum
    if len(items) < minimum:
        raise DatasetTooSmallError(f"A {config.kind} needs at least {minimum} pictures or clips, not {len(items)}; add some more.")


def _require_size(resident: ResidentBase, config: TrainConfig) -> None:
    unit = resident.base.profile.geometry.spatial_multiple
    if config.width % unit or config.height % unit:
        raise InvalidConfigError(
            f"{resident.base.name} trains at sides that are multiples of {unit} pixels, not {config.width} x {config.height}."
        )


def _extractor(resident: ResidentBase, control: Control | None) -> Extract | None:
    """What makes guides of the items themselves; None when every item has to bring its own."""
    return extractor_of(resident, control.kind) if control is not None and control.kind.computed else None


def _identity(resident: ResidentBase, config: TrainConfig, data: str) -> str:
    """Hash of all that decides the trained weights."""
    settings = config.model_dump(mode="json", exclude=_NOT_PART_OF_THE_RESULT)
    return hashlib.sha256(json.dumps([settings, data, resident.fingerprint], sort_keys=True).encode()).hexdigest()
