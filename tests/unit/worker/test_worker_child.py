"""The child's loop with the engine's entry points scripted: who gets the next turn, and what an error does to the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.contracts.events import Phase
from engine.contracts.failures import FailureCode
from engine.contracts.fitting import Concession, Fitting
from engine.contracts.jobs import DatasetItem
from engine.contracts.model import Contract
from engine.errors import AdapterInvalidError, JobCancelledError
from engine.model.bases import get_base
from tests.support.contracts import generate_video, geometry, manifest, stored, train_lora
from worker import child as module
from worker import pipe
from worker.child import PREVIEW_YIELDS, Child

TRAINING = "01JD9X8Q4ZK7T3M5V6W2Y1N0PA"
RENDERS = [f"01JD9X8Q4ZK7T3M5V6W2Y1N0R{digit}" for digit in "0123456789"]


class ScriptedLink:
    """A link that hands out commands when the script says, and notes what the child said."""

    def __init__(self) -> None:
        self.inbox: deque[Any] = deque()
        self.sent: list[Contract] = []
        self.cancelled_jobs: set[str] = set()
        self.when_idle: Callable[[], None] = lambda: self.inbox.append(pipe.Shutdown())

    def send(self, message: Contract) -> None:
        self.sent.append(message)

    def take(self, *, wait: bool) -> list[Any]:
        if wait and not self.inbox:
            self.when_idle()
        taken = list(self.inbox)
        self.inbox.clear()
        return taken

    def waiting(self) -> bool:
        return bool(self.inbox)

    def cancelled(self, job_id: str) -> bool:
        return job_id in self.cancelled_jobs

    def of(self, kind: type[Contract]) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]


class Stage:
    """Stands in for the engine: notes the order of steps and clips in `played`."""

    def __init__(self, link: ScriptedLink, steps: int = 3) -> None:
        self.link = link
        self.steps = steps
        self.played: list[str] = []
        self.on_step: Callable[[int], None] = lambda step: None
        self.on_clip: Callable[[str], None] = lambda prompt: None
        self.closed = False

    def build_run(self, resident: Any, config: Any, items: Any, run_dir: Path, sink: Any, cancel: Any, *_: Any, **__: Any) -> Any:
        stage = self

        class Run:
            total_steps = stage.steps
            steps_done = 0
            prepared = True

            @property
            def finished(self) -> bool:
                return self.steps_done >= stage.steps

            def step(self) -> None:
                if cancel.cancelled():
                    raise JobCancelledError("asked")
                self.steps_done += 1
                stage.played.append(f"step {self.steps_done}")
                sink.progress(Phase.TRAINING, self.steps_done, stage.steps)
                stage.on_step(self.steps_done)

            def save_checkpoint(self) -> None:
                stage.played.append(f"checkpoint {self.steps_done}")

            def finish(self) -> Any:
                files = {"path": run_dir / "lora", "loss_curve_png": run_dir / "loss.png", "chart_png": None, "kept": {}}
                showing = SimpleNamespace(prompt=config.preview_prompt, guide=None)
                return SimpleNamespace(manifest=manifest(), selection=None, showing=showing, **files)

            def close(self) -> None:
                stage.closed = True

        return Run()

    def generate(self, resident: Any, config: Any, uses: Any, sink: Any, cancel: Any, **_: Any) -> Any:
        self.on_clip(config.prompt)
        if cancel.cancelled():
            self.played.append(f"gave way: {config.prompt}")
            raise JobCancelledError("asked")
        self.played.append(f"clip: {config.prompt}")
        return SimpleNamespace(frames=[None] * 9, geometry=geometry(), seed=config.seed, has_sound=False, scenes=(), join_psnr=None)


@pytest.fixture
def link() -> ScriptedLink:
    """A link with nothing to say."""
    return ScriptedLink()


@pytest.fixture
def stage(link: ScriptedLink, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The engine's entry points, scripted."""
    stage = Stage(link)
    monkeypatch.setattr(module, "build_run", stage.build_run)
    monkeypatch.setattr(module, "generate", stage.generate)
    monkeypatch.setattr(module, "require_guide", lambda *_: None)
    monkeypatch.setattr(module, "write_signed", lambda *_, **__: SimpleNamespace(width=256, height=256))
    monkeypatch.setattr(module, "sign", lambda *_, **__: None)
    monkeypatch.setattr(module, "file_sha256", lambda _: "ab" * 32)
    monkeypatch.setattr(module, "poster", lambda *_, **__: None)
    monkeypatch.setattr(module, "parameters_of", lambda *_, **__: None)
    return stage


def test_render_gets_the_next_turn_and_the_training_the_one_after(link: ScriptedLink, stage: Stage) -> None:
    """Neither lane starves the other: however many clips wait, a step comes between two of them."""
    stage.on_step = lambda step: link.inbox.extend([_render(0, "one"), _render(1, "two")] if step == 1 else [])
    _play(link, _train())
    assert stage.played == ["step 1", "clip: one", "step 2", "clip: two", "step 3", "clip: zoko on a beach"]


def test_child_says_whose_turn_it_is_whenever_it_changes(link: ScriptedLink, stage: Stage) -> None:
    """When the child dies, its parent knows which job was at work and which only shared the room."""
    stage.on_step = lambda step: link.inbox.append(_render(0, "one")) if step == 2 else None
    _play(link, _train())
    assert [message.job_id for message in link.of(pipe.AtWork)] == [TRAINING, RENDERS[0], TRAINING]


def test_closing_preview_gives_way_to_renders_but_not_for_ever(link: ScriptedLink, stage: Stage) -> None:
    """A steady stream of clips delays the end of a training by a bounded number of attempts."""
    ids = iter(range(10))

    def another_arrives(prompt: str) -> None:
        number = next(ids, None) if prompt == "zoko on a beach" else None
        if number is not None:
            link.inbox.append(_render(number, f"clip {number}"))

    stage.on_clip = another_arrives
    _play(link, _train())
    assert stage.played.count("gave way: zoko on a beach") == PREVIEW_YIELDS
    assert len(link.of(pipe.Trained)) == 1
    assert len(link.of(pipe.Rendered)) == PREVIEW_YIELDS + 1


def test_suspended_training_saves_its_state_and_gives_the_base_back(link: ScriptedLink, stage: Stage) -> None:
    """Nothing more is computed after the step in hand."""
    stage.on_step = lambda step: link.inbox.append(pipe.SuspendWork(job_id=TRAINING)) if step == 1 else None
    _play(link, _train())
    assert stage.played == ["step 1", "checkpoint 1"]
    assert stage.closed
    assert [message.steps_done for message in link.of(pipe.WorkSuspended)] == [1]


def test_features_of_the_set_are_told_once_when_they_are_complete(link: ScriptedLink, stage: Stage, tmp_path: Path) -> None:
    """Another try finds them in the store; a run that found all of them there has nothing to tell."""
    cached = tmp_path / "cache" / "latents-1.safetensors"
    cached.parent.mkdir()

    def encode(step: int) -> None:
        cached.write_bytes(b"latents")

    stage.on_step = encode
    _play(link, _train(run_dir=tmp_path))
    assert [message.files for message in link.of(pipe.FeaturesMade)] == [(cached,)]
    _play(link, _train(run_dir=tmp_path))
    assert len(link.of(pipe.FeaturesMade)) == 1


def test_checkpoints_come_every_so_many_steps(link: ScriptedLink, stage: Stage) -> None:
    """Counted from the step the run began at."""
    stage.steps = 5
    _play(link, _train(checkpoint_every_steps=2))
    assert [entry for entry in stage.played if entry.startswith("checkpoint")] == ["checkpoint 2", "checkpoint 4"]


def test_cancelled_training_ends_between_two_steps(link: ScriptedLink, stage: Stage) -> None:
    """The steps it made are told, so that they can be charged."""
    stage.on_step = lambda step: link.cancelled_jobs.add(TRAINING) if step == 2 else None
    _play(link, _train())
    assert [message.steps_done for message in link.of(pipe.WorkCancelled)] == [2]
    assert stage.closed


def test_error_in_a_render_ends_that_job_only(link: ScriptedLink, stage: Stage) -> None:
    """The engine's code travels, and the training goes on."""

    def refuse(prompt: str) -> None:
        if prompt == "one":
            raise AdapterInvalidError("No LoRA in this file.")

    stage.on_clip = refuse
    _play(link, _train(), _render(0, "one"))
    (failed,) = link.of(pipe.WorkFailed)
    assert (failed.job_id, failed.code) == (RENDERS[0], FailureCode.ADAPTER_INVALID)
    assert len(link.of(pipe.Trained)) == 1


def test_files_of_a_clip_are_written_while_the_next_one_is_denoised(
    link: ScriptedLink, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is told free before the files are there; an error in them ends that job alone; without overlap all is in turn."""
    next_one = threading.Event()

    def write(_: Any, path: Path, *__: Any, **___: Any) -> Any:
        assert next_one.wait(30)
        if path.parent.name == "bad":
            raise OSError("disk full")
        return SimpleNamespace(width=256, height=256)

    monkeypatch.setattr(module, "write_signed", write)
    stage.on_clip = lambda prompt: next_one.set() if prompt == "two" else None
    bad = _render(0, "one").model_copy(update={"out_dir": Path("bad")})
    _play(link, bad, _render(1, "two"))
    kinds = [(message.job_id, type(message)) for message in link.sent if not isinstance(message, pipe.AtWork | pipe.Began)]  # type: ignore[attr-defined]
    assert kinds[0] == (RENDERS[0], pipe.FramesMade)
    assert set(kinds[1:]) == {(RENDERS[0], pipe.WorkFailed), (RENDERS[1], pipe.FramesMade), (RENDERS[1], pipe.Rendered)}
    link.sent.clear()
    _play(link, _render(2, "three"), overlaps=False)
    assert [type(message) for message in link.sent] == [pipe.AtWork, pipe.Began, pipe.Rendered]


def test_loras_of_the_next_clip_are_read_when_they_are_told_of(link: ScriptedLink) -> None:
    """At once, on the reading thread, whatever is at work; a clip whose turn has come tells its own."""
    read: list[Path] = []
    shelf = SimpleNamespace(prefetch=lambda paths, _profile: read.extend(paths))
    resident = SimpleNamespace(base=get_base("tiny"), shelf=shelf)
    Child(resident, link, credentials=None)  # type: ignore[arg-type]
    for command in (
        pipe.ReadAhead(adapters=(Path("a"),)),
        _render(0, "one").model_copy(update={"adapters": (Path("b"),)}),
        pipe.Shutdown(),
    ):
        link.on_arrival(command)  # type: ignore[attr-defined]
    assert read == [Path("a"), Path("b")]


def test_error_in_a_training_gives_the_base_back_and_renders_go_on(link: ScriptedLink, stage: Stage) -> None:
    """Out of memory in one lane is not the end of the other."""

    def burst(step: int) -> None:
        raise MemoryError

    stage.on_step = burst
    _play(link, _train(), _render(0, "one"), _render(1, "two"))
    (failed,) = link.of(pipe.WorkFailed)
    assert (failed.job_id, failed.code, failed.steps_done) == (TRAINING, FailureCode.OUT_OF_MEMORY, 1)
    assert stage.closed
    assert len(link.of(pipe.Rendered)) == 2


def _play(link: ScriptedLink, *commands: Any, overlaps: bool = True) -> None:
    link.inbox.extend(commands)
    Child(SimpleNamespace(base=get_base("tiny")), link, credentials=None, overlaps=overlaps).serve()  # type: ignore[arg-type]


def _train(checkpoint_every_steps: int = 0, run_dir: Path = Path("run")) -> pipe.StartTraining:
    return pipe.StartTraining(
        job=train_lora(job_id=TRAINING, items=(DatasetItem(media=stored(), filename="a.png"),)),
        media=(Path("a.png"),),
        run_dir=run_dir,
        resume=False,
        checkpoint_every_s=3600,
        checkpoint_every_steps=checkpoint_every_steps,
        preview_every_steps=0,
    )


def _render(number: int, prompt: str) -> pipe.StartRender:
    return pipe.StartRender(job=generate_video(job_id=RENDERS[number], prompt=prompt), adapters=(), image=None, out_dir=Path("out"))


def test_what_a_training_gave_up_is_told_from_then_on(tmp_path: Path) -> None:
    """Progress is a value of which only the latest arrives, so each one says it again."""
    link, fitting = ScriptedLink(), Fitting(concessions=(Concession.RECOMPUTED,), width=512, height=512, frames=49, ran_out=True)
    job_link = module.JobLink(link, TRAINING, tmp_path, Phase.TRAINING)  # type: ignore[arg-type]
    job_link.progress(Phase.TRAINING, 3, 3)
    job_link.fitted(fitting)
    job_link.progress(Phase.TRAINING, 1, 3)
    job_link.progress(Phase.TRAINING, 3, 3)
    told = [message.progress.fitting for message in link.of(pipe.Advanced)]
    assert told[0] is None
    assert told[-1] == fitting
