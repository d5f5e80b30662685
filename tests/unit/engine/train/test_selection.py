"""A training that looks at its checkpoints: nothing it learns changes by looking, and what it keeps is what it chose."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from engine.contracts.selection import CheckpointScore, Fault
from engine.errors import DeadAdapterError, InvalidConfigError
from engine.evaluate import exam, select
from engine.evaluate.exam import Showing, looks_every, prompts_for
from engine.evaluate.held_out import held_out_count
from engine.lora_file import read_header
from engine.model.loader import ResidentBase
from engine.train.result import TrainedLora
from engine.train.run import TrainingRun
from tests.support.engine import Recorder, Switch, checksum, run_until, start_run, train_config, write_pictures

LOOKING = {"steps": 4, "evaluate_every": 2, "held_out": 1, "preview_prompt": "zoko on a beach", "learning_rate": 1e-2}


def _finished(run: TrainingRun) -> TrainedLora:
    while not run.finished:
        run.step()
    return run.finish()


def _same(one: Path, other: Path) -> bool:
    first, second = safetensors.torch.load_file(one), safetensors.torch.load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_looks_are_scored_charted_and_shown(tiny: ResidentBase, tmp_path: Path) -> None:
    """Every look gives figures, a preview and a kept file; the chosen one is the result, whose manifest tells its step."""
    sink, before = Recorder(), checksum(tiny)
    with start_run(tiny, write_pictures(tmp_path / "data", 5), tmp_path / "run", sink=sink, **LOOKING) as run:
        trained = _finished(run)
    assert checksum(tiny) == before
    selection = trained.selection
    assert selection is not None
    assert [score.step for score in selection.scores] == [2, 4]
    for score in selection.scores:
        assert score.effect > select.MIN_EFFECT
        assert None not in (score.held_out_loss, score.identity, score.memorised, score.drift, score.motion)
    assert selection.base_held_out_loss is not None
    assert trained.manifest.steps == selection.chosen
    assert set(trained.kept) == {2, 4}
    assert trained.path.read_bytes() == trained.kept[selection.chosen].read_bytes()
    assert [step for step, _ in sink.previews] == [2, 4]
    assert trained.chart_png is not None
    with Image.open(trained.chart_png) as chart:
        assert chart.format == "PNG"


def test_looking_does_not_change_what_is_learned(tiny: ResidentBase, tmp_path: Path) -> None:
    """The last checkpoint is bit for bit that of a run that looked only at the end."""
    items = write_pictures(tmp_path / "data", 5)
    with start_run(tiny, items, tmp_path / "often", **LOOKING) as run:
        often = _finished(run).kept[4]
    with start_run(tiny, items, tmp_path / "once", **{**LOOKING, "evaluate_every": 4}) as run:
        once = _finished(run).kept[4]
    assert _same(often, once)


def test_held_out_items_are_never_learned(tiny: ResidentBase, tmp_path: Path) -> None:
    """What is kept aside is in no batch."""
    with start_run(tiny, write_pictures(tmp_path / "data", 5), tmp_path / "run", **LOOKING) as run:
        run_until(run, 1)
        assert (len(run._samples), len(run._held_out)) == (4, 1)
        aside = run._held_out[0].latents
        assert all(not torch.equal(sample.latents, aside) for sample in run._samples)


def test_resume_in_the_middle_of_a_look_chooses_the_same(tiny: ResidentBase, tmp_path: Path) -> None:
    """History, kept files and pending looks come through a checkpoint; the end is that of an uninterrupted run."""
    items = write_pictures(tmp_path / "data", 5)
    settings = {**LOOKING, "steps": 6}
    with start_run(tiny, items, tmp_path / "whole", **settings) as run:
        whole = _finished(run)
    with start_run(tiny, items, tmp_path / "broken", **settings) as run:
        run_until(run, 4)
        run.step()  # a piece of the second look
        run.save_checkpoint()
        run_until(run, 5)
    with start_run(tiny, items, tmp_path / "broken", resume=True, **settings) as run:
        resumed = _finished(run)
    assert resumed.selection == whole.selection
    assert resumed.kept.keys() == whole.kept.keys()
    assert all(_same(resumed.kept[step], whole.kept[step]) for step in whole.kept)


def test_files_that_are_not_kept_go_with_the_next_checkpoint(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved state never refers to a file that is gone, and the folder does not grow with the number of looks."""
    monkeypatch.setattr(select, "MAX_KEPT", 2)
    sink = Recorder()
    settings = {**LOOKING, "evaluate_every": 1}
    with start_run(tiny, write_pictures(tmp_path / "data", 5), tmp_path / "run", sink=sink, **settings) as run:
        while not run.finished:
            run.step()
            if run.save_checkpoint():
                assert all(path.is_file() for path in sink.checkpoints[-1][1])
        assert len(list((tmp_path / "run" / "checkpoint").glob("kept-*"))) <= 2


def test_look_gives_way_and_insists_in_the_end(tiny: ResidentBase, tmp_path: Path) -> None:
    """Something urgent delays a clip a few times, not for ever; the score is the same."""
    items = write_pictures(tmp_path / "data", 5)
    settings = {**LOOKING, "steps": 2}
    with start_run(tiny, items, tmp_path / "calm", **settings) as run:
        calm = _finished(run).selection
    busy = Switch()
    busy.on = True
    with start_run(tiny, items, tmp_path / "busy", gives_way=busy, **settings) as run:
        pieces = 0
        while not run.finished:
            run.step()
            pieces += 1
        assert run.finish().selection == calm
    assert pieces > 5 * exam._YIELDS


def test_plateau_ends_a_training_early_unless_told_otherwise(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps that would change nothing are not made, and the result says so."""
    items = write_pictures(tmp_path / "data", 5)
    monkeypatch.setattr(select, "has_stalled", lambda scores: len(scores) >= 2)
    settings = {**LOOKING, "steps": 8}
    with start_run(tiny, items, tmp_path / "run", **settings) as run:
        trained = _finished(run)
        assert run.steps_done == 4
    assert trained.selection is not None
    assert trained.selection.stopped_early
    with start_run(tiny, items, tmp_path / "all", stop_on_plateau=False, **settings) as run:
        assert _finished(run).selection is not None
        assert run.steps_done == 8


def test_adapter_without_effect_is_a_failure(tiny: ResidentBase, tmp_path: Path) -> None:
    """Weights that moved by a hair and change no prediction are not sold as a LoRA."""
    settings = {**LOOKING, "learning_rate": 1e-10}
    with start_run(tiny, write_pictures(tmp_path / "data", 5), tmp_path / "run", **settings) as run:
        while not run.finished:
            run.step()
        with pytest.raises(DeadAdapterError, match="no effect"):
            run.finish()


def test_chosen_file_is_not_the_last_when_the_last_is_worse(tiny: ResidentBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is the file of the chosen step."""

    def worse_later(score: CheckpointScore, earlier: list[CheckpointScore], _: float | None) -> CheckpointScore:
        return score.model_copy(update={"faults": (Fault.OVERFIT,) if earlier else ()})

    monkeypatch.setattr(select, "with_faults", worse_later)
    with start_run(tiny, write_pictures(tmp_path / "data", 5), tmp_path / "run", **LOOKING) as run:
        trained = _finished(run)
    header = read_header(trained.path)
    assert header.manifest is not None
    assert header.manifest.steps == 2
    assert not _same(trained.path, trained.kept[4])


def test_usual_trainings_look_six_times_and_short_ones_never() -> None:
    """Whole tens of steps, so that buttons read well."""
    assert [looks_every(steps) for steps in (4, 99, 100, 400, 2000)] == [0, 0, 25, 70, 340]
    assert [held_out_count(items) for items in (4, 7, 8, 24, 100)] == [0, 0, 1, 2, 3]


def test_prompts_ask_with_and_without_the_trigger() -> None:
    """The preview prompt, a caption, and the plain form of the first."""
    prompts = prompts_for(train_config(), [Showing("walking on a beach")], ["zoko on a hill", "zoko in a forest"])
    assert prompts.asking == (Showing("zoko walking on a beach"), Showing("zoko on a hill"))
    assert prompts.plain == (Showing("a creature walking on a beach"),)
    assert prompts_for(train_config(trigger=None), [Showing()], ["a hill"]).plain == ()


def test_holding_out_everything_is_refused(tiny: ResidentBase, tmp_path: Path) -> None:
    """Something must be left to learn from."""
    with pytest.raises(InvalidConfigError, match="nothing would be left"):
        start_run(tiny, write_pictures(tmp_path / "data", 5), tmp_path / "run", **{**LOOKING, "held_out": 5})
