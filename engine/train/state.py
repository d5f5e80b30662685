"""What a training changes while it runs, and its way into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import torch

from engine.config import TrainConfig
from engine.data.buckets import Bucket
from engine.data.dataset import BatchOrder
from engine.evaluate.exam import Exam
from engine.model.adapters import TrainableAdapter
from engine.model.loader import ResidentBase
from engine.train.checkpoint import Checkpoint
from engine.train.seeds import generator_for

SIZE: Final = ("width", "height", "max_frames")
"""What a training is fitted by besides its memory; part of a checkpoint."""

_MOMENTS: Final = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps per weight


@dataclass
class TrainState:
    """Everything a training changes while it runs; a checkpoint is this and nothing else."""

    adapter: TrainableAdapter
    optimizer: torch.optim.AdamW
    order: BatchOrder
    order_generator: torch.Generator
    noise_generator: torch.Generator
    step: int = 0
    losses: dict[int, float] = field(default_factory=dict)  # step -> loss, of steps that learn the items


def begin(resident: ResidentBase, config: TrainConfig, buckets: Sequence[Bucket], resume_from: Checkpoint | None) -> TrainState:
    """Hang a fresh adapter on the base and put `resume_from` into it; if that fails, the adapter comes off again."""
    adapter = TrainableAdapter(resident, config.rank, config.targets or (), generator_for(config.seed, "adapter"))
    try:
        optimizer = torch.optim.AdamW(
            adapter.parameters,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=resident.device.type in {"cpu", "cuda"},
        )
        order_generator = generator_for(config.seed, "order")
        order = BatchOrder(buckets, config.batch_size, order_generator)
        state = TrainState(adapter, optimizer, order, order_generator, generator_for(config.seed, "noise"))
        if resume_from is not None:
            _restore(state, config, resume_from)
    except BaseException:
        adapter.remove()
        raise
    return state


def to_checkpoint(state: TrainState, config: TrainConfig, exam: Exam, began_at: datetime, identity: str) -> Checkpoint:
    """`state` and what the exam knows as a value to save; tensors are shared with the state, not copied."""
    exam_facts, exam_tensors = exam.state()
    facts = {
        "losses": [[step, loss] for step, loss in state.losses.items()],
        "waiting": state.order.state(),
        "size": _size(config),
        "began_at": began_at.isoformat(),
        "exam": exam_facts,
    }
    tensors = {**exam_tensors, "generator.order": state.order_generator.get_state(), "generator.noise": state.noise_generator.get_state()}
    for index, weight in enumerate(state.adapter.parameters):
        tensors[f"weight.{index}"] = weight
        for moment in _MOMENTS:
            tensors[f"{moment}.{index}"] = state.optimizer.state[weight][moment]
    return Checkpoint(state.step, identity, facts, tensors)


def _size(config: TrainConfig) -> list[int]:
    return [getattr(config, name) for name in SIZE]


def _restore(state: TrainState, config: TrainConfig, saved: Checkpoint) -> None:
    """Put `saved` into a fresh state; at another size the windows are others, and the current pass over them begins anew."""
    state.step = saved.step
    state.losses = {int(step): float(loss) for step, loss in saved.facts["losses"]}
    if saved.facts.get("size", _size(config)) == _size(config):
        state.order.restore(saved.facts["waiting"])
    state.order_generator.set_state(saved.tensors["generator.order"])
    state.noise_generator.set_state(saved.tensors["generator.noise"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    with torch.no_grad():
        for index, weight in enumerate(state.adapter.parameters):
            weight.copy_(saved.tensors[f"weight.{index}"])
            moments[index] = {moment: saved.tensors[f"{moment}.{index}"] for moment in _MOMENTS}
    state.optimizer.load_state_dict({"state": moments, "param_groups": state.optimizer.state_dict()["param_groups"]})
