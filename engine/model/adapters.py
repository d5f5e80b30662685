"""LoRA adapters on a resident base: read and write files, attach one for training, stack others for a render and undo it.

One rule keeps training and rendering apart: whoever activates adapters puts back exactly what was active before,
scaling, `requires_grad` and all, so that a training never notices the renders between its steps.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, inject_adapter_in_model

from engine.contracts.lora import MAX_STACK, LoraKind
from engine.errors import AdapterIncompatibleError, AdapterMissingError, InvalidConfigError
from engine.model.loader import ResidentBase
from engine.model.lora_layers import linear_layers, quiet_injection
from engine.model.lora_weights import LoraWeights, delta_norm, read_lora, save_lora

__all__ = [
    "AdapterStack",
    "LoadedUse",
    "LoraWeights",
    "TrainableAdapter",
    "delta_norm",
    "read_lora",
    "save_lora",
]

MAX_LOADED: Final = 2 * MAX_STACK
"""LoRA files kept on the device for the next render; the least recently used one goes first."""

_IN_TRAINING: Final = "in-training"


@dataclass(frozen=True)
class LoadedUse:
    """One LoRA of a stack as the engine gets it: a local file and how strongly it counts."""

    path: Path
    name: str
    weight: float
    trigger: str | None
    kind: LoraKind
    second_stage_weight: float | None = None  # where two stages run; None: `weight` in both

    def in_second_stage(self) -> LoadedUse:
        """The same LoRA as it counts in the second stage."""
        return self if self.second_stage_weight is None else replace(self, weight=self.second_stage_weight)


class TrainableAdapter:
    """A fresh adapter on the base that a training owns: active and trainable until `remove`.

    A is drawn like a linear layer's weight from `generator`, B is zero, alpha equals rank, so a new adapter changes nothing.
    Its weights are fp32 whatever the base's dtype.

    Raises:
        InvalidConfigError: the patterns match no linear layer of the base.
        RuntimeError: a base carries one training at a time, and there is one already.
    """

    def __init__(self, resident: ResidentBase, rank: int, targets: Sequence[str], generator: torch.Generator) -> None:
        self._transformer: Any = resident.transformer
        self._carriers = resident.lora_layers
        self.name = _IN_TRAINING
        self._device = resident.device
        if self.name in getattr(self._transformer, "peft_config", {}):
            raise RuntimeError("another training is on this base; close it first")
        pattern = re.compile("|".join(f"(?:{target})" for target in targets))
        wanted = [module for module in linear_layers(self._transformer) if pattern.fullmatch(module)]
        if not wanted:
            raise InvalidConfigError(f"The targets {', '.join(targets)} match nothing in {resident.base.name}.")
        self._layers: dict[str, Any] = {}
        self.modules: dict[str, tuple[torch.nn.Parameter, torch.nn.Parameter]] = {}
        try:
            self._attach(LoraConfig(r=rank, lora_alpha=rank, target_modules=wanted, lora_dropout=0.0, bias="none"), generator)
        except BaseException:
            self.remove()
            raise

    def _attach(self, config: LoraConfig, generator: torch.Generator) -> None:
        with quiet_injection():
            inject_adapter_in_model(config, self._transformer, self.name)
        self._transformer._hf_peft_config_loaded = True  # noqa: SLF001 - what diffusers' own add_adapter sets; its loaders ask for it
        self._layers = {module: layer for module, layer in self._carriers.found().items() if self.name in layer.lora_A}
        for module, layer in self._layers.items():
            down, up = layer.lora_A[self.name], layer.lora_B[self.name]
            down.to(self._device, torch.float32)  # also where the base still waits on the host
            up.to(self._device, torch.float32)
            bound = 1.0 / math.sqrt(down.in_features)  # kaiming-uniform with a = sqrt(5), as torch.nn.Linear
            with torch.no_grad():
                down.weight.copy_(torch.empty(down.weight.shape).uniform_(-bound, bound, generator=generator))
                up.weight.zero_()
            self.modules[module] = (down.weight, up.weight)
        self._carriers.train(self.name)

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All trainable weights, in a fixed order."""
        return [weight for module in sorted(self.modules) for weight in self.modules[module]]

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base as it is without this adapter, for a moment; no other is ever active beside it."""
        for layer in self._layers.values():
            layer.set_adapter([], inference_mode=True)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.set_adapter([self.name])

    def remove(self) -> None:
        """Take the adapter off; afterwards the base is exactly the base."""
        self._carriers.delete(self.name)
        self.modules, self._layers = {}, {}


class AdapterStack:
    """Renders with LoRAs from files, on a base that may have a training on it."""

    def __init__(self, resident: ResidentBase) -> None:
        self._resident = resident
        self._transformer: Any = resident.transformer
        self._carriers = resident.lora_layers
        self._loaded: OrderedDict[str, str] = resident.loaded_adapters  # sha256 -> adapter name, least recently used first

    @contextmanager
    def applied(self, uses: Sequence[LoadedUse], own: Sequence[LoadedUse] = ()) -> Iterator[None]:
        """Activate exactly `uses` with their weights, and the base's `own`; on exit put back what was active before, bit for bit.

        Raises:
            AdapterMissingError, AdapterInvalidError, AdapterIncompatibleError: a file cannot be used on this base.
            InvalidConfigError: the same file twice, too many files, or a weight that is not a number.
        """
        if len(uses) > MAX_STACK:
            raise InvalidConfigError(f"A stack holds at most {MAX_STACK} LoRAs, not {len(uses)}.")
        for use in uses:
            if not math.isfinite(use.weight):
                raise InvalidConfigError(f"The weight of {use.name} must be a number, not {use.weight}.")
        contents = [self._content(use) for use in (*uses, *own)]
        for number, use in enumerate((*uses, *own)):
            if contents[number] in contents[:number]:
                raise InvalidConfigError(f"{use.name} is in the stack twice; name each LoRA once.")
        active = [use for use in (*uses, *own) if use.weight != 0.0]
        loras = [self._read(use) for use in active] if self._resident.compiled is not None else []
        if self._resident.compiled is not None and self._resident.compiled.take(loras):
            with self._resident.compiled.counting([(lora, use.weight) for lora, use in zip(loras, active, strict=True)]):
                yield
            return
        weights = {self._load(use): use.weight for use in (*uses, *own)}
        self._trim(keep=set(weights))
        with self._carriers.counting({adapter: weight for adapter, weight in weights.items() if weight != 0.0}):
            yield

    def forget(self, sha256: str | None = None) -> None:
        """Take the cached LoRA of that content off the base, or all of them; a training's adapter stays."""
        for content in [sha256] if sha256 is not None else list(self._loaded):
            adapter = self._loaded.pop(content, None)
            if adapter is not None:
                self._carriers.delete(adapter)

    def _content(self, use: LoadedUse) -> str:
        """Hash of the file."""
        if not use.path.is_file():
            raise AdapterMissingError(f"The file of {use.name} is gone; train or upload it again.")
        return self._resident.shelf.sha256(use.path)

    def _read(self, use: LoadedUse) -> LoraWeights:
        """The file's weights, which fit this base."""
        lora = self._resident.shelf.get(use.path, self._resident.base.profile)
        self._require_match(lora, use.name)
        return lora

    def _load(self, use: LoadedUse) -> str:
        """Name of the adapter that holds the file's weights, loading it when it is not there yet."""
        sha256 = self._content(use)
        if sha256 in self._loaded:
            self._loaded.move_to_end(sha256)
            return self._loaded[sha256]
        lora = self._read(use)
        adapter = f"file-{sha256[:24]}"
        state = {}
        for module, (down, up) in lora.modules.items():
            state[f"{module}.lora_A.weight"] = down.to(self._resident.device, self._resident.dtype)
            state[f"{module}.lora_B.weight"] = up.to(self._resident.device, self._resident.dtype)
        try:
            with self._carriers.as_found(), quiet_injection():
                self._transformer.load_lora_adapter(state, prefix=None, adapter_name=adapter, low_cpu_mem_usage=True)
        except (RuntimeError, ValueError, KeyError) as error:
            self._carriers.delete(adapter)
            raise AdapterIncompatibleError(f"{use.name} does not fit {self._resident.base.name}.") from error
        self._loaded[sha256] = adapter
        return adapter

    def _require_match(self, lora: LoraWeights, name: str) -> None:
        """Every module of the file must exist here with the same sizes; a part that silently does nothing helps nobody."""
        layers = linear_layers(self._transformer)
        for module, (down, up) in lora.modules.items():
            layer = layers.get(module)
            if layer is None or (layer.in_features, layer.out_features) != (down.shape[1], up.shape[0]):
                raise AdapterIncompatibleError(f"{name} does not fit {self._resident.base.name}: it was trained for another model.")

    def _trim(self, keep: set[str]) -> None:
        """Drop least recently used files until the cache is within its bounds."""
        for sha256, adapter in list(self._loaded.items()):
            if len(self._loaded) <= MAX_LOADED:
                return
            if adapter not in keep:
                self._carriers.delete(adapter)
                del self._loaded[sha256]
