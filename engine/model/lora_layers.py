"""Which layers of a transformer carry adapters, which adapters count there, and how to leave it all as it was found.

A switch between two stacks writes what differs and walks no module tree, so it costs little beside a denoising step.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from peft.tuners.lora import LoraLayer

_LORA: Final = ".lora_"


class LoraLayers:
    """The adapter layers of one transformer, found again only when an adapter has come or gone.

    A gradient is wanted of active adapters alone; whoever activates adapters here puts back what was active before.
    """

    def __init__(self, transformer: Any) -> None:
        self._transformer = transformer
        self._configs: tuple[object, ...] | None = None  # those of the last look
        self._found: dict[str, Any] = {}

    def found(self) -> Mapping[str, Any]:
        """Every layer that carries adapters, by its name on the bare base.

        Each adapter brings a config of its own to the transformer and takes it along, whoever adds or removes it.
        """
        configs, known = tuple(getattr(self._transformer, "peft_config", {}).values()), self._configs
        if known is None or len(configs) != len(known) or any(one is not other for one, other in zip(configs, known, strict=True)):
            self._configs = configs
            self._found = {name: module for name, module in self._transformer.named_modules() if isinstance(module, LoraLayer)}
        return self._found

    def train(self, name: str) -> None:
        """Make one adapter the only active one, at full weight and trainable."""
        for layer in self.found().values():
            layer.set_adapter([name])
            if name in layer.scaling:
                layer.scaling[name] = 1.0

    @contextmanager
    def counting(self, weights: Mapping[str, float | None]) -> Iterator[None]:
        """Exactly the adapters of `weights` count in the body, each times its weight; whatever counted before does so again afterwards.

        None leaves the scale of an adapter as it is.

        A weight multiplies B @ A as the file has it, also where ranks differ between modules: alpha is folded in.
        """
        before = [_Before(layer) for layer in self.found().values()]
        try:
            for state in before:
                state.replace_by(weights)
            yield
        finally:
            for state in before:
                state.restore()

    @contextmanager
    def as_found(self) -> Iterator[None]:
        """Around loading an adapter, which makes it active, trainable and fresh for training: all that goes back, on every module."""
        before = [_Before(layer) for layer in self.found().values()]
        trainable = {id(parameter) for parameter in self._transformer.parameters() if parameter.requires_grad}
        modes = {module: module.training for module in self._transformer.modules()}
        try:
            yield
        finally:
            self._configs = None  # loading may have failed half-way
            for layer in self.found().values():
                layer.set_adapter([], inference_mode=True)
            for state in before:
                state.restore()
            for parameter in self._transformer.parameters():
                if parameter.requires_grad is not (id(parameter) in trainable):
                    parameter.requires_grad_(id(parameter) in trainable)
            for module, training in modes.items():
                if module.training is not training:
                    module.training = training

    def delete(self, name: str) -> None:
        """Remove one adapter; without any left the layers are unwrapped, so that names and weights are the bare base's."""
        self._configs = None
        layers = self.found()
        for layer in layers.values():
            if name in layer.lora_A:
                if name in layer.active_adapters:  # else peft would activate another adapter in its place
                    layer.set_adapter([active for active in layer.active_adapters if active != name], inference_mode=True)
                layer.delete_adapter(name)
        configs = getattr(self._transformer, "peft_config", {})
        configs.pop(name, None)
        if not configs and layers:
            self._transformer.unload_lora()
        self._configs = None


class _Before:
    """One layer as it was: active adapters, their trainable weights, scales, and whether adapters count at all."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._active = list(layer.active_adapters)
        self._scaling = dict(layer.scaling)
        self._disabled = layer.disable_adapters
        self._trainable = [
            weight
            for name in self._active
            for matrix in (layer.lora_A, layer.lora_B)
            if name in matrix and (weight := matrix[name].weight).requires_grad
        ]

    def replace_by(self, weights: Mapping[str, float | None]) -> None:
        layer = self._layer
        for weight in self._trainable:
            weight.requires_grad_(False)
        layer._disable_adapters = False  # noqa: SLF001 - peft's setters touch every weight of every adapter for a gradient nobody wants here
        layer._active_adapter = list(weights)  # noqa: SLF001
        layer.scaling.update({name: weight for name, weight in weights.items() if weight is not None and name in layer.scaling})

    def restore(self) -> None:
        layer = self._layer
        layer.scaling.update({name: scale for name, scale in self._scaling.items() if name in layer.scaling})
        layer._active_adapter = self._active  # noqa: SLF001
        layer._disable_adapters = self._disabled  # noqa: SLF001
        for weight in self._trainable:
            weight.requires_grad_(True)


def linear_layers(transformer: Any) -> dict[str, Any]:
    """Every linear layer by its name on the bare base, whether or not adapters hang on it."""
    layers = {}
    for name, module in transformer.named_modules():
        if _LORA in name or name.endswith(".base_layer"):
            continue
        inner = module.base_layer if isinstance(module, LoraLayer) else module
        if isinstance(inner, torch.nn.Linear):
            layers[name] = inner
    return layers


@contextmanager
def quiet_injection() -> Iterator[None]:
    """peft initialises from the global generator, which is not ours to advance, and warns of several adapters, which we want."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        yield
