"""Where the parts of a base lie while a training has it, as planned, and back again.

The adapter is on the base before anything moves. Encoders wait on the host if there is no room for them beside a step: a render between
two steps calls them back by itself, and they leave again before the next one. Frozen weights of the blocks lie in 8 bits (torchao), or
wait on the host and come when their block computes. Renders meanwhile use the base as it lies.
"""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from typing import Any, Final

import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import UserCpuOffloadHook

from engine.model.loader import ResidentBase
from engine.model.memory import device_memory, release_cached
from engine.model.plan import FP8_CAPABILITY, UNLIMITED, Device, MemoryPlan, Precision

_HOST: Final = torch.device("cpu")
_LORA: Final = ".lora_"


def device_for_training(resident: ResidentBase) -> Device:
    """What a training on `resident` can have: what is free, and what its own parts take now. Ordinary memory is not ours to count."""
    has_eight_bits = importlib.util.find_spec("torchao") is not None
    if resident.device.type != "cuda":
        return Device(str(resident.device), UNLIMITED, has_eight_bits=has_eight_bits)
    own = sum(_bytes_on(part, resident.device) for part in (resident.transformer, *resident.encoders.values()))
    return Device(
        torch.cuda.get_device_name(resident.device),
        device_memory(resident.device).free + own,
        has_fp8=torch.cuda.get_device_capability(resident.device) >= FP8_CAPABILITY,
        has_eight_bits=has_eight_bits,
    )


class Placement:
    """A plan carried out between `take` and `release`; a world that shards the blocks has laid them out itself."""

    def __init__(self, resident: ResidentBase, plan: MemoryPlan, *, sharded: bool = False) -> None:
        self._resident = resident
        self._plan = plan
        self._sharded = sharded
        self._guests: list[UserCpuOffloadHook] = []
        self._undo = ExitStack()

    def take(self) -> None:
        """Lay everything out.

        Raises:
            torch.OutOfMemoryError: it does not fit after all; `release` puts back what was moved.
        """
        transformer, device = self._resident.transformer, self._resident.device
        encoders = self._resident.encoders.values()
        self._resident.make_room()
        if self._sharded or self._plan.needed_bytes + sum(map(_bytes, encoders)) > self._plan.free_bytes:
            for encoder in encoders:
                self._send_away(encoder)
            release_cached()
        if self._sharded:
            return
        found = next(transformer.parameters()).device
        self._undo.callback(lambda: transformer.to(found))
        for block in self._resident.blocks:
            if self._plan.precision in (Precision.INT8, Precision.FP8):
                self._quantise(block.to(device))
            if self._plan.offloads_blocks:
                self._keep_on_host(block)
        if not self._plan.offloads_blocks:
            transformer.to(device)
            return
        for name, part in transformer.named_children():  # embeddings and projections beside the blocks are small
            if not any(block in set(part.modules()) for block in self._resident.blocks):
                transformer.get_submodule(name).to(device)
        for parameter in transformer.parameters(recurse=False):
            parameter.data = parameter.data.to(device)

    def before_step(self) -> None:
        """Send encoders away that a render has called back."""
        for guest in self._guests:
            if self._resident.device.type != _HOST.type and _bytes_on(guest.model, self._resident.device):
                guest.offload()
                release_cached()

    def release(self) -> None:
        """Put everything back, bit for bit."""
        self._undo.close()
        self._guests.clear()
        release_cached()

    def _send_away(self, encoder: torch.nn.Module) -> None:
        _, guest = cpu_offload_with_hook(encoder, self._resident.device)
        self._guests.append(guest)

        def back() -> None:
            guest.remove()
            encoder.to(self._resident.device)

        self._undo.callback(back)

    def _quantise(self, block: torch.nn.Module) -> None:
        """Frozen matrices in 8 bits, a scale per output; what they were waits on the host."""
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

        layers = {layer: layer.weight for name, layer in block.named_modules() if isinstance(layer, torch.nn.Linear) and _LORA not in name}
        kept = {layer: weight.data.to(_HOST) for layer, weight in layers.items()}

        def back() -> None:
            for layer, weight in kept.items():
                layer.weight = torch.nn.Parameter(weight.to(layer.weight.device), requires_grad=False)

        self._undo.callback(back)
        config = Float8WeightOnlyConfig() if self._plan.precision is Precision.FP8 else Int8WeightOnlyConfig()
        quantize_(block, config, filter_fn=lambda module, _: module in layers)

    def _keep_on_host(self, block: torch.nn.Module) -> None:
        """Frozen weights come with the forward pass and go after it; a recomputing backward pass calls forward again.

        diffusers' group offloading moves a block's adapter too, whose gradient would then have no place to add up.
        """
        device, waiting = self._resident.device, {}
        for layer in (layer for name, layer in block.named_modules() if _LORA not in name):
            for name, weight in layer.named_parameters(recurse=False):
                waiting[layer, name] = torch.nn.Parameter(_pinned(weight.detach().to(_HOST), device), requires_grad=False)

        def come(*_: Any) -> None:
            with torch.inference_mode(False):  # a render is in it, where torchao's weights cannot become parameters
                for (layer, name), weight in waiting.items():
                    there = weight.to(device, non_blocking=True)
                    layer._parameters[name] = torch.nn.Parameter(there, requires_grad=False)  # noqa: SLF001

        def go(*_: Any) -> None:
            for (layer, name), weight in waiting.items():
                layer._parameters[name] = weight  # noqa: SLF001 - another tensor, not another value: autograd keeps the one it has seen

        go()
        hooks = block.register_forward_pre_hook(come), block.register_forward_hook(go, always_call=True)
        for hook in hooks:
            self._undo.callback(hook.remove)


def _bytes(module: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def _bytes_on(module: torch.nn.Module, device: torch.device) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters() if weight.device.type == device.type)


def _pinned(weight: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Page-locked where that makes copies faster; quantised weights cannot be."""
    return weight.pin_memory() if device.type == "cuda" and type(weight) is torch.Tensor else weight
