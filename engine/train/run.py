"""One LoRA training as a stepper: whoever owns the device calls `step()` and may do other work in between.

`step()` does one small thing and returns: prepare one item, or make one optimizer step, or render one preview. All
randomness comes from the run's own generators, so what happens between two steps cannot change what is learned.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Any, Final, Self

import torch

from engine.config import TrainConfig
from engine.contracts.events import Phase
from engine.contracts.lora import LoraManifest
from engine.control.condition import reference_coords
from engine.data.buckets import Bucket
from engine.data.dataset import Batch, LocalItem, Sample, TextTable, collate
from engine.data.prepare import ItemReader, Preparation
from engine.errors import DeadAdapterError, InvalidConfigError, JobCancelledError, LossNotFiniteError
from engine.model.adapters import delta_norm, save_lora
from engine.model.loader import ResidentBase, pack_latents
from engine.model.memory import guarded
from engine.ports import CancelToken, EventSink, MetricLogger
from engine.train import checkpoint
from engine.train.checkpoint import Checkpoint
from engine.train.learning_rate import learning_rate_at
from engine.train.metrics import JsonlMetrics, draw_loss_curve
from engine.train.objective import noised, velocity_loss, with_reference
from engine.train.state import TrainState, begin, to_checkpoint

PREVIEW_POSTPONED: Final = None
_TIMED_STEPS: Final = 20  # steps the reported pace is averaged over

RenderPreview = Callable[[int, Path], Path | None]
"""(step, LoRA file) -> picture, or None when the preview gave way to something more urgent and should be tried again."""


@dataclass(frozen=True)
class TrainedLora:
    """What a training leaves behind."""

    path: Path
    manifest: LoraManifest
    loss_curve_png: Path


@dataclass(frozen=True)
class RunParts:
    """What the recipe has wired for a run; the run changes none of it."""

    resident: ResidentBase
    config: TrainConfig  # completed: nothing is None that a preset can fill
    items: Sequence[LocalItem]
    reader: ItemReader
    texts: TextTable
    data_sha256: str
    identity: str
    run_dir: Path
    sink: EventSink
    cancel: CancelToken
    metrics: MetricLogger
    render_preview: RenderPreview


class TrainingRun:
    """A training between `build_run` and `close`; not thread-safe.

    Raises (from `step`):
        JobCancelledError: somebody asked to stop; state is intact, `save_checkpoint` still works.
        InvalidMediaError: an item cannot be decoded.
        LossNotFiniteError: the training diverged.
        OutOfMemoryError: a step does not fit.
    """

    def __init__(self, parts: RunParts, resume_from: Checkpoint | None) -> None:
        self._parts = parts
        self._resume_from = resume_from
        self._preparation = Preparation(parts.reader, parts.items)
        self._samples: list[Sample] = []
        self._state: TrainState | None = None
        self._coords: dict[Bucket, torch.Tensor] = {}
        self._pace: deque[float] = deque(maxlen=_TIMED_STEPS)
        self._preview_due = False
        self._closed = False
        parts.run_dir.mkdir(parents=True, exist_ok=True)
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
    def finished(self) -> bool:
        """True when `step()` has nothing left to do."""
        return self._state is not None and self._state.step >= self.total_steps and not self._preview_due

    def step(self) -> None:
        """Do the next small thing and report it; see the class for what can be raised."""
        if self._parts.cancel.cancelled():
            raise JobCancelledError("The training was cancelled.")
        with guarded("A training step"):
            if self._state is None:
                self._prepare_next()
            elif self._preview_due:
                self._preview(self._state)
            elif self._state.step < self.total_steps:
                self._train(self._state)

    def _train(self, state: TrainState) -> None:
        config, started = self._parts.config, time.perf_counter()

        batch = collate(self._samples, state.order.next(), self._parts.resident.device)
        loss, is_preservation = self._loss(state, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        learning_rate = learning_rate_at(state.step, config)
        grad_norm = self._update(state, learning_rate)
        state.step += 1

        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(grad_norm):
            raise LossNotFiniteError(f"The loss stopped being a number at step {state.step}; lower the learning rate.")
        if not is_preservation:
            state.losses[state.step] = value
        self._report(state, value, is_preservation, learning_rate, grad_norm, time.perf_counter() - started)

        self._preview_due = _due(state.step, config.preview_every)
        if _due(state.step, config.checkpoint_every) and state.step < self.total_steps:
            self.save_checkpoint()

    def _loss(self, state: TrainState, batch: Batch) -> tuple[torch.Tensor, bool]:
        """Loss of one batch, and whether it preserves the base instead of learning the items.

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
        text, coords = self._parts.texts.batch(captions), self._coords_of(bucket)
        shown = noisy if batch.guides is None else with_reference(noisy, pack_latents(batch.guides))

        def predicted() -> torch.Tensor:
            with self._precision():
                velocity = self._parts.resident.velocity(shown.tokens, shown.timestep, shown.sigma, text, coords)
            return velocity[:, : noisy.target.shape[1]]

        if plain is None:
            return velocity_loss(predicted(), noisy.target, noisy.learned), False
        with torch.no_grad(), state.adapter.disabled():
            kept = predicted().float()
        return (config.preservation_weight or 0.0) * velocity_loss(predicted(), kept, noisy.learned), True

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
            self._samples.append(sample)
            parts.texts.add(sample.caption)
            if sample.class_caption is not None and parts.config.preservation_share:
                parts.texts.add(sample.class_caption)
        if not preparation.left:
            (parts.run_dir / "dataset.json").write_text(json.dumps(preparation.facts(), indent=1))
            parts.texts.add("")
            self._state = self._begin()
        parts.sink.progress(Phase.PREPARING, preparation.total - preparation.left, preparation.total)

    def _begin(self) -> TrainState:
        parts = self._parts
        state = begin(parts.resident, parts.config, [sample.bucket for sample in self._samples], self._resume_from)
        self._resume_from = None
        if parts.config.gradient_checkpointing:
            parts.resident.transformer.enable_gradient_checkpointing()
        return state

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

    def _precision(self) -> Any:
        """bf16 matrix products around fp32 adapter weights on a bf16 base; nothing on an fp32 one."""
        resident = self._parts.resident
        return nullcontext() if resident.dtype is torch.float32 else torch.autocast(resident.device.type, resident.dtype)

    def _preview(self, state: TrainState) -> None:
        """Render the adapter as it is, from a file as anybody would; a preview that gave way stays due."""
        lora = self._parts.run_dir / "preview.safetensors"
        save_lora(lora, state.adapter.modules, self._manifest(state), self._parts.resident.dtype)
        try:
            image = self._parts.render_preview(state.step, lora)
        finally:
            lora.unlink(missing_ok=True)
        if image is not PREVIEW_POSTPONED:
            self._preview_due = False
            self._parts.sink.preview(state.step, image)

    def save_checkpoint(self) -> Path | None:
        """Write resume state to `run_dir/checkpoint` and report it; None while there is nothing to resume yet."""
        state = self._state
        if state is None or state.step == 0:
            return None
        path = checkpoint.save(self._parts.run_dir / "checkpoint", to_checkpoint(state, self._parts.identity))
        self._parts.sink.checkpoint(state.step, (path,))
        return path

    def finish(self) -> TrainedLora:
        """Write the LoRA and its loss curve; also possible before the last step.

        Raises:
            DeadAdapterError: the adapter changes nothing.
            InvalidConfigError: nothing was trained yet.
        """
        state, parts = self._state, self._parts
        if state is None or state.step == 0:
            raise InvalidConfigError("Nothing was trained yet; make at least one step.")
        parts.sink.progress(Phase.SAVING, 0, 1)
        if not any(delta_norm(down, up) > 0.0 for down, up in state.adapter.modules.values()):
            raise DeadAdapterError("The training changed nothing; raise the learning rate or the number of steps.")
        manifest = self._manifest(state)
        path = parts.run_dir / f"{parts.config.name}.safetensors"
        save_lora(path, state.adapter.modules, manifest, parts.resident.dtype)
        curve = draw_loss_curve(parts.run_dir / "loss_curve.png", list(state.losses), list(state.losses.values()), parts.config.name)
        parts.sink.progress(Phase.SAVING, 1, 1)
        return TrainedLora(path, manifest, curve)

    def _manifest(self, state: TrainState) -> LoraManifest:
        config, profile = self._parts.config, self._parts.resident.base.profile
        last = list(state.losses.values())[-max(1, len(state.losses) // 10) :]
        return LoraManifest(
            name=config.name,
            kind=config.kind,
            trigger=config.trigger,
            base=profile.name,
            base_revision=profile.revision,
            rank=config.rank,
            targets=config.targets or (),
            steps=state.step,
            learning_rate=config.learning_rate,
            width=config.width,
            height=config.height,
            items=len(self._parts.items),
            data_sha256=self._parts.data_sha256,
            seed=config.seed,
            final_loss=fmean(last) if last else None,
            control=config.control,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def close(self) -> None:
        """Take the adapter off: the base is exactly the base again. Safe to call twice and after any error."""
        if self._closed:
            return
        self._closed = True
        self._log.close()
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


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
