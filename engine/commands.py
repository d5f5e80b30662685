"""What the shell's commands do, each from checked options to a result of plain values.

The cheap checks come first: files are judged, settings completed and LoRA headers read before torch is imported.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from engine.config import SampleConfig, TrainConfig
from engine.console import InterruptToken, progress_bars
from engine.contracts.assessment import assess
from engine.contracts.controls import Control, ControlKind
from engine.contracts.geometry import Geometry
from engine.contracts.lora import MAX_WEIGHT, LoraKind
from engine.contracts.media import GuideRule, IngestReport, ItemVerdict
from engine.contracts.provenance import AdapterTrace
from engine.data.ingest import Wanted, check_uploads, collect_folder
from engine.data.report import draw_report, lesson_of, sentence_about
from engine.errors import DatasetTooSmallError, InvalidConfigError, JobCancelledError
from engine.lora_file import read_header
from engine.model.bases import Base, get_base, list_bases
from engine.model.plan import FP8_CAPABILITY, GIB, Device, Precision, plan_training, tflop_per_step, tokens_per_step
from engine.ports import NullMetrics
from engine.sample.credentials import Credentials, load_credentials
from engine.sample.provenance import parameters_of, write_signed
from engine.sample.video import contact_sheet
from engine.train.parallel import World, launched

if TYPE_CHECKING:
    from engine.model.adapters import LoadedUse
    from engine.model.loader import ResidentBase
    from engine.ports import EventSink
    from engine.train.result import TrainedLora

Result = dict[str, Any]

_OVERRIDES: Final = (
    "evaluate_every",
    "held_out",
    "max_frames",
    "caption_dropout",
    "mirror",
    "first_frame_probability",
    "preservation_share",
    "warmup_steps",
    "weight_decay",
    "schedule",
)
"""Settings of `TrainConfig` that the preset of the kind decides unless the command line does."""

PREVIEW_SEED: Final = 7
_PREVIEW_MAX_BYTES: Final = 100 * 1024 * 1024
_PREVIEWS: Final = {
    LoraKind.CHARACTER: "walking left on a beach",
    LoraKind.STYLE: "a red robot walking right in a forest",
    LoraKind.MOTION: "a red robot in a forest",
    LoraKind.EFFECT: "a red robot in a forest",
}


def train(options: argparse.Namespace, console: Console) -> Result:
    """Check the data, train, write the LoRA and leave a run folder with metrics, loss curve and previews.

    Raises:
        EngineError: The data, the settings or a checkpoint cannot be used, or training failed.
        JobCancelledError: Ctrl-C; a checkpoint was written.
    """
    base = get_base(options.base)
    config = train_config(base, options)
    if options.out.suffix != ".safetensors":
        raise InvalidConfigError(f"{options.out} must end in .safetensors.")
    folder: Path = options.run_folder or options.out.with_suffix(".run")
    folder.mkdir(parents=True, exist_ok=True)
    with launched(options.device) as world:
        return _trained(base, config, folder, options, console, world)


def _trained(base: Base, config: TrainConfig, folder: Path, options: argparse.Namespace, console: Console, world: World) -> Result:
    """One training, of this process or of several."""
    world.share(config.batch_size)
    report = world.main_does(lambda: _checked_data(base, options.data, folder / "items", config, console))
    credentials = world.main_does(lambda: load_credentials(options.credentials))
    resident = loaded(base, options.device, console, transformer_waits=True)
    from engine.train.recipe import LocalItem, build_run

    items = [
        LocalItem(Path(item.path or ""), item.media_type or "", item.filename.rpartition("/")[2], item.caption, _guide_path(report, item))
        for item in report.accepted
    ]
    started, stop = time.monotonic(), InterruptToken()
    with progress_bars(console, shown=not options.json) as sink, stop.listening():
        with build_run(resident, config, items, folder, sink, stop, NullMetrics(), options.resume, world=world) as run:
            try:
                while not run.finished:
                    run.step()
            except JobCancelledError as error:
                world.main_does(run.save_checkpoint)
                raise JobCancelledError(f"Stopped at step {run.steps_done}; the same command with --resume goes on.") from error
            trained = world.main_does(run.finish)
            # before the base is taken apart again
            preview = _preview(resident, trained, config, world.own_folder(folder), credentials, sink)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        world.main_does(lambda: shutil.copyfile(trained.path, options.out))
    return {
        "lora": str(options.out),
        "name": config.name,
        "kind": config.kind.value,
        "trigger": config.trigger,
        "steps": trained.manifest.steps,
        "final_loss": trained.manifest.final_loss,
        "items": len(report.accepted),
        "refused": [{"file": item.filename, "problem": item.problem.detail} for item in report.refused if item.problem],
        "seconds": round(time.monotonic() - started, 1),
        "run_folder": str(folder),
        "metrics": str(folder / "metrics.jsonl"),
        "loss_curve": str(trained.loss_curve_png),
        "chosen_from": [score.step for score in trained.selection.scores] if trained.selection else [],
        "chart": str(trained.chart_png) if trained.chart_png else None,
        "kept": {str(step): str(path) for step, path in trained.kept.items()},
        **preview,
    }


def evaluate(options: argparse.Namespace, console: Console) -> Result:
    """Measure a stack beside the bare base and leave a report.

    Raises:
        EngineError: A LoRA cannot be used.
    """
    base = get_base(options.base)
    stack = [parse_lora(text) for text in options.lora]
    for path, _ in stack:
        read_header(path).require_base(base.profile.lora_base)
    resident = loaded(base, options.device, console)
    from engine.tiny.evaluation import report

    with progress_bars(console, shown=not options.json) as sink:
        result: Result = report.run(resident, [loaded_use(path, weight) for path, weight in stack], options.out, sink)
    return result


def plan(options: argparse.Namespace, console: Console) -> Result:  # noqa: ARG001  # the commands' common signature
    """How a training would lie in memory, from the profile of the base alone: no weights are needed.

    Raises:
        EngineError: The base is unknown, or the training fits in no way.
    """
    base = get_base(options.base)
    kind = LoraKind(options.kind)
    defaults = base.profile.training[kind].model_dump()
    asked = vars(options)  # the learning rate costs no memory, so it is no option here
    given = {key: asked[key] for key in (*defaults, "max_frames") if asked.get(key) is not None}
    config = base.completed(TrainConfig(name="plan", kind=kind, **{**defaults, **given}))
    shape, rule = base.profile.transformer, base.profile.geometry
    device = _device(options.device) if options.free_gib is None else Device("the device", int(options.free_gib * GIB))
    native = Precision.FP32 if base.dtype == "float32" else Precision.BF16
    found = plan_training(config, shape, rule, native, device)
    tflop = tflop_per_step(found, config, shape, rule)
    return {
        "base": base.name,
        "precision": found.precision.value,
        "blocks_on_the_host": found.offloads_blocks,
        "size": f"{found.width} x {found.height} x {found.frames}",
        "tokens": tokens_per_step(found, config, rule),
        "needed_gib": round(found.needed_bytes / GIB, 2),
        "free_gib": round(found.free_bytes / GIB, 2),
        "steps": config.steps,
        "tflop_per_step": round(tflop, 3),
        "minutes": round(tflop * config.steps / options.tflops / 60, 1) if options.tflops else None,
        "notes": list(found.notes),
    }


def _device(name: str) -> Device:
    """What is free where `--device` points: memory of a GPU, or of this machine."""
    import torch

    from engine.model.loader import pick_device
    from engine.model.memory import device_memory

    target = pick_device(name)
    if target.type != "cuda":
        return Device("this machine", os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return Device(
        torch.cuda.get_device_name(target), device_memory(target).free, torch.cuda.get_device_capability(target) >= FP8_CAPABILITY
    )


def inspect(options: argparse.Namespace, console: Console) -> Result:
    """What a LoRA file is, from its header and the size of its weight changes.

    Raises:
        AdapterError: It is no LoRA that can be read safely.
    """
    header = read_header(options.file)
    with console.status("reading weights"):
        norms = _delta_norms(options.file, header.manifest.base if header.manifest else None)
    manifest = header.manifest.model_dump(mode="json") if header.manifest else {}
    return {
        "file": str(options.file),
        "bytes": header.size,
        "rank": header.rank,
        "modules": len(header.modules),
        "dead_modules": sum(norm == 0.0 for norm in norms.values()),
        "largest_change": round(max(norms.values()), 4),
        "made_by": manifest.get("tool", "another tool: no manifest"),
        **{key: manifest[key] for key in (*_SHOWN, "final_loss", "created_at") if key in manifest},
    }


def list_all_bases(options: argparse.Namespace, console: Console) -> Result:  # noqa: ARG001  # every command is called alike
    """Every base with its sizes, price figures and licence, and whether its weights are here."""
    return {
        "bases": [
            {
                "name": base.name,
                "title": base.profile.title,
                "available": isinstance(base.source, Path) and (base.source / "model_index.json").is_file(),
                "source": str(base.source),
                "aspects": " ".join(f"{name}={width}x{height}" for name, (width, height) in base.profile.geometry.aspects.items()),
                "fps": base.profile.geometry.fps,
                "max_frames": base.profile.geometry.max_frames,
                "needs": base.memory,
                "licence": base.profile.licence,
            }
            for base in list_bases()
        ]
    }


_SHOWN: Final = ("name", "kind", "trigger", "base", "base_revision", "steps", "learning_rate", "width", "height", "items", "seed")


def train_config(base: Base, options: argparse.Namespace) -> TrainConfig:
    """The base's defaults for the kind, with what the command line says put over them.

    Raises:
        InvalidConfigError: No name can be made of `--out`.
        pydantic.ValidationError: A value is out of its range.
    """
    kind = LoraKind(options.kind)
    overrides = {key: value for key in _OVERRIDES if (value := getattr(options, key)) is not None}
    defaults = base.profile.training[kind].model_dump()
    given = {key: value for key in defaults if (value := getattr(options, key)) is not None}
    name = options.name or re.sub(r"[^a-z0-9_-]+", "-", options.out.stem.lower()).strip("-_")[:16]
    if len(name) < 2:
        raise InvalidConfigError(f"No name can be made of {options.out.name}: give one with --name.")
    return TrainConfig(
        name=name,
        kind=kind,
        trigger=options.trigger,
        control=_control(base, kind, options),
        seed=options.seed,
        checkpoint_every=options.checkpoint_every,
        preview_every=options.preview_every,
        preview_prompt=options.preview_prompt or _PREVIEWS[kind],
        preview_seed=PREVIEW_SEED,
        **{**defaults, **given, **overrides},
    )


def _control(base: Base, kind: LoraKind, options: argparse.Namespace) -> Control | None:
    """What the command line says about the guide; None leaves it to the base's preset of the kind."""
    if options.control is None and options.control_downscale is None:
        return None
    preset = base.presets[kind].control
    chosen = options.control or (preset.kind if preset is not None else ControlKind.EDGES)
    return Control(kind=ControlKind(chosen), downscale=options.control_downscale or 1)


def parse_lora(text: str) -> tuple[Path, float]:
    """`FILE` or `FILE:WEIGHT`; a file whose name has a colon is taken as it is.

    Raises:
        InvalidConfigError: The weight is not a number from 0 to `MAX_WEIGHT`.
    """
    path, colon, tail = text.rpartition(":")
    if not colon or Path(text).is_file():
        return Path(text), 1.0
    try:
        weight = float(tail)
    except ValueError:
        weight = -1.0
    if not 0.0 <= weight <= MAX_WEIGHT:
        raise InvalidConfigError(f"{tail!r} is not a weight: use a number from 0 to {MAX_WEIGHT:g}.")
    return Path(path), weight


def _checked_data(base: Base, sources: list[Path], folder: Path, config: TrainConfig, console: Console) -> IngestReport:
    """Judge the data before torch is loaded: the check forks, which a process with torch's threads should not."""
    rule, control = base.profile.geometry, base.completed(config).control
    guides = GuideRule.NONE if control is None else GuideRule.OPTIONAL if control.kind.computed else GuideRule.REQUIRED
    uploads = [upload for source in sources for upload in collect_folder(source)]
    with console.status(f"checking {len(uploads)} files"):
        shutil.rmtree(folder, ignore_errors=True)
        report = check_uploads(uploads, folder, wanted=Wanted(min(config.width, config.height), rule, guides))
    for item in report.refused:
        if item.problem is not None:
            console.print(f"not used: {item.filename}: {item.problem.detail}", markup=False, style="yellow")
    assessment = assess(config.kind, report.accepted)
    draw_report(report, assessment, config.name, folder.with_name("dataset.png"))
    if assessment.blocked:
        first = next((f" {item.filename}: {item.problem.detail}" for item in report.refused if item.problem), "")
        reason = next(sentence_about(finding, assessment) for finding in assessment.findings if finding.blocks)
        raise DatasetTooSmallError(f"{reason}{first}")
    for line in (lesson_of(assessment), *(sentence_about(finding, assessment) for finding in assessment.findings)):
        console.print(line, markup=False, style="yellow")
    return report


def _guide_path(report: IngestReport, item: ItemVerdict) -> Path | None:
    guide = report.guide_of(item)
    return Path(guide.path) if guide is not None and guide.path else None


def loaded(base: Base, device: str, console: Console, *, transformer_waits: bool = False) -> ResidentBase:
    """The base in memory, its transformer on the host for now if it `waits`; torch is imported here.

    Raises:
        BaseUnavailableError: its weights are not here.
    """
    with console.status(f"loading {base.name}"):
        from diffusers.utils.logging import disable_progress_bar
        from transformers.utils import logging as transformers_logging

        from engine.model.loader import load_base

        disable_progress_bar()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        return load_base(base, device, transformer_waits=transformer_waits)


def loaded_use(path: Path, weight: float) -> LoadedUse:
    """A LoRA file as the engine takes it; without a manifest it has no trigger to add."""
    from engine.model.adapters import LoadedUse

    manifest = read_header(path).manifest
    if manifest is None:
        return LoadedUse(path, path.stem, weight, None, LoraKind.STYLE)
    return LoadedUse(path, manifest.name, weight, manifest.trigger, manifest.kind)


def _preview(
    resident: ResidentBase, trained: TrainedLora, config: TrainConfig, folder: Path, credentials: Credentials, sink: EventSink
) -> Result:
    """Render what shows the finished file, as anybody would use it."""
    from engine.hashing import file_sha256
    from engine.sample.generate import generate as render

    profile = resident.base.profile
    rule = profile.geometry
    geometry = Geometry(width=config.width, height=config.height, num_frames=rule.default_frames, fps=rule.fps)
    sample = SampleConfig(prompt=trained.showing.prompt, guide=trained.showing.guide, geometry=geometry, seed=config.preview_seed)
    clip = render(resident, sample, [loaded_use(trained.path, 1.0)], sink)
    trace = AdapterTrace(name=config.name, kind=config.kind, weight=1.0, sha256=file_sha256(trained.path))
    parameters = parameters_of(sample, profile, [trace], seed=clip.seed, scenes=clip.scenes)
    limits = {"max_bytes": _PREVIEW_MAX_BYTES, "min_side": profile.posted_min_side}
    write_signed(clip, folder / "preview.mp4", parameters, credentials, **limits)
    contact_sheet(clip.frames, folder / "preview.png")
    return {"preview": str(folder / "preview.mp4"), "preview_sheet": str(folder / "preview.png")}


def _delta_norms(path: Path, base: str | None) -> dict[str, float]:
    from engine.model.adapters import read_lora

    known = {entry.name: entry for entry in list_bases()}
    return read_lora(path, known.get(base or "", list_bases()[0]).profile).delta_norms()


Command = Callable[[argparse.Namespace, Console], Result]
