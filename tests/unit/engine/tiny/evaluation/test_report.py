"""The report: the agreed keys, and a refusal where the oracle knows nothing."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.contracts.controls import Control, ControlKind
from engine.errors import InvalidConfigError
from engine.model.loader import ResidentBase
from engine.tiny.evaluation import measure, prompts
from engine.tiny.evaluation.report import EFFECT, TAUGHT, EvaluationReport, run
from tests.support.engine import write_effect

AGREED = {
    "vae_psnr_db", "sprite_accuracy", "direction_accuracy", "identity", "drift", "style", "style_kept", "stack_identity", "stack_style",
    "motion", "edges_iou", "edges_iou_without", "weight_sweep", "seconds_per_clip", "seconds_per_step",
}  # fmt: skip


def test_report_has_the_agreed_keys() -> None:
    """`--json` prints the keys others rely on, rounded."""
    report = EvaluationReport(
        vae_psnr_db=31.23456, sprite_accuracy=0.9, direction_accuracy=0.8, identity=0.75, drift=0.1, style=0.8,
        style_kept=0.9, stack_identity=0.6, stack_style=0.7, stack_weights={"zoko": 1.5}, motion=0.8, motion_without=0.0,
        edges_iou=0.7, edges_iou_without=0.2, weight_sweep={"0.00": 0.0, "1.00": 0.75}, weight_zero_is_base=True, seconds_per_clip=0.6,
        seconds_per_step=0.11, following={}, oracle={}, training_seconds={},
    )  # fmt: skip
    assert set(report.as_dict()) >= AGREED
    assert report.as_dict()["vae_psnr_db"] == 31.2346
    assert "weight_sweep" in report.table()


def test_run_refuses_bases_of_another_world(tmp_path: Path) -> None:
    """The oracle reads the tiny world only, so another base is refused before anything is rendered."""
    other: Any = SimpleNamespace(base=SimpleNamespace(name="ltx-2.3"))
    with pytest.raises(InvalidConfigError):
        run(other, out=tmp_path)


def test_run_measures_everything_and_leaves_its_pictures(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One prompt of each sort, LoRAs of chance: every figure is there, and a LoRA of weight 0 leaves the base's frames to the bit."""
    for name in ("character_scenes", "style_scenes", "motion_scenes", "guided_scenes", "ordinary_scenes"):
        scenes = getattr(prompts, name)
        monkeypatch.setattr(prompts, name, lambda *values, _scenes=scenes: _scenes(*values)[:1])
    monkeypatch.setattr("engine.tiny.evaluation.report.FOLLOWING_PROMPTS", 1)
    monkeypatch.setattr(measure, "reconstruction_db", partial(measure.reconstruction_db, count=2))
    monkeypatch.setattr(measure, "oracle_accuracy", partial(measure.oracle_accuracy, count=1))
    edges = Control(kind=ControlKind.EDGES)
    uses = [write_effect(tmp_path / f"{name}.safetensors", tiny, edges if name == EFFECT else None, kind) for name, kind in TAUGHT.items()]
    report = run(tiny, uses, tmp_path / "out", seeds=(0,))
    assert set(report) >= AGREED
    assert report["weight_zero_is_base"] is True
    assert set(report["weight_sweep"]) == {"0.00", "0.25", "0.50", "0.75", "1.00"}
    assert report["stack_weights"] == {"zoko": 1.5, "dusk": 1.0}
    pictures = {path.stem for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {"base", "identity", "drift", "style", "stack", "motion", "edges", "sweep"}
