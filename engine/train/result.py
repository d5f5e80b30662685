"""From a training's state to what it leaves behind: the chosen file, those that may be picked instead, and the pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from engine.contracts.events import Phase
from engine.contracts.lora import LoraManifest
from engine.contracts.selection import Fault, Selection
from engine.errors import DeadAdapterError
from engine.evaluate.chart import draw_selection
from engine.evaluate.exam import Showing
from engine.lora_file import read_header
from engine.model.adapters import delta_norm, save_lora
from engine.train.metrics import draw_loss_curve
from engine.train.parts import RunParts
from engine.train.state import TrainState


@dataclass(frozen=True)
class TrainedLora:
    """What a training leaves behind: the chosen checkpoint, and those a person may pick instead."""

    path: Path
    manifest: LoraManifest
    loss_curve_png: Path
    selection: Selection | None = None  # None: too short to have a choice
    chart_png: Path | None = None
    kept: Mapping[int, Path] = field(default_factory=dict)  # step -> file, the chosen one included
    showing: Showing = field(default_factory=Showing)  # what to render of it


def write_result(parts: RunParts, state: TrainState) -> TrainedLora:
    """Write the chosen LoRA, the loss curve and the chart of the choice into the run's folder.

    Raises:
        DeadAdapterError: the adapter changes nothing, or nothing that can be seen in a prediction.
    """
    parts.sink.progress(Phase.SAVING, 0, 1)
    if not any(delta_norm(down, up) > 0.0 for down, up in state.adapter.modules.values()):
        raise DeadAdapterError("The training changed nothing; raise the learning rate or the number of steps.")
    selection = parts.exam.selection(stopped_early=state.step < parts.config.steps)
    if selection is not None and Fault.DEAD in selection.best.faults:
        raise DeadAdapterError("What was learned has no effect on any prediction; raise the learning rate or the number of steps.")
    name = parts.config.name
    path, curve = parts.run_dir / f"{name}.safetensors", parts.run_dir / "loss_curve.png"
    draw_loss_curve(curve, list(state.losses), list(state.losses.values()), name)
    if selection is None:
        trained = TrainedLora(path, save_adapter(parts, state, path), curve, showing=parts.showing)
    else:
        kept = parts.exam.kept_files()
        shutil.copyfile(kept[selection.chosen], path)
        chart = draw_selection(parts.run_dir / "selection.png", selection, parts.exam.thumbs, state.losses, name)
        (parts.run_dir / "selection.json").write_text(selection.model_dump_json(indent=1))
        passport = read_header(path).manifest or manifest_of(parts, state)
        trained = TrainedLora(path, passport, curve, selection, chart, kept, parts.showing)
    parts.sink.progress(Phase.SAVING, 1, 1)
    return trained


def save_adapter(parts: RunParts, state: TrainState, path: Path) -> LoraManifest:
    """Write the adapter as it is, as the file anybody will get."""
    manifest = manifest_of(parts, state)
    save_lora(path, state.adapter.modules, manifest, parts.resident.dtype)
    return manifest


def manifest_of(parts: RunParts, state: TrainState) -> LoraManifest:
    """The passport of the adapter as it is."""
    config, profile = parts.config, parts.resident.base.profile
    last = list(state.losses.values())[-max(1, len(state.losses) // 10) :]
    return LoraManifest(
        name=config.name,
        kind=config.kind,
        trigger=config.trigger,
        base=profile.name,
        base_revision=profile.revision,
        rank=config.rank,
        targets=config.targets or (),
        steps=state.step,
        learning_rate=config.learning_rate,
        width=config.width,
        height=config.height,
        items=len(parts.items),
        data_sha256=parts.data_sha256,
        seed=config.seed,
        final_loss=fmean(last) if last else None,
        control=config.control,
        created_at=parts.began_at.isoformat(timespec="seconds"),
    )
