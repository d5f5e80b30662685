"""The report of `python -m engine evaluate`: figures as one object, a table, and contact sheets to look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.contracts.events import Phase
from engine.contracts.lora import LoraKind
from engine.errors import InvalidConfigError
from engine.model.adapters import LoadedUse
from engine.model.loader import ResidentBase
from engine.ports import EventSink, NullSink
from engine.tiny.evaluation import measure, prompts
from engine.tiny.evaluation.held_out import TrainedUse, train_held_out
from engine.tiny.evaluation.measure import Bench, Examples
from engine.tiny.sheets import save_sheet
from engine.tiny.styles import HELD_OUT_STYLES
from engine.tiny.world import HELD_OUT_CHARACTERS

SEEDS: Final = (0, 1, 2, 3, 4)
CHARACTER: Final = "zoko"
STYLE: Final = "dusk"
MOTION: Final = "orbit"
EFFECT: Final = "edges"
TAUGHT: Final = {CHARACTER: LoraKind.CHARACTER, STYLE: LoraKind.STYLE, MOTION: LoraKind.MOTION, EFFECT: LoraKind.EFFECT}
FOLLOWING_PROMPTS: Final = 24
_TIMED_CLIPS: Final = 5
_PASSES: Final = 13  # identity 2, drift 2, style 2, stack 3, motion 2, edges 2


@dataclass(frozen=True)
class EvaluationReport:
    """All figures of one base; scores are normalised (0 = the base, 1 = rendered ground truth), rates are shares."""

    vae_psnr_db: float
    sprite_accuracy: float  # colour and shape both right
    direction_accuracy: float
    identity: float
    drift: float
    style: float
    style_kept: float  # rate of right shapes, directions and places in styled clips
    stack_identity: float
    stack_style: float
    stack_weights: dict[str, float]  # what the base picks for LoRAs nobody weighed
    motion: float  # share of clips in which the trained motion appears
    motion_without: float
    edges_iou: float  # overlap with the figure whose outlines guide
    edges_iou_without: float
    weight_sweep: dict[str, float]  # LoRA weight -> identity
    weight_zero_is_base: bool
    seconds_per_clip: float
    seconds_per_step: float
    following: dict[str, float]
    oracle: dict[str, float]  # the oracle's own accuracy on ground truth
    training_seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The object `--json` prints, rounded for reading."""
        return {key: _rounded(value) for key, value in asdict(self).items()}

    def table(self) -> str:
        """Name and value, one per line."""
        shown = self.as_dict()
        width = max(map(len, shown))
        return "\n".join(f"{key:{width}}  {value}" for key, value in shown.items())


def run(
    resident: ResidentBase,
    uses: Sequence[LoadedUse] = (),
    out: Path = Path("evaluation"),
    sink: EventSink | None = None,
    seeds: Sequence[int] = SEEDS,
) -> dict[str, Any]:
    """Evaluate a base of the tiny world and leave table, JSON and pictures in `out`; returns the report as one object.

    A LoRA in `uses` that is called by a name in `TAUGHT` is measured; what is missing is trained first,
    with the base's own defaults.

    Raises:
        InvalidConfigError: the base does not draw the tiny world, which is all the oracle understands.
    """
    return evaluate(resident, uses, out, sink, seeds).as_dict()


def evaluate(
    resident: ResidentBase, uses: Sequence[LoadedUse], out: Path, sink: EventSink | None, seeds: Sequence[int]
) -> EvaluationReport:
    """As `run`, with the report as a value."""
    if resident.base.name != "tiny":
        raise InvalidConfigError("Evaluation knows the world of the base tiny only; look at clips of other bases yourself.")
    sink = sink or NullSink()
    out.mkdir(parents=True, exist_ok=True)
    by_name = {use.name: use for use in uses}
    trained = {name: _trained(resident, name, kind, by_name, out, sink) for name, kind in TAUGHT.items()}
    bench = Bench(resident, tuple(seeds), _counter(sink, len(seeds)))
    report = _measured(bench, trained, out)
    (out / "report.json").write_text(json.dumps(report.as_dict(), indent=2) + "\n", encoding="utf-8")
    (out / "report.txt").write_text(report.table() + "\n", encoding="utf-8")
    return report


def _measured(bench: Bench, trained: dict[str, TrainedUse], out: Path) -> EvaluationReport:
    character, style = HELD_OUT_CHARACTERS[CHARACTER], HELD_OUT_STYLES[STYLE]
    character_use, style_use = trained[CHARACTER].use, trained[STYLE].use
    seconds = measure.seconds_per_clip(bench, _TIMED_CLIPS)
    following = measure.caption_following(bench, FOLLOWING_PROMPTS)
    identity, identity_clips = measure.character_identity(bench, character, character_use)
    drift, drift_clips = measure.drift(bench, character, character_use)
    styled, style_kept, style_clips = measure.style_strength(bench, style, style_use)
    picked = [_beside(bench.resident, use) for use in (character_use, style_use)]
    stack_identity, stack_style, stack_clips = measure.stacked(bench, character, style, *picked)
    moved, moved_without, motion_clips = measure.motion_share(bench, MOTION, trained[MOTION].use)
    followed, followed_without, edge_clips = measure.edges_followed(bench, trained[EFFECT].use, out / "guides")
    sweep, exact, sweep_clips = measure.weight_sweep(bench, character, character_use)
    _draw(out, base=following.examples, identity=identity_clips, drift=drift_clips, style=style_clips, stack=stack_clips)
    _draw(out, motion=motion_clips, edges=edge_clips, sweep=sweep_clips)
    steps = [use.seconds_per_step for use in trained.values() if use.seconds_per_step > 0.0]
    return EvaluationReport(
        vae_psnr_db=measure.reconstruction_db(bench.resident),
        sprite_accuracy=following.rates["sprite"],
        direction_accuracy=following.rates["direction"],
        identity=identity,
        drift=drift,
        style=styled,
        style_kept=style_kept,
        stack_identity=stack_identity,
        stack_style=stack_style,
        stack_weights={use.name: use.weight for use in picked},
        motion=moved,
        motion_without=moved_without,
        edges_iou=followed,
        edges_iou_without=followed_without,
        weight_sweep=sweep,
        weight_zero_is_base=exact,
        seconds_per_clip=seconds,
        seconds_per_step=max(steps, default=0.0),
        following=following.rates,
        oracle=measure.oracle_accuracy(),
        training_seconds={name: use.seconds for name, use in trained.items()},
    )


def _beside(resident: ResidentBase, use: LoadedUse) -> LoadedUse:
    """`use` with the weight it gets in a stack of two."""
    return replace(use, weight=resident.base.profile.default_weight(use.kind, 2))


def _trained(resident: ResidentBase, name: str, kind: LoraKind, by_name: dict[str, LoadedUse], out: Path, sink: EventSink) -> TrainedUse:
    if name in by_name:
        return TrainedUse(by_name[name], 0.0, 0.0)
    return train_held_out(resident, name, kind, out / name, sink=sink)


def _counter(sink: EventSink, num_seeds: int) -> Callable[[], None]:
    """Reports every rendered clip of the whole evaluation."""
    per_seed = FOLLOWING_PROMPTS + _PASSES * prompts.PROMPTS
    total = _TIMED_CLIPS + num_seeds * per_seed + (len(measure.SWEEP) + 1) * prompts.PROMPTS
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        sink.progress(Phase.DENOISING, min(done, total), total)

    return advance


def _draw(out: Path, **examples: Examples) -> None:
    for name, clips in examples.items():
        save_sheet(out / f"{name}.png", [clip for _, clip in clips], [label for label, _ in clips])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, 4) if isinstance(value, float) else value
