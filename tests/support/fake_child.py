"""A GPU child without a GPU: a real process that speaks the real pipe protocol and does what a job's prompt tells it.

Directives, words of `prompt` or `preview_prompt`: `die` (SIGKILL itself at step 2), `die-once` (only when no earlier try left a
checkpoint or marker), `oom` (OUT_OF_MEMORY), `bad-config` (INVALID_CONFIG), `deaf` (ignores cancels), `noise` (prints to stdout first),
`slow-files` (the clip's files are written beside the next job, once there is a marker `written`).
`FAKE_STEP_S` is the length of a step, `FAKE_LOAD_S` of loading, `FAKE_MARKERS` a folder that outlives the process.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from engine.contracts.events import Phase, Progress
from engine.contracts.failures import FailureCode
from engine.contracts.jobs import TrainLora
from tests.support.contracts import manifest
from worker import pipe
from worker.child_link import Link
from worker.failures import code_of, describe

STEP_S = float(os.environ.get("FAKE_STEP_S", "0.02"))
RENDER_STEPS = 4
_never = threading.Event()


def _pause(seconds: float) -> None:
    _never.wait(seconds)


def initial(job: TrainLora) -> str:
    """The weights a training begins with."""
    return hashlib.sha256(f"{job.job_id} {job.seed}".encode()).hexdigest()


def trained_by(weights: str, step: int) -> str:
    """The weights after one step: they tell every step that made them."""
    return hashlib.sha256(f"{weights} {step}".encode()).hexdigest()


def calm_weights(job: TrainLora) -> str:
    """The file of an undisturbed training whose name has `exact` in it, such as `exact-7`; others tell where they were resumed."""
    weights = initial(job)
    for step in range(job.steps):
        weights = trained_by(weights, step)
    return weights


def _loaded(state: Path) -> tuple[int, str]:
    step, weights = state.read_text().split()
    return int(step), weights


def _marker(job_id: str) -> Path:
    return Path(os.environ["FAKE_MARKERS"]) / job_id


class FakeChild:
    """The same loop as the real one, with counting instead of computing."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.renders: deque[pipe.StartRender] = deque()
        self.training: Iterator[None] | None = None
        self.trained = ""
        self.suspended: set[str] = set()
        self.leaving = False

    def serve(self) -> None:
        while not self.leaving:
            for command in self.link.take(wait=self.training is None and not self.renders):
                match command:
                    case pipe.StartRender():
                        self.renders.append(command)
                    case pipe.StartTraining():
                        self.training, self.trained = self._train(command), command.job.job_id
                    case pipe.StartCaptions():
                        said = tuple(f"seen: {item.filename}" for item in command.job.items)
                        self.link.send(pipe.Began(job_id=command.job.job_id, total_steps=len(said)))
                        self.link.send(pipe.Captioned(job_id=command.job.job_id, captions=said))
                    case pipe.SuspendWork():
                        self.suspended.add(command.job_id)
                    case pipe.CancelWork():
                        pass
                    case pipe.Shutdown():
                        self.leaving = True
            if self.renders:
                command = self.renders.popleft()
                with self._disk_trouble_told(command.job.job_id):
                    for _ in self._render(command):
                        pass
            if self.training is not None and self._trains_no_further():
                self.training = None

    def _trains_no_further(self) -> bool:
        with self._disk_trouble_told(self.trained):
            return next(self.training or iter(()), "over") == "over"
        return True

    @contextlib.contextmanager
    def _disk_trouble_told(self, job_id: str) -> Iterator[None]:
        """As the real child does with whatever goes wrong."""
        try:
            yield
        except OSError as error:
            self.link.send(pipe.WorkFailed(job_id=job_id, code=code_of(error), detail=describe(error), steps_done=0))

    def _step(self, job_id: str, words: list[str], step: int) -> bool:
        """One step; False when the job has ended with it."""
        if self.link.cancelled(job_id) and "deaf" not in words:
            self.link.send(pipe.WorkCancelled(job_id=job_id, steps_done=step))
            return False
        _pause(STEP_S)
        if step == 1:
            if "noise" in words:
                print("a library prints this to standard output", flush=True)  # noqa: T201 - what the test is about
            if "oom" in words:
                self.link.send(pipe.WorkFailed(job_id=job_id, code=FailureCode.OUT_OF_MEMORY, detail="as told", steps_done=step))
                return False
            if "bad-config" in words:
                self.link.send(pipe.WorkFailed(job_id=job_id, code=FailureCode.INVALID_CONFIG, detail="as told", steps_done=step))
                return False
            first_time = "FAKE_MARKERS" in os.environ and not _marker(job_id).exists()
            if "die" in words or ("die-once" in words and first_time):
                if first_time:
                    _marker(job_id).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return True

    def _render(self, command: pipe.StartRender) -> Iterator[None]:
        job = command.job
        self.link.send(pipe.AtWork(job_id=job.job_id))
        self.link.send(pipe.Began(job_id=job.job_id, total_steps=RENDER_STEPS))
        for step in range(RENDER_STEPS):
            if not self._step(job.job_id, job.prompt.split(), step):
                return
            self._progress(job.job_id, Phase.DENOISING, step + 1, RENDER_STEPS)
            yield
        if "slow-files" in job.prompt.split():
            self.link.send(pipe.FramesMade(job_id=job.job_id))
            threading.Thread(target=self._write_when_told, args=(command,), daemon=True).start()
        else:
            self._write(command)

    def _write_when_told(self, command: pipe.StartRender) -> None:
        while not _marker("written").exists():
            _pause(0.01)
        self._write(command)

    def _write(self, command: pipe.StartRender) -> None:
        job = command.job
        clip = command.out_dir / "clip.mp4"
        given = {"image": command.image, "guide": command.guide, "clip": command.clip}
        inputs = [f"{role}={path.read_text()}" for role, path in given.items() if path is not None]
        if "FAKE_CLIP" in os.environ:  # for a bot that looks at what it posts
            shutil.copy(os.environ["FAKE_CLIP"], clip)
        else:
            clip.write_text("|".join([job.prompt, *(path.read_text() for path in command.adapters), *inputs]))
        self.link.send(
            pipe.Rendered(
                job_id=job.job_id,
                clip=clip,
                poster=None,
                geometry=job.geometry,
                posted_width=256,
                posted_height=256,
                seed=job.seed,
                num_frames=job.geometry.num_frames,
                has_audio=False,
            )
        )

    def _train(self, command: pipe.StartTraining) -> Iterator[None]:
        job = command.job
        state = command.run_dir / "checkpoint" / "state.txt"
        begin, weights = _loaded(state) if command.resume else (0, initial(job))
        self.link.send(pipe.AtWork(job_id=job.job_id))
        self.link.send(pipe.Began(job_id=job.job_id, total_steps=job.steps))
        history = [f"from {begin}"]
        for step in range(begin, job.steps):
            self.link.send(pipe.AtWork(job_id=job.job_id))
            if not self._step(job.job_id, job.preview_prompt.split(), step):
                return
            weights = trained_by(weights, step)
            self._progress(job.job_id, Phase.TRAINING, step + 1, job.steps)
            every = command.checkpoint_every_steps
            suspend = job.job_id in self.suspended
            if suspend or (every and (step + 1) % every == 0):
                saved = command.run_dir / "outbox" / str(step + 1) / "state.txt"
                saved.parent.mkdir(parents=True)
                saved.write_text(f"{step + 1} {weights}")
                self.link.send(pipe.CheckpointMade(job_id=job.job_id, step=step + 1, files=(saved,)))
            if suspend:
                self.link.send(pipe.WorkSuspended(job_id=job.job_id, steps_done=step + 1))
                return
            yield
        lora = command.run_dir / "lora.safetensors"
        lora.parent.mkdir(parents=True, exist_ok=True)
        lora.write_text(weights if "exact" in job.preview_prompt.split("-") else "\n".join(history))
        self.link.send(
            pipe.Trained(job_id=job.job_id, lora=lora, manifest=manifest(), preview=None, poster=None, loss_curve=None, steps=job.steps)
        )

    def _progress(self, job_id: str, phase: Phase, step: int, total: int) -> None:
        self.link.send(pipe.Advanced(job_id=job_id, progress=Progress(job_id=job_id, phase=phase, step=step, total_steps=total)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--credentials", required=True)
    parser.add_argument("--control-models", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--speed")
    args = parser.parse_args()
    link = Link(args.parent)
    _pause(float(os.environ.get("FAKE_LOAD_S", "0")))
    if args.base == "missing":
        link.send(pipe.StartFailed(code=FailureCode.BASE_UNAVAILABLE, detail="no such base"))
        sys.exit(3)
    link.send(pipe.Ready(base=args.base, device="fake", loading_s=0.0))
    FakeChild(link).serve()


if __name__ == "__main__":
    main()
