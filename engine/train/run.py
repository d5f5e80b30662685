"""One LoRA training as a stepper: whoever owns the device calls `step()` and may do other work in between.

`step()` does one small thing and returns: prepare one item, or make one optimizer step, or a piece of a look at the checkpoint. All
randomness comes from the run's own generators, so what happens between two steps cannot change what is learned.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Final, Self

import torch

from engine.contracts.events import Phase
from engine.control.condition import reference_coords
from engine.data.buckets import Bucket
from engine.data.dataset import Batch, Sample, collate
from engine.data.prepare import Preparation
from engine.errors import InvalidConfigError, JobCancelledError, LossNotFiniteError
from engine.evaluate.exam import Exam
from engine.evaluate.held_out import HeldOutGrid
from engine.model.loader import pack_latents
from engine.model.memory import guarded
from engine.model.placement import Placement
from engine.train import checkpoint
from engine.train.checkpoint import Checkpoint
from engine.train.learning_rate import learning_rate_at
from engine.train.metrics import JsonlMetrics
from engine.train.objective import Asked, noised, velocity_loss, with_reference
from engine.train.parts import RunParts
from engine.train.result import TrainedLora, save_adapter, write_result
from engine.train.seeds import generator_for
from engine.train.state import TrainState, begin, to_checkpoint

PREVIEW_POSTPONED: Final = None
_TIMED_STEPS: Final = 20  # steps the reported pace is averaged over


class TrainingRun:
    """A training between `build_run` and `close`; not thread-safe.

    Raises (from `step`):
        JobCancelledError: somebody asked to stop; state is intact, `save_checkpoint` still works.
        InvalidMediaError: an item cannot be decoded.
        LossNotFiniteError: the training diverged.
        OutOfMemoryError: a step does not fit.
    """

    def __init__(self, parts: RunParts, resume_from: Checkpoint | None) -> None:
        self._world = parts.world
        self._closed = False
        self._has_saved = resume_from is not None
        parts.run_dir.mkdir(parents=True, exist_ok=True)
        self._set_out(parts, resume_from)

    def _set_out(self, parts: RunParts, resume_from: Checkpoint | None) -> None:
        """Begin, or begin again in another way: nothing is prepared yet."""
        self._parts = parts
        self._resume_from = resume_from
        self._preparation = Preparation(parts.reader, parts.items, parts.world.rank * len(parts.items) // parts.world.size)
        self._samples: list[Sample] = []
        self._held_out: list[Sample] = []
        self._sitting: Iterator[Path | None] | None = None
        self._state: TrainState | None = None
        self._placement = Placement(parts.resident, parts.fit.plan, sharded=parts.world.shards)
        self._coords: dict[Bucket, torch.Tensor] = {}
        self._pace: deque[float] = deque(maxlen=_TIMED_STEPS)
        self._preview_due = False
        self._log = JsonlMetrics(parts.run_dir / "metrics.jsonl", after_step=self.steps_done)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self._parts.config.steps

    @property
    def steps_done(self) -> int:
        """Optimizer steps made so far, those before a resume included."""
        if self._state is not None:
            return self._state.step
        return self._resume_from.step if self._resume_from is not None else 0

    @property
    def prepared(self) -> bool:
        """True once every item is encoded and training can begin."""
        return self._state is not None

    @property
    def finished(self) -> bool:
        """True when `step()` has nothing left to do."""
        return self._state is not None and self._is_trained(self._state) and not self._preview_due and self._sitting is None

    def _is_trained(self, state: TrainState) -> bool:
        """True after the last step, or once further ones would make nothing better."""
        return state.step >= self.total_steps or (self._parts.config.stop_on_plateau and self._parts.exam.has_stalled)

    def step(self) -> None:
        """Do the next small thing and report it; see the class for what can be raised."""
        if self._parts.cancel.cancelled():
            raise JobCancelledError("The training was cancelled.")
        ran_out = False
        with guarded("A training step"):
            if self._state is None:
                self._prepare_next()
            elif self._sitting is not None:
                self._look(self._state, self._sitting)
            elif self._preview_due:
                self._preview(self._state)
            elif not self._is_trained(self._state):
                try:
                    self._train(self._state)
                except torch.OutOfMemoryError:
                    if self._parts.fit.ran_out:
                        raise
                    ran_out = True
        if ran_out:  # only now is what the failed step held free
            self._step_down()

    def _step_down(self) -> None:
        """Go on in a way that needs less memory, from the latest checkpoint or from the beginning; once, then the device is too small.

        Raises:
            OutOfMemoryError: there is no way that needs less.
        """
        cheaper = self._parts.refitted(self._parts.fit.cheaper())
        self._take_down()
        self._set_out(cheaper, cheaper.saved() if self._has_saved else None)

    def _train(self, state: TrainState) -> None:
        config, started = self._parts.config, time.perf_counter()

        self._placement.before_step()
        asked = self._asked(state, collate(self._samples, state.order.next(), self._parts.resident.device))
        with self._world.together():
            loss = self._learn(state, asked)
        self._world.average(state.adapter.parameters)
        learning_rate = learning_rate_at(state.step, config)
        with self._world.together():
            grad_norm = self._update(state, learning_rate)
        state.step += 1

        value = float(self._world.mean(loss))
        if not math.isfinite(value) or not math.isfinite(grad_norm):
            raise LossNotFiniteError(f"The loss stopped being a number at step {state.step}; lower the learning rate.")
        if not asked.preserves:
            state.losses[state.step] = value
        self._report(state, value, asked.preserves, learning_rate, grad_norm, time.perf_counter() - started)

        self._preview_due = _due(state.step, config.preview_every)
        self._sit_if_due(state)
        if _due(state.step, config.checkpoint_every) and state.step < self.total_steps:
            self.save_checkpoint()

    def _asked(self, state: TrainState, batch: Batch) -> Asked:
        """What one batch asks, with all that is drawn for it: the same in every process, of which each answers its share.

        A preservation step shows the model the same noisy pictures with captions that lack the trigger and asks for what
        the base alone would answer, so that the trigger, and nothing else, comes to mean the new thing ("differential
        output preservation", known from ai-toolkit).
        """
        config, generator = self._parts.config, state.noise_generator
        bucket = batch.bucket
        rule = self._parts.resident.base.profile.geometry
        tokens_per_frame = (bucket.height // rule.spatial_compression) * (bucket.width // rule.spatial_compression)
        noisy = noised(pack_latents(batch.latents), tokens_per_frame, config.first_frame_probability or 0.0, generator)
        drawn = bool(torch.rand((), generator=generator) < (config.preservation_share or 0.0))
        # before the first learning step the adapter is the base, and there is nothing to keep
        plain = batch.class_captions if drawn and state.losses else None
        dropped = torch.rand(len(batch.captions), generator=generator) < (config.caption_dropout or 0.0)
        captions = plain or ["" if drop else caption for drop, caption in zip(dropped.tolist(), batch.captions, strict=True)]
        guides = None if batch.guides is None else pack_latents(batch.guides)
        return Asked(noisy, guides, tuple(captions), bucket, preserves=plain is not None)

    def _learn(self, state: TrainState, asked: Asked) -> torch.Tensor:
        """Add the gradients of this process's share of `asked`; returns its loss."""
        share, at_once = asked.part(self._world.share(len(asked.captions))), self._parts.fit.plan.samples_at_once
        total = torch.zeros((), device=self._parts.resident.device)
        for piece in share.pieces(at_once):
            loss = self._loss(state, piece) * (len(piece.captions) / len(share.captions))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _loss(self, state: TrainState, asked: Asked) -> torch.Tensor:
        """How wrong the model is about `asked`; a scalar with a graph."""
        resident, noisy = self._parts.resident, asked.noisy
        text, coords = self._parts.texts.batch(asked.captions), self._coords_of(asked.bucket)
        shown = noisy if asked.guides is None else with_reference(noisy, asked.guides)

        def predicted() -> torch.Tensor:
            with resident.autocast():
                velocity = resident.velocity(shown.tokens, shown.timestep, shown.sigma, text, coords)
            return velocity[:, : noisy.target.shape[1]]

        if not asked.preserves:
            return velocity_loss(predicted(), noisy.target, noisy.learned)
        with torch.no_grad(), state.adapter.disabled():
            kept = predicted().float()
        return (self._parts.config.preservation_weight or 0.0) * velocity_loss(predicted(), kept, noisy.learned)

    def _update(self, state: TrainState, learning_rate: float) -> float:
        """One optimizer step with clipped gradients; returns the norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(state.adapter.parameters, self._parts.config.max_grad_norm)
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _report(
        self, state: TrainState, loss: float, is_preservation: bool, learning_rate: float, grad_norm: float, seconds: float
    ) -> None:
        self._pace.append(seconds)
        name = "preservation_loss" if is_preservation else "loss"
        metrics = {name: loss, "learning_rate": learning_rate, "grad_norm": grad_norm, "seconds": seconds}
        self._log.log(state.step, metrics)
        self._parts.metrics.log(state.step, metrics)
        recent = list(state.losses.values())[-_TIMED_STEPS:]
        self._parts.sink.progress(
            Phase.TRAINING,
            state.step,
            self.total_steps,
            seconds_per_step=fmean(self._pace),
            loss=fmean(recent) if recent else None,
        )

    def _prepare_next(self) -> None:
        """Do one piece of the preparation or, when all is done, begin to train."""
        parts, preparation = self._parts, self._preparation
        for sample in preparation.step():
            if sample.item not in parts.kept_aside:
                self._samples.append(sample)
            elif all(other.item != sample.item for other in self._held_out):
                self._held_out.append(sample)  # one window of a long clip tells enough
            parts.texts.add(sample.caption)
            if sample.class_caption is not None and parts.config.preservation_share:
                parts.texts.add(sample.class_caption)
        if not preparation.left:
            (parts.run_dir / "dataset.json").write_text(json.dumps(preparation.facts(), indent=1))
            parts.texts.add("")
            self._begin()
        parts.sink.progress(Phase.PREPARING, preparation.total - preparation.left, preparation.total)

    def _begin(self) -> None:
        parts = self._parts
        self._samples.sort(key=lambda sample: sample.item)  # each process began at another one
        self._held_out.sort(key=lambda sample: sample.item)
        self._state = state = begin(parts.resident, parts.config, [sample.bucket for sample in self._samples], self._resume_from)
        if self._resume_from is not None:
            parts.exam.restore(self._resume_from.facts["exam"], self._resume_from.tensors)
        self._resume_from = None
        parts.world.shard(parts.resident.transformer, state.adapter.parameters)
        if parts.config.gradient_checkpointing:
            parts.resident.transformer.enable_gradient_checkpointing()
        self._placement.take()
        if parts.fit.told is not None:
            parts.sink.fitted(parts.fit.told)
        asked = self._held_out or self._samples[:1]
        grid = HeldOutGrid(
            parts.resident,
            asked,
            [parts.texts.batch([sample.caption]) for sample in asked],
            [self._coords_of(sample.bucket) for sample in asked],
            generator_for(parts.config.seed, "held-out noise"),
        )
        parts.exam.begin(grid, self._samples, self._held_out)
        self._sit_if_due(state)  # a run that was stopped while it looked at its last checkpoint looks again

    def _sit_if_due(self, state: TrainState) -> None:
        if self._parts.exam.is_due(state.step):
            self._sitting = self._parts.exam.sit(state.step, state.adapter, partial(save_adapter, self._parts, state))

    def _look(self, state: TrainState, sitting: Iterator[Path | None]) -> None:
        """One piece of a look at the checkpoint; what it finds is the exam's."""
        for picture in sitting:
            if picture is not None:
                self._parts.sink.preview(state.step, picture)
            return
        self._sitting = None
        self._parts.exam.agree(self._world.main_does)
        self._parts.metrics.log(state.step, _figures(self._parts.exam))

    def _coords_of(self, bucket: Bucket) -> torch.Tensor:
        """Positions of a bucket's tokens, those of its guide after them; at the base's frame rate for stills too, as in sampling."""
        if bucket not in self._coords:
            resident, control = self._parts.resident, self._parts.config.control
            rule = resident.base.profile.geometry
            latent_frames = (bucket.num_frames - 1) // rule.temporal_compression + 1
            height, width = bucket.height // rule.spatial_compression, bucket.width // rule.spatial_compression
            coords = resident.video_coords(latent_frames, height, width, rule.fps)
            if control is not None:
                grid = latent_frames, height // control.downscale, width // control.downscale
                coords = torch.cat([coords, reference_coords(resident, grid, control, rule.fps)], dim=2)
            self._coords[bucket] = coords
        return self._coords[bucket]

    def _preview(self, state: TrainState) -> None:
        """Render the adapter as it is, from a file as anybody would; a preview that gave way stays due."""
        lora = self._parts.run_dir / "preview.safetensors"
        save_adapter(self._parts, state, lora)
        try:
            image = self._parts.render_preview(state.step, lora)
        finally:
            lora.unlink(missing_ok=True)
        if image is not PREVIEW_POSTPONED:
            self._preview_due = False
            self._parts.sink.preview(state.step, image)

    def save_checkpoint(self) -> Path | None:
        """Write resume state to `run_dir/checkpoint` and report it; None while there is nothing to resume yet."""
        state, exam = self._state, self._parts.exam
        if state is None or state.step == 0:
            return None
        path = checkpoint.save(
            self._parts.run_dir / "checkpoint", to_checkpoint(state, self._parts.config, exam, self._parts.began_at, self._parts.identity)
        )
        self._has_saved = True
        exam.tidy()
        self._parts.sink.checkpoint(state.step, (path, *exam.kept_files().values()))
        return path

    def finish(self) -> TrainedLora:
        """Write the chosen LoRA, its loss curve and the chart of the choice; also possible before the last step.

        Raises:
            DeadAdapterError: the adapter changes nothing, or nothing that can be seen in a prediction.
            InvalidConfigError: nothing was trained yet.
        """
        if self._state is None or self._state.step == 0:
            raise InvalidConfigError("Nothing was trained yet; make at least one step.")
        return write_result(self._parts, self._state)

    def close(self) -> None:
        """Take the adapter off: the base is exactly the base again. Safe to call twice and after any error."""
        if self._closed:
            return
        self._closed = True
        self._take_down()

    def _take_down(self) -> None:
        self._log.close()
        self._placement.release()
        if self._state is not None:
            self._state.adapter.remove()
            if self._parts.config.gradient_checkpointing:
                self._parts.resident.transformer.disable_gradient_checkpointing()

    def __enter__(self) -> Self:
        """The run itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()


def _figures(exam: Exam) -> dict[str, float]:
    """The latest score as metrics."""
    score = exam.scores[-1].model_dump(exclude={"step", "faults"}, exclude_none=True)
    return {f"exam_{name}": value for name, value in score.items()}


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
