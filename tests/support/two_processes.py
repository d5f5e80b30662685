"""What two launched processes say of each other; every one writes what it saw to FOLDER/<rank>.json. Started by `tests/integration`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from engine.errors import DatasetTooSmallError, EngineError
from engine.train.parallel import LaunchedWorld, World, launched
from tests.support.engine import Switch


class Block(torch.nn.Module):
    """A frozen layer, and one of the adapter's beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.Linear(8, 8).requires_grad_(False)
        self.learns = torch.nn.Linear(8, 8, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, 8] to [B, 8]."""
        added: torch.Tensor = self.frozen(features) + self.learns(features)
        return added


def main(folder: Path) -> None:
    """Try everything a world can do."""
    with launched("cpu") as world:
        assert isinstance(world, LaunchedWorld)
        seen = {"size": world.size, "share": [world.share(6).start, world.share(6).stop], **_told(world), **_failures(world)}
        seen["gradient"], seen["frozen_values"] = _sharded(world)
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(seen))


def _told(world: World) -> dict[str, Any]:
    switch = Switch()
    agreed, answers = world.agreed(switch), []
    for step in range(3):
        switch.on = step == 1 and world.rank == 1
        answers.append(agreed.cancelled())
    mean = float(world.mean(torch.tensor(float(world.rank))))
    return {"told": world.main_does(lambda: world.rank), "cancelled": answers, "mean": mean}


def _failures(world: World) -> dict[str, str]:
    """Errors as each process sees them: of the main one, out of memory in the second, and a crash of the second."""
    seen = {}

    def refuse() -> None:
        raise DatasetTooSmallError("four pictures at least")

    try:
        world.main_does(refuse)
    except DatasetTooSmallError as error:
        seen["refused"] = str(error)
    for name, problem in (("memory", torch.OutOfMemoryError("full")), ("crash", ValueError("wrong"))):
        try:
            with world.together():
                if world.rank == 1:
                    raise problem
        except (EngineError, torch.OutOfMemoryError, ValueError) as error:
            seen[name] = type(error).__name__
    return seen


def _sharded(world: World) -> tuple[list[float], int]:
    """The averaged gradient of one step, and how many frozen values this process keeps."""
    os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2", FSDP_TRANSFORMER_CLS_TO_WRAP="Block")
    torch.manual_seed(1)
    model = torch.nn.Sequential(Block(), Block()).requires_grad_(True)
    for block in model:
        block.frozen.requires_grad_(False)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    world.shard(model, learning)
    model(torch.full((2, 8), 1.0 + world.rank)).sum().backward()
    world.average(learning)
    kept = sum(parameter.to_local().numel() for parameter in model.parameters() if not parameter.requires_grad)
    gradient = learning[0].grad
    assert gradient is not None
    return gradient.flatten().tolist(), kept


if __name__ == "__main__":
    main(Path(sys.argv[1]))
