"""The denoiser's blocks compiled once, with slots for LoRAs in them: another stack is other numbers and no other program.

Only renders run the compiled blocks. A training, and a stack that does not fit into the slots, find the blocks as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from peft import LoraConfig, inject_adapter_in_model

from engine.contracts.lora import MAX_STACK
from engine.model.bases import VIDEO_TARGETS
from engine.model.lora_layers import LoraLayers, linear_layers, quiet_injection
from engine.model.lora_weights import LoraWeights

SLOT_RANK: Final = 64
"""Largest rank a slot takes; four of them are 2.5 GB beside LTX-2.3."""


class CompiledBlocks:
    """Compiled on first use, again for sizes never seen; what a stack costs then is copying its weights.

    Args:
        transformer: The denoiser, without adapters yet.
        rank: Of every slot.
        compiler: Arguments of `torch.compile`.
    """

    def __init__(self, transformer: Any, rank: int = SLOT_RANK, **compiler: Any) -> None:
        self._transformer = transformer
        self._rank = rank
        self._carriers = LoraLayers(transformer)
        self._names = tuple(f"slot-{number}" for number in range(MAX_STACK))
        pattern = re.compile("|".join(f"(?:{target})" for target in VIDEO_TARGETS))
        targets = [module for module in linear_layers(transformer) if pattern.fullmatch(module)]
        with self._carriers.as_found(), quiet_injection():
            for name in self._names:
                config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, lora_dropout=0.0, bias="none")
                inject_adapter_in_model(config, transformer, name)
        transformer._hf_peft_config_loaded = True  # noqa: SLF001 - as in `TrainableAdapter`
        self._slots = dict(self._carriers.found())
        for layer in self._slots.values():
            for name in self._names:
                for matrix in (layer.lora_A[name], layer.lora_B[name]):
                    matrix.to(transformer.dtype).requires_grad_(False)
                    matrix.weight.data.zero_()
                layer.scaling[name] = torch.zeros((), dtype=transformer.dtype, device=transformer.device)  # a float would be compiled in
        transformer.compile_repeated_blocks(**compiler)
        self._programs = {block: block._compiled_call_impl for block in transformer.transformer_blocks}  # noqa: SLF001 - torch has no way to pause one
        self._switch(on=False)

    def take(self, stack: Sequence[LoraWeights]) -> bool:
        """Whether every LoRA of a stack fits into a slot."""
        return len(stack) <= len(self._names) and all(
            lora.rank <= self._rank and lora.modules.keys() <= self._slots.keys() for lora in stack
        )

    @contextmanager
    def counting(self, stack: Sequence[tuple[LoraWeights, float]]) -> Iterator[None]:
        """Exactly the LoRAs of `stack` count in the body, each times its weight, and the blocks run compiled."""
        for number, name in enumerate(self._names):
            lora, weight = stack[number] if number < len(stack) else (None, 0.0)
            self._fill(name, lora, weight)
        with self._carriers.counting(dict.fromkeys(self._names)):
            self._switch(on=True)
            try:
                yield
            finally:
                self._switch(on=False)

    @torch.no_grad()
    def _fill(self, name: str, lora: LoraWeights | None, weight: float) -> None:
        """Copy a LoRA into the slot `name`, smaller ranks and missing modules padded with zeros."""
        for module, layer in self._slots.items():
            pair = lora.modules.get(module) if lora is not None else None
            layer.scaling[name].fill_(0.0 if pair is None else weight)
            if pair is not None:
                down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
                rank = len(pair[0])
                down[rank:].zero_()
                down[:rank].copy_(pair[0])
                up[:, rank:].zero_()
                up[:, :rank].copy_(pair[1])

    def _switch(self, *, on: bool) -> None:
        for block, program in self._programs.items():
            block._compiled_call_impl = program if on else None  # noqa: SLF001
