"""One look at a checkpoint after the other: fixed questions, fixed prompts and seeds, the same for all, and a score for each.

An exam works in small pieces: every `next` is one forward pass, one decoded training item or one clip, so that whoever owns the
device gives other work its turn in between. Clips come from `engine.sample.generate` with the checkpoint's file, as anybody's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.config import GuideVideo, SampleConfig, TrainConfig
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraKind
from engine.contracts.selection import CheckpointScore, Selection
from engine.control.extract import extractor_of
from engine.data.captions import class_caption, with_trigger
from engine.data.dataset import Sample
from engine.data.videos import read_clip
from engine.errors import JobCancelledError
from engine.evaluate import measures, select
from engine.evaluate.guided import Adherence
from engine.evaluate.held_out import Adapter, Answers, HeldOutGrid, noise_between
from engine.evaluate.identity import Features, Frames, Likeness, spread_frames
from engine.hashing import file_sha256
from engine.model.adapters import AdapterStack, LoadedUse
from engine.model.loader import ResidentBase
from engine.ports import CancelToken, Either, NeverCancelled
from engine.sample.generate import generate

LOOKS: Final = 6
"""Checkpoints of a training that are looked at; on the tiny base, one look costs as much time as a dozen steps."""

MIN_STEPS_BETWEEN: Final = 25
MIN_STEPS: Final = 100  # a shorter training is over before there is anything to choose from

_MAX_ORIGINALS: Final = 32  # training items compared with
_FRAMES_PER_CLIP: Final = 4
_YIELDS: Final = 5  # times a clip gives way to more urgent work before it insists
_THUMB_PX: Final = 96


def looks_every(steps: int) -> int:
    """Steps from one look to the next; 0 for a training too short to be looked at."""
    return 0 if steps < MIN_STEPS else max(MIN_STEPS_BETWEEN, 10 * math.ceil(steps / LOOKS / 10))


@dataclass(frozen=True)
class Showing:
    """What is rendered to show a training: a prompt and, for an effect, the video that guides it."""

    prompt: str = ""
    guide: GuideVideo | None = None
    truth: Path | None = None
    """The clip that follows this guide, where the training never learns it."""


_Latest = tuple[CheckpointScore, dict[int, tuple[float, ...]]]


@dataclass(frozen=True)
class Prompts:
    """What is rendered of every checkpoint: with the trigger, and without it for comparison."""

    asking: tuple[Showing, ...]
    plain: tuple[Showing, ...]


@dataclass(frozen=True)
class _Reference:
    """What checkpoints are compared with, made once."""

    asking: list[Frames]  # the bare base's clips
    plain: list[Frames]
    direction: measures.Direction
    originals: measures.Originals


@dataclass
class Exam:
    """The candidates of one training and what is known of them.

    `folder` keeps their files. `gives_way` says that something more urgent waits; a clip then stops and is begun again later.
    """

    resident: ResidentBase
    config: TrainConfig
    showings: Sequence[Showing]
    likeness: Likeness
    folder: Path
    cancel: CancelToken
    gives_way: CancelToken
    scores: list[CheckpointScore] = field(default_factory=list)
    thumbs: dict[int, NDArray[np.uint8]] = field(default_factory=dict)  # step -> a frame of its first clip
    base_loss: float | None = None
    errors: dict[int, tuple[float, ...]] = field(default_factory=dict)  # step -> what each held-out question's answer was off by
    _grid: HeldOutGrid | None = None
    _holds_out: bool = False
    _training: Sequence[Sample] = ()
    _prompts: Prompts = Prompts((), ())
    _reference: _Reference | None = None
    _adherence: Adherence | None = None

    def begin(self, grid: HeldOutGrid, training: Sequence[Sample], held_out: Sequence[Sample]) -> None:
        """Say what is asked: questions about the held-out samples, or about training samples when none could be spared."""
        self._grid, self._training, self._holds_out = grid, training, bool(held_out)
        self._prompts = prompts_for(self.config, self.showings, [sample.caption for sample in (*held_out, *training)])

    def is_due(self, step: int) -> bool:
        """True when the checkpoint after `step` is to be looked at and was not yet."""
        every = self.config.evaluate_every or 0
        wanted = every > 0 and step > 0 and (step % every == 0 or step == self.config.steps)
        return wanted and all(score.step != step for score in self.scores)

    @property
    def has_stalled(self) -> bool:
        """True when further steps are not worth their time."""
        return select.has_stalled(self.scores)

    def sit(self, step: int, adapter: Adapter, save: Callable[[Path], object]) -> Iterator[Path | None]:
        """Look at the checkpoint after `step`; `save` writes its file. Yields after each piece; a picture of it when there is one."""
        assert self._grid is not None
        yield from (None for _ in self._grid.ask_base(adapter))
        self.base_loss = self._grid.base_loss if self._holds_out else None
        yield from self._refer()
        self.folder.mkdir(parents=True, exist_ok=True)
        lora = self.file_of(step)
        save(lora)
        answers = Answers((), 0.0)
        for found in self._grid.answers():
            answers = found or answers
            yield None
        try:
            asking = yield from self._clips(self._prompts.asking, lora)
            plain = yield from self._clips(self._prompts.plain, lora)
        finally:
            AdapterStack(self.resident).forget(file_sha256(lora))
        self._record(self._score(step, answers, asking, plain), asking)
        yield self._picture(step, asking)

    def agree(self, told: Callable[[Callable[[], _Latest]], _Latest]) -> None:
        """Take the latest score from `told`: processes that train together must not decide by figures that differ in the last digit."""
        self.scores[-1], self.errors = told(lambda: (self.scores[-1], self.errors))

    def selection(self, *, stopped_early: bool = False) -> Selection | None:
        """The choice so far; None when nothing was looked at."""
        if not self.scores:
            return None
        best = select.chosen(self.scores)
        return Selection(
            chosen=best.step,
            scores=tuple(self.scores),
            base_held_out_loss=self.base_loss,
            measure=self.likeness.name,
            stopped_early=stopped_early,
        )

    def file_of(self, step: int) -> Path:
        """Where the checkpoint after `step` lies while it is kept."""
        return self.folder / f"kept-{step:06d}.safetensors"

    def kept_files(self) -> dict[int, Path]:
        """Files worth their space, by step."""
        return {step: self.file_of(step) for step in sorted(select.kept_steps(self.scores))}

    def tidy(self) -> None:
        """Delete the files of checkpoints that are no longer kept; call it when no saved state refers to them any more."""
        kept = select.kept_steps(self.scores)
        for score in self.scores:  # the checkpoint that is being looked at has no score yet, and its file is needed
            if score.step not in kept:
                self.file_of(score.step).unlink(missing_ok=True)

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What a resume needs besides the kept files: JSON-ready facts, and tensors."""
        facts = {
            "scores": [score.model_dump(mode="json") for score in self.scores],
            "base_loss": self.base_loss,
            "errors": {str(step): errors for step, errors in self.errors.items()},
        }
        return facts, {f"thumb.{step}": torch.from_numpy(thumb) for step, thumb in self.thumbs.items()}

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from `state()`."""
        self.scores = [CheckpointScore.model_validate(score) for score in facts["scores"]]
        self.base_loss = facts["base_loss"]
        self.errors = {int(step): tuple(errors) for step, errors in facts.get("errors", {}).items()}
        found = {name: tensor for name, tensor in tensors.items() if name.startswith("thumb.")}
        self.thumbs = {int(name.removeprefix("thumb.")): tensor.numpy() for name, tensor in found.items()}

    def _refer(self) -> Iterator[None]:
        """Render the bare base and look at what checkpoints are compared with, once: the training set or, of an effect, true clips."""
        if self._reference is not None or self._adherence is not None or not self._prompts.asking:
            return
        if self.config.kind is LoraKind.EFFECT:
            yield from self._refer_to_guides()
            return
        asking = yield from self._clips(self._prompts.asking, None)
        plain = yield from self._clips(self._prompts.plain, None)
        items: list[Frames] = []
        spread = np.unique(np.linspace(0, len(self._training) - 1, _MAX_ORIGINALS).round().astype(int))
        for index in spread:
            frames = self.resident.decode_video(self.resident.denormalised(self._training[index].latents.unsqueeze(0)))
            items.append((frames * 255.0).round().astype(np.uint8))
            yield None
        self._reference = _Reference(
            asking=asking,
            plain=plain,
            direction=measures.Direction.between(self._seen(asking), self._seen(items)),
            originals=measures.Originals.of([spread_frames([item], _FRAMES_PER_CLIP) for item in items]),
        )

    def _refer_to_guides(self) -> Iterator[None]:
        truths, control = [showing.truth for showing in self._prompts.asking if showing.truth is not None], self.config.control
        if len(truths) < len(self._prompts.asking) or control is None:
            return
        unguided = yield from self._clips(self._prompts.asking, None)
        size = self._geometry
        wanted = [read_clip(path, size.width, size.height, fps=size.fps, num_frames=size.num_frames) for path in truths]
        self._adherence = Adherence.to(wanted, unguided, extractor_of(self.resident, control.kind))

    @property
    def _geometry(self) -> Geometry:
        """Of the clips that are looked at."""
        rule = self.resident.base.profile.geometry
        frames = min(rule.default_frames, 3 * rule.frame_stride + 1)
        return Geometry(width=self.config.width, height=self.config.height, num_frames=frames, fps=rule.fps)

    def _clips(self, showings: Sequence[Showing], lora: Path | None) -> Generator[None, None, list[Frames]]:
        """Frames of a clip for each of `showings`."""
        clips: list[Frames] = []
        for showing in showings:
            frames = yield from self._clip(showing, lora)
            clips.append(frames)
        return clips

    def _clip(self, showing: Showing, lora: Path | None) -> Generator[None, None, Frames]:
        """Frames of one clip; tries again after it gave way, and insists at last. The bare base follows no guide."""
        steps = max(8, self.resident.base.sampling.num_inference_steps // 2)
        sample = SampleConfig(
            prompt=showing.prompt,
            guide=None if lora is None else showing.guide,
            geometry=self._geometry,
            seed=self.config.preview_seed,
            num_inference_steps=steps,
        )
        uses = [] if lora is None else [LoadedUse(lora, self.config.name, 1.0, None, self.config.kind)]
        patience = _YIELDS
        while True:
            gives_way = self.gives_way if patience > 0 else NeverCancelled()
            try:
                frames = generate(self.resident, sample, uses, cancel=Either(self.cancel, gives_way)).frames
            except JobCancelledError:
                if self.cancel.cancelled():
                    raise
                patience -= 1
                yield None
            else:
                yield None
                return frames

    def _score(self, step: int, answers: Answers, asking: list[Frames], plain: list[Frames]) -> CheckpointScore:
        """Everything that can be measured."""
        figures: dict[str, Any] = self._on_held_out(step, answers) if self._holds_out else {}
        reference = self._reference
        if reference is not None:
            if self.config.kind is not LoraKind.MOTION:  # how frames look says nothing of how they follow each other
                figures["identity"] = reference.direction.moved(self._seen(reference.asking), self._seen(asking))
            copied = reference.originals.copied_share(spread_frames(asking, _FRAMES_PER_CLIP))
            chance = reference.originals.copied_share(spread_frames(reference.asking, _FRAMES_PER_CLIP))
            figures["memorised"] = max(0.0, copied - chance)
            figures["motion"] = measures.motion_ratio(reference.asking, asking)
            if plain:
                figures["drift"] = reference.direction.moved(self._seen(reference.plain), self._seen(plain))
        if self._adherence is not None:
            figures["adherence"] = self._adherence.of(asking)
        rounded = {name: round(value, 4) for name, value in figures.items()}
        return CheckpointScore(step=step, effect=answers.effect, **rounded)

    def _on_held_out(self, step: int, answers: Answers) -> dict[str, float]:
        """Loss, and how much of its difference to the lowest so far may be chance."""
        self.errors[step] = answers.errors
        found = {"held_out_loss": answers.loss}
        if self.scores:
            lowest = min(self.scores, key=lambda score: score.held_out_loss or 0.0)
            found["held_out_noise"] = noise_between(answers.errors, self.errors[lowest.step])
        return found

    def _record(self, score: CheckpointScore, asking: list[Frames]) -> None:
        self.scores.append(select.with_faults(score, self.scores, self.base_loss))
        if asking:
            frame = Image.fromarray(asking[0][len(asking[0]) // 2])
            frame.thumbnail((_THUMB_PX, _THUMB_PX))
            self.thumbs[score.step] = np.array(frame)

    def _picture(self, step: int, asking: list[Frames]) -> Path | None:
        from engine.sample.video import contact_sheet

        if not asking:
            return None
        path = self.folder.parent / f"preview-{step:06d}.png"
        contact_sheet(asking[0], path)
        return path

    def _seen(self, clips: Sequence[Frames]) -> Features:
        return self.likeness.features(spread_frames(clips, _FRAMES_PER_CLIP))


def prompts_for(config: TrainConfig, showings: Sequence[Showing], captions: Sequence[str]) -> Prompts:
    """Two prompts that ask for what is learned, and the first of them without the trigger.

    What the training is shown by, then a caption, held-out ones first. An effect is looked at with its guides, or not at all.
    """
    if config.kind is LoraKind.EFFECT:
        return Prompts(tuple(showing for showing in showings if showing.guide is not None), ())
    trigger = config.trigger
    wanted = [text for text in (showings[0].prompt, *captions[:1]) if text]
    asking = tuple(dict.fromkeys(wanted if trigger is None else [with_trigger(text, config.kind, trigger) for text in wanted]))
    plain = () if trigger is None else (class_caption(asking[0], config.kind, trigger),)
    return Prompts(tuple(map(Showing, asking)), tuple(map(Showing, plain)))
