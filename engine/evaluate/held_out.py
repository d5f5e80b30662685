"""How wrong a training is on items it never sees, on a fixed grid of noise levels and noise.

Everything is drawn once from the training's seed, so two checkpoints answer exactly the same questions and differences are
theirs alone. The same questions, asked with the adapter off, tell whether it has any effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final, Protocol

import torch

from engine.data.dataset import Sample
from engine.model.loader import ResidentBase, TextFeatures, pack_latents

SIGMAS: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
MIN_ITEMS_TO_HOLD_OUT: Final = 8
MAX_HELD_OUT: Final = 3


class Adapter(Protocol):
    """The adapter in training, which can be looked away from."""

    def disabled(self) -> AbstractContextManager[None]:
        """The bare base for a moment."""


@dataclass(frozen=True)
class Question:
    """One held-out sample at all noise levels of the grid, S of them."""

    tokens: torch.Tensor  # [S, N (+ M), C]: noisy, and the M clean tokens of an effect's guide after them
    timestep: torch.Tensor  # [S, N (+ M)], or [S, 1] without a guide
    target: torch.Tensor  # [S, N, C]
    sigma: torch.Tensor  # [S]
    text: TextFeatures
    coords: torch.Tensor  # [1, 3, N (+ M), 2]


@dataclass(frozen=True)
class Answers:
    """How far off a checkpoint's predictions are, and what it changes."""

    errors: tuple[float, ...]  # mean squared, one per question and noise level
    effect: float  # root mean square of the change the adapter makes, relative to the base's prediction

    @property
    def loss(self) -> float:
        """Mean squared error over the grid."""
        return fmean(self.errors)


def noise_between(ones: Sequence[float], others: Sequence[float]) -> float:
    """Standard error of the difference of two mean losses over the same questions, taken as independent; 0 for a single question."""
    differences = [one - other for one, other in zip(ones, others, strict=True)]
    return stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0


def held_out_count(num_items: int) -> int:
    """How many of `num_items` are kept from training: a tenth, at least one, at most three, and none of a set too small to spare any."""
    return 0 if num_items < MIN_ITEMS_TO_HOLD_OUT else min(MAX_HELD_OUT, max(1, num_items // 10))


def pick_held_out(num_items: int, count: int, generator: torch.Generator) -> frozenset[int]:
    """Indices of the items to hold out."""
    return frozenset(torch.randperm(num_items, generator=generator)[:count].tolist())


class HeldOutGrid:
    """Fixed questions about `samples`; ask with `answers()`, a forward pass at a time, so that others get a turn in between."""

    def __init__(
        self,
        resident: ResidentBase,
        samples: Sequence[Sample],
        texts: Sequence[TextFeatures],
        coords: Sequence[torch.Tensor],
        generator: torch.Generator,
    ) -> None:
        self._resident = resident
        self._questions = [_question(sample, text, place, generator) for sample, text, place in zip(samples, texts, coords, strict=True)]
        self._base: list[torch.Tensor] = []
        self.base_loss: float | None = None

    def ask_base(self, adapter: Adapter) -> Iterator[None]:
        """Ask the bare base first, a pass at each `next`."""
        if self.base_loss is not None:
            return
        base, errors = [], []
        for question in self._questions:
            with adapter.disabled():
                base.append(self._predicted(question))
            errors += _errors(base[-1], question)
            yield
        self._base, self.base_loss = base, fmean(errors)

    def answers(self) -> Iterator[Answers | None]:
        """Ask the base with its adapter: None after each pass, at last the answers. `ask_base` comes first."""
        errors: list[float] = []
        changed, size = 0.0, 0.0
        for question, before in zip(self._questions, self._base, strict=True):
            predicted = self._predicted(question)
            errors += _errors(predicted, question)
            changed += float((predicted - before).square().sum())
            size += float(before.square().sum())
            yield None
        yield Answers(tuple(errors), math.sqrt(changed / max(size, 1e-12)))

    @torch.no_grad()
    def _predicted(self, question: Question) -> torch.Tensor:
        with self._resident.autocast():
            answer = self._resident.velocity(question.tokens, question.timestep, question.sigma, question.text, question.coords)
        return answer[:, : question.target.shape[1]].float()


def _question(sample: Sample, text: TextFeatures, coords: torch.Tensor, generator: torch.Generator) -> Question:
    count, device = len(SIGMAS), coords.device
    clean = pack_latents(sample.latents.unsqueeze(0))  # [1, N, C]
    noise = torch.randn((count, *clean.shape[1:]), generator=generator)
    sigma = torch.tensor(SIGMAS)
    level = sigma[:, None, None]
    tokens, timestep = (1.0 - level) * clean + level * noise, sigma[:, None]
    if sample.guide is not None:
        guide = pack_latents(sample.guide.unsqueeze(0)).expand(count, -1, -1)  # [S, M, C]
        timestep = torch.cat([timestep.expand(-1, tokens.shape[1]), torch.zeros(count, guide.shape[1])], dim=1)
        tokens = torch.cat([tokens, guide], dim=1)
    return Question(tokens.to(device), timestep.to(device), (noise - clean).to(device), sigma.to(device), _repeated(text, count), coords)


def _repeated(text: TextFeatures, count: int) -> TextFeatures:
    return TextFeatures(text.video.expand(count, -1, -1), text.audio.expand(count, -1, -1), text.mask.expand(count, -1))


def _errors(predicted: torch.Tensor, question: Question) -> list[float]:
    """Mean squared error at each noise level."""
    return [float(error) for error in (predicted - question.target).square().mean(dim=(1, 2))]
