"""Muon for stacks of equally shaped matrices.

An update is the momentum with its singular values pushed towards one, by Newton-Schulz iterations on whole stacks: the
stock `torch.optim.Muon` walks the matrices one by one, which on a CPU costs more than the model's own step.
Source: K. Jordan et al., "Muon: an optimizer for hidden layers" (2024); scaling to AdamW's update size after
J. Liu et al., "Muon is scalable for LLM training" (2025).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)  # quintic iteration of the first source
_ADAMW_UPDATE_RMS: Final = 0.2


class StackedMuon(torch.optim.Optimizer):
    """Muon over 2-D parameters, orthogonalised shape by shape; Nesterov momentum, decoupled weight decay."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01, iterations: int = 3):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # noqa: ARG002  # torch's signature
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            stacks: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    stacks[parameter.shape].append(parameter)
            for shape, parameters in stacks.items():
                updates = orthogonalise(torch.stack([self._momentum(p, group["momentum"]) for p in parameters]), group["iterations"])
                scale = group["lr"] * _ADAMW_UPDATE_RMS * max(shape) ** 0.5
                torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(parameters, list((updates * scale).unbind(0)))

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        if gradient is None:
            return torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"].lerp_(gradient, 1.0 - momentum)
        return gradient.lerp(buffer, momentum)


def orthogonalise(matrices: Tensor, iterations: int) -> Tensor:
    """Push the singular values of [N, rows, columns] matrices to about one."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.mT if tall else x).float()
    return result
