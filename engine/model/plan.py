"""Fitting a training to a device's memory before it begins: pieces of a batch, precision of the base, what lies on the host, size, length.

Pure arithmetic over the sizes of a base's transformer; no tensor is made. Formulae count what lies on the device while an optimizer step
runs: the frozen weights, the adapter with its gradients and AdamW's two moments, the inputs of every block (gradient checkpointing keeps
nothing else), and the insides of the block that is recomputed. VAE, text encoder and connectors are gone by then: items are encoded first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from engine.config import TrainConfig
from engine.contracts.bases import TransformerShape
from engine.contracts.fitting import Concession
from engine.contracts.geometry import GeometryRule
from engine.errors import OutOfMemoryError

GIB: Final = 2**30
RESERVE_BYTES: Final = int(1.5 * GIB)  # CUDA context, workspaces of matrix products, what fragments
UNLIMITED: Final = 2**62
FP8_CAPABILITY: Final = (8, 9)  # Ada and newer multiply in fp8

_OFFLOADED_BLOCKS: Final = 2  # on the device at a time: the one that runs, and the next on its way
_OUTSIDE_BLOCKS: Final = 1.02  # embeddings, AdaLN and projections beside the blocks
_BLOCK_ACTIVATIONS: Final = 34  # values per token and feature inside a block: norms, q, k, v, two attentions, gates, a 4x feed-forward
_ADAPTER_BYTES: Final = 16  # per value: fp32 weight, gradient and two moments
_SMALLEST_SIDE: Final = 256


class Precision(StrEnum):
    """How the frozen weights lie in memory; the adapter is fp32 always."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    INT8 = "int8"

    @property
    def bytes_per_weight(self) -> float:
        """With the scales of a quantised weight."""
        return {Precision.FP32: 4.0, Precision.BF16: 2.0}.get(self, 1.01)


@dataclass(frozen=True)
class Device:
    """What is free on a device, and what it can do."""

    name: str
    free_bytes: int
    has_fp8: bool = False
    has_eight_bits: bool = True  # torchao is installed


@dataclass(frozen=True)
class MemoryPlan:
    """How a training will lie in memory; `notes` say what was given up for it, most important first."""

    precision: Precision
    offloads_blocks: bool
    width: int
    height: int
    frames: int
    samples_at_once: int  # of a batch; gradients of its pieces add up
    recomputes: bool  # gradient checkpointing
    needed_bytes: int
    free_bytes: int
    notes: tuple[str, ...] = ()
    concessions: tuple[Concession, ...] = ()  # the same for machines, in the order they were made

    @property
    def steps_down_to(self) -> str:
        """The plan in a few words."""
        offload = ", blocks on the host" if self.offloads_blocks else ""
        return f"{self.precision} base{offload}, {self.width} x {self.height} x {self.frames}"


def plan_training(config: TrainConfig, shape: TransformerShape, rule: GeometryRule, native: Precision, device: Device) -> MemoryPlan:
    """The first way that fits, quality first.

    A batch in pieces and activations computed twice cost time and change nothing else; then come 8 bits, blocks on the host, shorter
    clips, and smaller ones.

    Raises:
        OutOfMemoryError: nothing does; the message says what would.
    """
    wanted = config.max_frames or rule.default_frames
    smallest = None
    for candidate in _candidates(config, rule, wanted, native, device):
        needed = needed_bytes(candidate, config, shape, rule)
        smallest = candidate = replace(candidate, needed_bytes=needed)
        if needed <= device.free_bytes:
            given_up = _given_up(candidate, config, wanted, native)
            return replace(candidate, notes=tuple(reversed(given_up.values())), concessions=tuple(given_up))
    assert smallest is not None
    raise OutOfMemoryError(
        f"{device.name} has {device.free_bytes / GIB:.1f} GiB free and even {smallest.steps_down_to} needs "
        f"{smallest.needed_bytes / GIB:.1f} GiB: lower the rank or the batch size, or use a larger device."
    )


def stepped_down(
    plan: MemoryPlan, config: TrainConfig, shape: TransformerShape, rule: GeometryRule, native: Precision, device: Device
) -> MemoryPlan:
    """The next cheaper plan after `plan` ran out of memory although it should have fitted.

    Raises:
        OutOfMemoryError: there is no cheaper one.
    """
    tighter = replace(device, free_bytes=plan.needed_bytes - 1)
    return plan_training(config, shape, rule, native, tighter)


def needed_bytes(plan: MemoryPlan, config: TrainConfig, shape: TransformerShape, rule: GeometryRule) -> int:
    """Bytes on the device at the worst moment of a step under `plan`."""
    per_block = block_parameters(shape)
    blocks_there = min(shape.blocks, _OFFLOADED_BLOCKS) if plan.offloads_blocks else shape.blocks
    weights = per_block * (blocks_there + (_OUTSIDE_BLOCKS - 1.0) * shape.blocks) * plan.precision.bytes_per_weight
    adapter = adapter_parameters(shape, config.rank) * _ADAPTER_BYTES
    tokens = _tokens(plan.samples_at_once, plan, config, rule)
    size = 4 if plan.precision is Precision.FP32 else 2
    kept_blocks = shape.blocks if plan.recomputes else shape.blocks * _BLOCK_ACTIVATIONS
    activations = tokens * shape.width * size * (kept_blocks + _BLOCK_ACTIVATIONS)
    return int(weights + adapter + activations) + RESERVE_BYTES


def tokens_per_step(plan: MemoryPlan, config: TrainConfig, rule: GeometryRule) -> int:
    """Packed tokens of a batch of the longest clips; reference tokens of an effect run beside the clip's."""
    return _tokens(config.batch_size, plan, config, rule)


def _tokens(samples: int, plan: MemoryPlan, config: TrainConfig, rule: GeometryRule) -> int:
    grid = (plan.frames - 1) // rule.temporal_compression + 1
    tokens = samples * grid * (plan.width // rule.spatial_compression) * (plan.height // rule.spatial_compression)
    return tokens if config.control is None else round(tokens * (1 + 1 / config.control.downscale**2))


def tflop_per_step(plan: MemoryPlan, config: TrainConfig, shape: TransformerShape, rule: GeometryRule) -> float:
    """Matrix products with the video stream's weights: forward, again when activations are recomputed, and backward to the inputs.

    Frozen weights have no gradient of their own, which spares the third pass of a full training; attention itself is not counted.
    """
    passes = 3 if plan.recomputes else 2
    return 2.0 * 16 * shape.width**2 * shape.blocks * tokens_per_step(plan, config, rule) * passes / 1e12


def block_parameters(shape: TransformerShape) -> int:
    """Weights of one block: two attentions and a feed-forward per stream, and the two attentions between the streams."""
    video, audio = shape.width, shape.audio_width
    streams = 16 * video**2 + 16 * audio**2
    between = 4 * video * audio + 4 * audio**2  # q and out of one side, k and v of the other, all of the audio's width inside
    return streams + between


def adapter_parameters(shape: TransformerShape, rank: int) -> int:
    """Values of an adapter on the attentions and the feed-forward of the video stream."""
    attentions = 2 * 4 * 2 * shape.width
    feed_forward = 2 * 5 * shape.width
    return shape.blocks * rank * (attentions + feed_forward)


def _candidates(config: TrainConfig, rule: GeometryRule, wanted: int, native: Precision, device: Device) -> Iterator[MemoryPlan]:
    """Plans in the order they are tried; each needs less than the one before."""
    recomputes = bool(config.gradient_checkpointing)
    plan = MemoryPlan(native, False, config.width, config.height, wanted, config.batch_size, recomputes, 0, device.free_bytes)
    yield plan
    while plan.samples_at_once > 1:
        plan = replace(plan, samples_at_once=plan.samples_at_once // 2)
        yield plan
    if not recomputes:
        plan = replace(plan, recomputes=True)
        yield plan
    if device.has_eight_bits:
        plan = replace(plan, precision=Precision.FP8 if device.has_fp8 else Precision.INT8)
        yield plan
    offloaded = replace(plan, offloads_blocks=True)
    yield offloaded
    shorter = [frames for frames in _halved(wanted, rule.frame_stride) if frames < wanted]
    for frames in shorter:
        yield replace(offloaded, frames=frames)
    shortest = min(shorter, default=wanted)
    width, height, unit = config.width, config.height, rule.spatial_multiple
    while min(width, height) * 3 // 4 >= min(_SMALLEST_SIDE, config.width, config.height):
        width, height = (max(unit, side * 3 // 4 // unit * unit) for side in (width, height))
        yield replace(offloaded, frames=shortest, width=width, height=height)


def _halved(frames: int, stride: int) -> Iterator[int]:
    """Ever shorter lengths of whole strides, down to a still."""
    while frames > 1:
        frames = (frames - 1) // 2 // stride * stride + 1
        yield frames


def _given_up(plan: MemoryPlan, config: TrainConfig, wanted: int, native: Precision) -> dict[Concession, str]:
    """What `plan` gives up of what was asked, and what that means, in the order of the ladder."""
    given_up = {}
    if plan.samples_at_once != config.batch_size:
        given_up[Concession.SMALLER_PIECES] = f"a batch goes through {plan.samples_at_once} at a time, which changes nothing but the time"
    if plan.recomputes and not config.gradient_checkpointing:
        given_up[Concession.RECOMPUTED] = "activations are computed twice instead of kept, which changes nothing but the time"
    if plan.precision is not native:
        given_up[Concession.EIGHT_BITS] = f"the frozen base lies in {plan.precision} instead of {native}; the LoRA itself learns in fp32"
    if plan.offloads_blocks:
        given_up[Concession.ON_THE_HOST] = "blocks of the base wait in host memory and come in turn, which makes a step slower"
    if plan.frames != wanted:
        given_up[Concession.SHORTER] = f"trains on {plan.frames} frames of a clip instead of {wanted}"
    if (plan.width, plan.height) != (config.width, config.height):
        given_up[Concession.SMALLER] = f"trains at {plan.width} x {plan.height} instead of {config.width} x {config.height}"
    return given_up
