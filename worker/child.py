"""`python -m worker.child`: the process that holds the base in GPU memory, and the worker's only module with engine machinery in it.

It loads the base once, then takes commands until it is told to leave. A training is a generator whose every `next()` is one small
piece of work, so that a render that arrives never waits for more than one training step.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from engine.config import SampleConfig, TrainConfig
from engine.contracts.controls import ControlModels
from engine.contracts.events import Phase, Progress
from engine.contracts.fitting import Fitting
from engine.contracts.geometry import Geometry
from engine.contracts.jobs import TrainLora
from engine.contracts.lora import AdapterUse
from engine.contracts.provenance import AdapterTrace
from engine.contracts.speed import SpeedOptions
from engine.data.describe import captions_for
from engine.errors import EngineError, JobCancelledError
from engine.evaluate.scenes import judge_for
from engine.hashing import file_sha256
from engine.model.adapters import LoadedUse
from engine.model.bases import get_base
from engine.model.loader import ResidentBase, load_base
from engine.model.memory import device_memory
from engine.ports import NullMetrics
from engine.sample.credentials import Credentials, load_credentials
from engine.sample.generate import RenderedClip, generate, total_steps
from engine.sample.provenance import parameters_of, sign, write_signed
from engine.sample.sources import require_guide
from engine.sample.video import WrittenVideo, poster
from engine.train.recipe import LocalItem, build_run
from engine.train.result import TrainedLora
from engine.train.run import TrainingRun
from worker import pipe
from worker.child_link import ChildCommand, Link
from worker.failures import code_of, describe

logger = logging.getLogger(__name__)

PREVIEW_MAX_BYTES = 8 * 1024 * 1024
PREVIEW_SEED = 7
PREVIEW_YIELDS = 5
"""How often the closing preview gives way to renders; without a bound, a steady stream of them would keep a training from ending."""

PROGRESS_EVERY_S = 0.2


def main(argv: list[str] | None = None) -> int:
    """Load the base, say so, and serve. Exit codes: 0 told to leave, 3 the base can't be loaded."""
    parser = argparse.ArgumentParser(description="GPU child of a Callsheet worker; started by it, not by hand.")
    parser.add_argument("--base", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--credentials", type=Path, required=True, help="folder of the certificate and key that sign clips")
    parser.add_argument("--control-models", type=ControlModels.model_validate_json, default=ControlModels(), help="JSON object")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--speed", type=SpeedOptions.model_validate_json, default=SpeedOptions(), help="options as JSON")
    args = parser.parse_args(argv)
    link = Link(args.parent)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    began = time.monotonic()
    try:
        credentials = load_credentials(args.credentials)
        resident = load_base(get_base(args.base), args.device, control_models=args.control_models, speed=args.speed)
    except (EngineError, OSError, RuntimeError) as error:
        link.send(pipe.StartFailed(code=code_of(error), detail=describe(error)))
        return 3
    loading_s = round(time.monotonic() - began, 3)
    memory_bytes = device_memory(resident.device).total or None
    link.send(pipe.Ready(base=args.base, device=str(resident.device), loading_s=loading_s, memory_bytes=memory_bytes))
    Child(resident, link, credentials, overlaps=args.speed.overlap).serve()
    return 0


class JobLink:
    """One job's voice: the engine's event sink and cancel token, spoken over the pipe."""

    def __init__(self, link: Link, job_id: str, outbox: Path, counted: Phase) -> None:
        self.job_id = job_id
        self._counted = counted
        self.steps_done = 0
        self.suspending = False
        self.fitting: Fitting | None = None
        self._link = link
        self._outbox = outbox
        self._silent_until = 0.0
        self._phase: Phase | None = None

    def progress(
        self, phase: Phase, step: int, total_steps: int, *, seconds_per_step: float | None = None, loss: float | None = None
    ) -> None:
        """Send it, a few times a second at most; a new phase and its last step are always sent."""
        if phase is self._counted:
            self.steps_done = step
        now = time.monotonic()
        if phase is self._phase and step < total_steps and now < self._silent_until:
            return
        self._silent_until, self._phase = now + PROGRESS_EVERY_S, phase
        progress = Progress(
            job_id=self.job_id,
            phase=phase,
            step=step,
            total_steps=total_steps,
            seconds_per_step=seconds_per_step,
            loss=loss,
            fitting=self.fitting,
        )
        self._link.send(pipe.Advanced(job_id=self.job_id, progress=progress))

    def preview(self, step: int, image: Path) -> None:
        """Hand the picture over."""
        self._link.send(pipe.PreviewMade(job_id=self.job_id, step=step, image=self._handed_over(step, (image,))[0]))

    def checkpoint(self, step: int, files: tuple[Path, ...]) -> None:
        """Hand the files over; the run may replace its own copies while these are still being uploaded."""
        self._link.send(pipe.CheckpointMade(job_id=self.job_id, step=step, files=self._handed_over(step, files)))

    def fitted(self, fitting: Fitting) -> None:
        """Say it with every progress from now on, and with the result."""
        self.fitting = fitting

    def cancelled(self) -> bool:
        """True once the parent asked to stop this job."""
        return self._link.cancelled(self.job_id)

    def _handed_over(self, step: int, files: tuple[Path, ...]) -> tuple[Path, ...]:
        # Hard links: a writer that replaces its file atomically leaves ours untouched, and nothing is copied.
        folder = self._outbox / f"{step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        links = tuple(folder / path.name for path in files)
        for path, link in zip(files, links, strict=True):
            link.unlink(missing_ok=True)
            link.hardlink_to(path)
        return links


class GivingWay:
    """A cancel token for previews: true also when any command waits, since a person's clip matters more than a picture on the way."""

    def __init__(self, job_link: JobLink, link: Link) -> None:
        self._job_link = job_link
        self._link = link

    def cancelled(self) -> bool:
        """True when the preview should stop, for now or for good."""
        return self._job_link.cancelled() or self._link.waiting()


class Child:
    """One resident base at work for two lanes: at most one training, renders in the order they came, and now and then captions."""

    def __init__(self, resident: ResidentBase, link: Link, credentials: Credentials, *, overlaps: bool = True) -> None:
        self.resident = resident
        self.link = link
        self.credentials = credentials
        self.renders: deque[pipe.StartRender] = deque()
        self.training: Iterator[None] | None = None
        self.training_link: JobLink | None = None
        self.captioning: Iterator[None] | None = None
        self.leaving = False
        self._at_work = ""
        self._overlaps = overlaps
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._writing: Future[None] | None = None
        link.on_arrival = self._look_ahead

    def _look_ahead(self, command: ChildCommand) -> None:
        """Read the LoRAs of a render that has just arrived, or is about to, while another job still computes."""
        if isinstance(command, pipe.StartRender | pipe.ReadAhead):
            self.resident.shelf.prefetch(command.adapters, self.resident.base.profile)

    def serve(self) -> None:
        """Take commands; if a render waits, render it; if a training runs, do its next step. Until told to leave."""
        while not self.leaving:
            idle = self.training is None and self.captioning is None and not self.renders
            for command in self.link.take(wait=idle):
                self._accept(command)
            if self.renders:
                self._render(self.renders.popleft())
            if self.captioning is not None and next(self.captioning, "over") == "over":
                self.captioning = None
            if self.training is not None:
                self._advance(self.training)
        self._writer.shutdown()

    def _accept(self, command: ChildCommand) -> None:
        match command:
            case pipe.StartRender():
                self.renders.append(command)
            case pipe.StartTraining():
                self.training_link = JobLink(self.link, command.job.job_id, command.run_dir / "outbox", Phase.TRAINING)
                self.training = self._train(command, self.training_link)
            case pipe.StartCaptions():
                self.captioning = self._caption(command)
            case pipe.SuspendWork():
                if self.training_link is not None and self.training_link.job_id == command.job_id:
                    self.training_link.suspending = True
            case pipe.ReadAhead():
                pass  # done when it arrived
            case pipe.CancelWork():
                pass  # the link knows; whoever runs the job asks it between steps
            case pipe.Shutdown():
                self.leaving = True

    def _advance(self, training: Iterator[None]) -> None:
        """One piece of the training."""
        assert self.training_link is not None
        going_on = False
        with self._reporting(self.training_link):
            for _ in training:
                going_on = True
                break
        if not going_on:
            self.training = self.training_link = None

    def _train(self, command: pipe.StartTraining, job_link: JobLink) -> Iterator[None]:
        """One training, piece by piece; what it holds of the base is given back before its preview is rendered."""
        job = command.job
        run = self._build_run(command, job_link)
        with contextlib.closing(run):
            self.link.send(pipe.Began(job_id=job.job_id, total_steps=run.total_steps))
            last_saved_at, last_saved_step = time.monotonic(), run.steps_done
            kept = frozenset(_features(command.run_dir))  # came from an earlier try
            told = False
            while not run.finished:
                yield
                if not job_link.suspending:
                    run.step()
                if run.prepared and not told:
                    told, files = True, _features(command.run_dir)
                    if kept != frozenset(files):
                        self.link.send(pipe.FeaturesMade(job_id=job.job_id, files=files))
                step = run.steps_done
                by_steps = command.checkpoint_every_steps and step - last_saved_step >= command.checkpoint_every_steps
                by_time = time.monotonic() - last_saved_at >= command.checkpoint_every_s
                if step > last_saved_step and (by_steps or by_time or job_link.suspending):
                    run.save_checkpoint()
                    last_saved_at, last_saved_step = time.monotonic(), step
                if job_link.suspending:
                    self.link.send(pipe.WorkSuspended(job_id=job.job_id, steps_done=step))
                    return
            yield
            trained = run.finish()
        for gives_way in (True,) * PREVIEW_YIELDS + (False,):
            yield
            preview = self._preview(job, trained, job_link, gives_way=gives_way)
            if preview is not None:
                yield
                self._write_and_tell(command, trained, preview, job_link)
                return

    def _build_run(self, command: pipe.StartTraining, job_link: JobLink) -> TrainingRun:
        job = command.job
        config = TrainConfig.from_job(job, preview_every=command.preview_every_steps)
        items = [
            LocalItem(path=path, media_type=item.media.media_type, filename=item.filename, caption=item.caption, guide=guide)
            for item, path, guide in zip(job.items, command.media, command.guides or (None,) * len(job.items), strict=True)
        ]
        return build_run(
            self.resident,
            config,
            items,
            command.run_dir,
            job_link,
            job_link,
            NullMetrics(),
            command.resume,
            GivingWay(job_link, self.link),
            shared_cache=command.shared_cache,
        )

    def _preview(self, job: TrainLora, trained: TrainedLora, job_link: JobLink, *, gives_way: bool) -> RenderedClip | None:
        """The clip that shows what was learned, with the new file at full weight. None: something urgent came."""
        config = self._preview_config(trained)
        use = LoadedUse(path=trained.path, name=job.name, weight=1.0, trigger=job.trigger, kind=job.lora_kind)
        try:
            return generate(self.resident, config, [use], job_link, GivingWay(job_link, self.link) if gives_way else job_link)
        except JobCancelledError:
            if job_link.cancelled():
                raise
            return None

    def _preview_config(self, trained: TrainedLora) -> SampleConfig:
        rule = self.resident.base.profile.geometry
        width, height = next(iter(rule.aspects.values()))
        geometry = Geometry(width=width, height=height, num_frames=rule.default_frames, fps=rule.fps)
        return SampleConfig(prompt=trained.showing.prompt, guide=trained.showing.guide, geometry=geometry, seed=PREVIEW_SEED)

    def _write(
        self, clip: RenderedClip, config: SampleConfig, traces: Sequence[AdapterTrace], target: Path, *, max_bytes: int
    ) -> tuple[Path, Path, WrittenVideo]:
        """The clip as MP4 and its middle frame as PNG, both saying what made them and signed."""
        profile = self.resident.base.profile
        parameters = parameters_of(config, profile, traces, seed=clip.seed, scenes=clip.scenes)
        path, picture = target.with_suffix(".mp4"), target.with_suffix(".png")
        written = write_signed(clip, path, parameters, self.credentials, max_bytes=max_bytes, min_side=profile.posted_min_side)
        poster(clip.frames, picture, min_side=profile.posted_min_side)
        sign(picture, parameters, self.credentials, media_type="image/png")
        return path, picture, written

    def _write_and_tell(self, command: pipe.StartTraining, trained: TrainedLora, preview: RenderedClip, job_link: JobLink) -> None:
        job = command.job
        trace = AdapterTrace(name=job.name, kind=job.lora_kind, weight=1.0, sha256=file_sha256(trained.path))
        config, target = self._preview_config(trained), command.run_dir / "preview"
        clip, picture, _ = self._write(preview, config, [trace], target, max_bytes=PREVIEW_MAX_BYTES)
        self.link.send(
            pipe.Trained(
                job_id=job.job_id,
                lora=trained.path,
                manifest=trained.manifest,
                preview=clip,
                poster=picture,
                loss_curve=trained.loss_curve_png,
                steps=trained.manifest.steps,
                selection=trained.selection,
                fitting=job_link.fitting,
                chart=trained.chart_png,
                kept={step: path for step, path in trained.kept.items() if step != trained.manifest.steps},
            )
        )

    def _caption(self, command: pipe.StartCaptions) -> Iterator[None]:
        """One item after the other, with turns for others in between."""
        job = command.job
        job_link = JobLink(self.link, job.job_id, command.run_dir, Phase.PREPARING)
        items = [LocalItem(path, item.media.media_type, item.filename) for item, path in zip(job.items, command.media, strict=True)]
        self.link.send(pipe.Began(job_id=job.job_id, total_steps=len(items)))
        said: list[str | None] = []
        seen = captions_for(self.resident, job.lora_kind, items, command.run_dir, command.shared_cache)
        while len(said) < len(items):
            going_on = False
            with self._reporting(job_link):
                if job_link.cancelled():
                    raise JobCancelledError("asked to stop")
                said.append(next(seen))
                job_link.progress(Phase.PREPARING, len(said), len(items))
                going_on = True
            if not going_on:
                return
            yield
        self.link.send(pipe.Captioned(job_id=job.job_id, captions=tuple(said)))

    def _render(self, command: pipe.StartRender) -> None:
        """One clip, from prompt to frames; its files are written while the next job is at work."""
        job = command.job
        job_link = JobLink(self.link, job.job_id, command.out_dir, Phase.DENOISING)
        with self._reporting(job_link):
            config = SampleConfig.from_job(job, image=command.image, guide=command.guide, clip=command.clip)
            self.link.send(pipe.Began(job_id=job.job_id, total_steps=total_steps(self.resident.base, config)))
            uses = [_use(use, path) for use, path in zip(job.adapters, command.adapters, strict=True)]
            require_guide(config, uses)
            judge = judge_for(self.resident) if config.storyboard is not None else None
            clip = generate(self.resident, config, uses, job_link, job_link, judge=judge, stills=command.out_dir / "stills")
            self._hand_over(command, config, clip, job_link)

    def _hand_over(self, command: pipe.StartRender, config: SampleConfig, clip: RenderedClip, job_link: JobLink) -> None:
        """Write the clip's files beside what comes next, one clip at a time, so that at most two are in memory."""
        if not self._overlaps:
            self._post(command, config, clip, job_link)
            return
        if self._writing is not None:
            self._writing.result()
        self.link.send(pipe.FramesMade(job_id=job_link.job_id))
        self._writing = self._writer.submit(self._post, command, config, clip, job_link)

    def _post(self, command: pipe.StartRender, config: SampleConfig, clip: RenderedClip, job_link: JobLink) -> None:
        """Write a clip's files and tell them."""
        job = command.job
        with self._ending(job_link):
            traces = [AdapterTrace.of(use) for use in job.adapters]
            path, picture, written = self._write(clip, config, traces, command.out_dir / "clip", max_bytes=job.max_bytes)
            self.link.send(
                pipe.Rendered(
                    job_id=job.job_id,
                    clip=path,
                    poster=picture,
                    geometry=clip.geometry,
                    posted_width=written.width,
                    posted_height=written.height,
                    seed=clip.seed,
                    num_frames=len(clip.frames),
                    has_audio=clip.has_sound,
                    scenes=clip.scenes,
                    join_psnr=clip.join_psnr,
                )
            )

    @contextlib.contextmanager
    def _reporting(self, job_link: JobLink) -> Iterator[None]:
        """Say whose turn it is; what goes wrong in the body ends the job and nothing else."""
        if self._at_work != job_link.job_id:
            self._at_work = job_link.job_id
            self.link.send(pipe.AtWork(job_id=job_link.job_id))
        with self._ending(job_link):
            yield

    @contextlib.contextmanager
    def _ending(self, job_link: JobLink) -> Iterator[None]:
        """Turn whatever goes wrong in the body into the job's ending, so that others go on."""
        failed = False
        try:
            yield
        except JobCancelledError:
            self.link.send(pipe.WorkCancelled(job_id=job_link.job_id, steps_done=job_link.steps_done))
        except Exception as error:
            failed = True
            logger.exception("job %s failed", job_link.job_id)
            code, detail = code_of(error), describe(error)
            self.link.send(pipe.WorkFailed(job_id=job_link.job_id, code=code, detail=detail, steps_done=job_link.steps_done))
        if failed:  # not in the handler, where the traceback still holds the tensors
            _release_memory()


def _use(use: AdapterUse, path: Path) -> LoadedUse:
    return LoadedUse(path, use.name, use.weight, use.trigger, use.kind, use.second_stage_weight)


def _features(run_dir: Path) -> tuple[Path, ...]:
    """Files of the run's feature cache."""
    return tuple(sorted((run_dir / "cache").glob("*.safetensors")))


def _release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
