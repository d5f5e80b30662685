"""What a LoRA file says of itself before a weight is read, and why a file is refused."""

from __future__ import annotations

from enum import StrEnum

from engine.contracts.lora import LoraManifest
from engine.contracts.model import Contract


class LoraDialect(StrEnum):
    """How a file names its weights; the module names behind the prefixes are the same in all of them."""

    PEFT = "peft"  # diffusion_model.*.lora_A: Callsheet, ComfyUI, ltx-trainer, diffusion-pipe
    DIFFUSERS = "diffusers"  # transformer.*.lora_A
    KOHYA = "kohya"  # lora_unet_*.lora_down with .alpha: musubi-tuner and its kin


class LoraProblem(StrEnum):
    """Why a LoRA file is refused; never renamed, only added to."""

    NOT_SAFETENSORS = "not_safetensors"  # text, a picture, a damaged header
    PICKLE = "pickle"  # .pt, .ckpt, .bin: can run code when it is opened, so it never is
    HEADER_TOO_LARGE = "header_too_large"
    TOO_LARGE = "too_large"  # bytes of the file
    NO_WEIGHTS = "no_weights"
    DESCRIPTION = "description"  # offsets, shapes and sizes that contradict each other, or the file is cut off
    UNSAFE_KEY = "unsafe_key"  # a key that looks like a path
    WRONG_DTYPE = "wrong_dtype"
    OTHER_METHOD = "other_method"  # LoKr, LoHa, DoRA, full weights
    OTHER_PART = "other_part"  # text encoder, connectors
    UNKNOWN_KEY = "unknown_key"
    INCOMPLETE_PAIR = "incomplete_pair"
    RANK = "rank"
    NOT_FINITE = "not_finite"
    OTHER_MODEL = "other_model"  # layers or sizes that the base does not have, or a manifest of another base
    DEAD = "dead"  # all weight changes are zero


class LoraFacts(Contract):
    """The outside of a usable LoRA file."""

    dialect: LoraDialect
    size: int  # bytes
    rank: int  # the largest
    modules: int  # linear layers it changes
    parameters: int
    dtype: str  # of the largest share of the weights, as safetensors names it
    has_alpha: bool  # scales to fold in
    touches_audio: bool
    bases: tuple[str, ...]  # whose layers it fits by name and size; versions of one size cannot be told apart
    manifest: LoraManifest | None = None  # None: another tool made the file
    trigger_hint: str | None = None  # what another tool's metadata says
    reference_downscale_factor: int = 1  # of an IC-LoRA's reference video


class LoraImport(Contract):
    """The answer of `python -m engine.data.lora_import`: a usable file and what it is, or why not."""

    facts: LoraFacts | None = None  # None: refused
    manifest: LoraManifest | None = None  # as written into the file
    problem: LoraProblem | None = None
    detail: str | None = None  # one sentence for the shell and for operators
