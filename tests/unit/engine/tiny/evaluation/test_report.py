"""The report: the agreed keys, and a refusal where the oracle knows nothing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import InvalidConfigError
from engine.tiny.evaluation.report import EvaluationReport, run

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
