"""A training in the memory it is given: the same LoRA in pieces and from the host, one step down when a step runs out, no trace after."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.hooks import HookRegistry  # noqa: F401 - imported before hooks are counted

from engine.contracts.fitting import Concession
from engine.contracts.lora import LoraKind
from engine.errors import OutOfMemoryError
from engine.model.loader import ResidentBase
from engine.model.plan import UNLIMITED, Device
from engine.train import recipe
from engine.train.fit import Fit
from tests.support.engine import Recorder, checksum, run_to_end, run_until, start_run, write_clip, write_pictures

QUALITY_KEPT = (Concession.SMALLER_PIECES, Concession.RECOMPUTED, Concession.ON_THE_HOST)


@pytest.fixture
def device_that_takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[Concession]], None]:
    """Give trainings from now on the largest device on which they make exactly these concessions."""

    def fitting(wanted: set[Concession]) -> None:
        def planned(*given: Any) -> Fit:
            fit = real(*given)
            while set(fit.plan.concessions) != wanted:
                device = Device("a test device", fit.plan.needed_bytes - 1, has_eight_bits=Concession.EIGHT_BITS in wanted)
                fit = Fit.of(fit.asked, fit.profile, fit.native, device)
            return fit

        monkeypatch.setattr(recipe, "_fit", planned)

    real = recipe._fit
    return fitting


def _losses(run_dir: Path) -> list[float]:
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row.get("loss", row.get("preservation_loss")) for row in rows]


def _runs_out(monkeypatch: pytest.MonkeyPatch, *calls: int) -> None:
    """Raise what CUDA raises at these predictions, counted from 1."""
    velocity, made = ResidentBase.velocity, [0]

    def full(*given: Any) -> torch.Tensor:
        made[0] += 1
        if made[0] in calls:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return velocity(*given)

    monkeypatch.setattr(ResidentBase, "velocity", full)


def _descend(ladder: list[Fit]) -> None:
    while True:
        ladder.append(ladder[-1].cheaper())


@pytest.mark.parametrize("given_up", [QUALITY_KEPT[:1], QUALITY_KEPT[:2], QUALITY_KEPT], ids=lambda given_up: given_up[-1].value)
def test_what_costs_only_time_changes_nothing_else(
    tiny: ResidentBase, tmp_path: Path, device_that_takes: Callable[[set[Concession]], None], given_up: tuple[Concession, ...]
) -> None:
    """In pieces, recomputed and from the host, a training has the curve it has with room for all; then the base is as it was."""
    items, before, sink = write_pictures(tmp_path / "data"), checksum(tiny), Recorder()
    settings = {"batch_size": 4, "caption_dropout": 0.3, "preservation_share": 0.4, "learning_rate": 1e-2}
    with start_run(tiny, items, tmp_path / "roomy", **settings) as run:
        run_to_end(run)
    device_that_takes(set(given_up))
    with start_run(tiny, items, tmp_path / "tight", sink=sink, **settings) as run:
        run_to_end(run)
        assert run.finish().manifest.width == 32
    assert _losses(tmp_path / "tight") == pytest.approx(_losses(tmp_path / "roomy"), rel=1e-4)
    assert [fitting.concessions for fitting in sink.fittings] == [given_up]
    assert not sink.fittings[0].ran_out
    assert checksum(tiny) == before


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is an extra: pip install callsheet[eight-bits]")
def test_base_in_eight_bits_trains_nearly_the_same_and_comes_back_exactly(
    tiny: ResidentBase, tmp_path: Path, device_that_takes: Callable[[set[Concession]], None]
) -> None:
    """Weights of the blocks lie in int8 while it trains, with losses near the exact ones; the LoRA learns in fp32; the base is restored."""
    items, before = write_pictures(tmp_path / "data"), checksum(tiny)
    settings = {"batch_size": 4, "learning_rate": 1e-2}
    with start_run(tiny, items, tmp_path / "exact", **settings) as run:
        run_to_end(run)
    device_that_takes({*QUALITY_KEPT, Concession.EIGHT_BITS})
    with start_run(tiny, items, tmp_path / "int8", preview_every=4, preview_prompt="zoko", **settings) as run:
        run_until(run, 1)
        attention = tiny.blocks[0].get_submodule("attn1.to_q")
        assert type(attention.base_layer.weight.data) is not torch.Tensor
        assert {weight.dtype for weight in run._state.adapter.parameters} == {torch.float32}
        run_to_end(run)
    exact, coarse = _losses(tmp_path / "exact"), _losses(tmp_path / "int8")
    assert coarse == pytest.approx(exact, rel=0.02)
    assert coarse != exact
    assert checksum(tiny) == before


def test_small_device_trains_on_shorter_clips(
    tiny: ResidentBase, tmp_path: Path, device_that_takes: Callable[[set[Concession]], None]
) -> None:
    """Windows are cut to what was planned, encoders wait on the host until a preview calls them, and leave nothing behind."""
    items = [write_clip(tmp_path / "data" / f"clip-{index}.mp4", 30, 8) for index in range(4)]
    device_that_takes({*QUALITY_KEPT, Concession.SHORTER})
    sink = Recorder()
    settings = {"kind": LoraKind.MOTION, "max_frames": 9, "preview_every": 2, "preview_prompt": "zoko walking", "steps": 2}
    with start_run(tiny, items, tmp_path / "run", sink=sink, **settings) as run:
        run_until(run, 1)
        assert all(hasattr(encoder, "_hf_hook") for encoder in tiny.encoders.values())
        run_to_end(run)
    assert [step for step, _ in sink.previews] == [2]
    assert sink.fittings[0].frames < 9
    windows = [window for item in json.loads((tmp_path / "run" / "dataset.json").read_text()) for window in item["windows"]]
    assert {window["frames"] for window in windows} == {sink.fittings[0].frames}
    assert not any(hasattr(part, "_hf_hook") for part in tiny.encoders.values())


def test_step_that_runs_out_of_memory_is_made_in_smaller_pieces(
    tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins again, tells once what was given up, and ends with what an undisturbed training learns."""
    items, sink = write_pictures(tmp_path / "data"), Recorder()
    with start_run(tiny, items, tmp_path / "calm", preservation_share=0.0) as run:
        run_to_end(run)
    _runs_out(monkeypatch, 2)
    with start_run(tiny, items, tmp_path / "run", sink=sink, preservation_share=0.0) as run:
        run_to_end(run)
    assert [(fitting.concessions, fitting.ran_out) for fitting in sink.fittings] == [((Concession.SMALLER_PIECES,), True)]
    assert _losses(tmp_path / "run") == pytest.approx(_losses(tmp_path / "calm"), rel=1e-4)


def test_training_that_steps_down_goes_on_from_its_checkpoint(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved is not learned again; a checkpoint of an earlier training in the same folder is not taken for its own."""
    items, sink = write_pictures(tmp_path / "data"), Recorder()
    settings = {"checkpoint_every": 2, "preservation_share": 0.0}
    with start_run(tiny, items, tmp_path / "run", **settings) as run:
        run_to_end(run)
    calm = _losses(tmp_path / "run")
    _runs_out(monkeypatch, 2, 4 + 1 + 2)
    with start_run(tiny, items, tmp_path / "run", sink=sink, **settings) as run:
        with pytest.raises(OutOfMemoryError, match="does not fit"):
            run_to_end(run)
        assert run.steps_done == 2
    _runs_out(monkeypatch)
    steps: list[int] = []
    with start_run(tiny, items, tmp_path / "run", sink=sink, resume=True, **settings) as run:
        while not run.finished:
            run.step()
            steps.append(run.steps_done)
    assert min(steps) == 2
    assert _losses(tmp_path / "run") == pytest.approx(calm, rel=1e-4)


def test_second_time_out_of_memory_is_the_end(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step down, then the training fails with its sentence, and the base is what it was."""
    before = checksum(tiny)
    _runs_out(monkeypatch, 1, 2)
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run") as run:
        with pytest.raises(OutOfMemoryError, match="smaller size, batch or rank"):
            run_to_end(run)
        assert run.steps_done == 0
    assert checksum(tiny) == before


def test_training_with_nothing_left_to_give_up_fails(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the ladder the message says what would do."""
    cheapest = Device("a test device", UNLIMITED, has_eight_bits=False)
    monkeypatch.setattr(recipe, "device_for_training", lambda _: cheapest)
    with start_run(tiny, write_pictures(tmp_path / "data"), tmp_path / "run", batch_size=1, gradient_checkpointing=True) as run:
        ladder = [run._parts.fit]
        with pytest.raises(OutOfMemoryError, match="lower the rank"):
            _descend(ladder)
    assert set(ladder[-1].plan.concessions) == {Concession.ON_THE_HOST, Concession.SHORTER}
