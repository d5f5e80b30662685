"""Several processes, one training: each computes its share of every batch, and what they learn from it is averaged.

`accelerate launch --config_file engine/train/accelerate/data_parallel.yaml -m engine train …` starts one process per GPU; the files beside
that one say when which is right. Every process draws the same batches and the same noise, takes its share and holds the same adapter, so
the loss curve is that of one process with the whole batch. They walk in step: what one is told, all are told, and what fails in one fails
in all. Files are the main process's; the others write theirs into a scratch folder. A training by itself is a world of one, where none of
this costs anything. Torch is imported at the first word between processes, so that data can be checked before.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from engine.errors import EngineError, InvalidConfigError
from engine.ports import CancelToken

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

PATIENCE: Final = timedelta(hours=2)
"""How long processes wait for each other: the main one checks, and later all encode, hours of clips before they meet again."""

_FINE, _OUT_OF_MEMORY, _FAILED = range(3)


def is_main_process() -> bool:
    """True in the process that speaks and writes: the only one, or the launcher's first."""
    return int(os.environ.get("RANK", "0")) == 0


class World:
    """The processes that train one LoRA; by itself a world of one."""

    rank = 0
    size = 1

    def share(self, batch_size: int) -> slice:
        """The samples of a batch that are this process's.

        Raises:
            InvalidConfigError: the batch cannot be shared equally.
        """
        if batch_size % self.size:
            raise InvalidConfigError(f"{self.size} processes cannot share a batch of {batch_size}: make it a multiple of {self.size}.")
        part = batch_size // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def main_does(self, work: Callable[[], Result]) -> Result:
        """What `work` gives in the main process, in all of them; where it fails there, it fails everywhere."""
        return work()

    def agreed(self, token: CancelToken) -> CancelToken:
        """`token`, with the same answer in every process: yes when any was asked to stop. To be asked by all or by none."""
        return token

    def own_folder(self, folder: Path) -> Path:
        """Where this process writes: `folder` itself, or a scratch folder that goes with the process."""
        return folder

    @contextmanager
    def together(self) -> Iterator[None]:
        """What fails in one process fails in all, so that none waits for another that has given up."""
        yield

    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace gradients by their mean over all processes."""

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a scalar over all processes."""
        return value

    @property
    def shards(self) -> bool:
        """True when each process keeps only its part of the frozen weights."""
        return False

    def shard(self, transformer: Any, whole: Sequence[torch.nn.Parameter]) -> None:
        """Keep only this process's part of the weights, all but `whole`; blocks are put together while they compute."""


ALONE: Final = World()


class LaunchedWorld(World):
    """The processes that torch's or accelerate's launcher has started; they meet at the first word between them."""

    def __init__(self, device: str) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._on_cpu = device == "cpu"
        self._scratch = tempfile.TemporaryDirectory(prefix="callsheet-train-")

    def main_does(self, work: Callable[[], Result]) -> Result:
        """Do it where it is to be done, before the processes meet; then tell the others."""
        said: list[Any] = [None, None]
        if self.rank == 0:
            try:
                said[0] = work()
            except EngineError as error:
                said[1] = error
        self._talk().broadcast_object_list(said, src=0)
        if said[1] is not None:
            raise said[1]
        result: Result = said[0]
        return result

    def agreed(self, token: CancelToken) -> CancelToken:
        """The same answer for all."""
        return _Agreed(self, token)

    def own_folder(self, folder: Path) -> Path:
        """`folder` for the main process alone."""
        return folder if self.rank == 0 else Path(self._scratch.name)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Ask all how it went. Shards meet while they compute and cannot be asked: one that fails leaves, and the launcher ends all."""
        import torch

        try:
            yield
        except Exception as error:
            if self.shards:
                raise self._leaving(error) from error
            self.worst(_OUT_OF_MEMORY if isinstance(error, torch.OutOfMemoryError) else _FAILED)
            raise
        elsewhere = _FINE if self.shards else self.worst(_FINE)
        if elsewhere == _OUT_OF_MEMORY:
            raise torch.OutOfMemoryError("another process of this training ran out of memory")
        if elsewhere == _FAILED:
            raise EngineError("Another process of this training failed; its own message says why.")

    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """One sum over all gradients at once: an adapter is small beside its base."""
        import torch

        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        try:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
        except torch.OutOfMemoryError as error:
            raise self._leaving(error) from error
        self._talk().all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a scalar."""
        total = value.clone()
        self._talk().all_reduce(total)
        return total / self.size

    @property
    def shards(self) -> bool:
        """True when the launcher's file asks for FSDP."""
        return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"

    def shard(self, transformer: Any, whole: Sequence[torch.nn.Parameter]) -> None:
        """FSDP2 by the launcher's file: which classes are blocks, and whether a block is taken apart again after its forward pass."""
        if not self.shards:
            return
        self._talk()
        from accelerate.utils import FullyShardedDataParallelPlugin
        from torch.distributed.fsdp import fully_shard

        plugin, kept = FullyShardedDataParallelPlugin(), set(whole)
        blocks = [module for module in transformer.modules() if type(module).__name__ in (plugin.transformer_cls_names_to_wrap or ())]
        # nothing here changes the model's output in place
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
        for module in (*blocks, transformer):
            fully_shard(module, reshard_after_forward=bool(plugin.reshard_after_forward), ignored_params=kept)

    def _leaving(self, error: Exception) -> SystemExit:
        """Where the others cannot be told because they wait inside a sum already; the launcher ends them."""
        return SystemExit(f"Process {self.rank} of {self.size} failed: {error}")

    def worst(self, value: int) -> int:
        """The largest of the processes' values."""
        import torch
        import torch.distributed

        said = torch.tensor(value)
        self._talk().all_reduce(said, torch.distributed.ReduceOp.MAX)
        return int(said)

    def close(self) -> None:
        """Leave the others."""
        import torch.distributed

        self._scratch.cleanup()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def _talk(self) -> Any:
        """torch.distributed, joined at the first call: small words over the CPU, gradients between GPUs."""
        import torch.distributed
        from accelerate import PartialState

        if not torch.distributed.is_initialized():
            backend = "gloo" if self._on_cpu or not torch.cuda.is_available() else "cpu:gloo,cuda:nccl"
            PartialState(cpu=backend == "gloo", backend=backend, timeout=PATIENCE)
        return torch.distributed


class _Agreed:
    """A cancel token that is on in every process when it is on in any."""

    def __init__(self, world: LaunchedWorld, token: CancelToken) -> None:
        self._world, self._token = world, token

    def cancelled(self) -> bool:
        """Ask all."""
        return bool(self._world.worst(int(self._token.cancelled())))


@contextmanager
def launched(device: str = "auto") -> Iterator[World]:
    """The world this process was started into, left at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    world = LaunchedWorld(device)
    try:
        yield world
    finally:
        world.close()
