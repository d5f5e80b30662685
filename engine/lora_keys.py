"""The names that tools give to LoRA weights of LTX-2, brought to one: module of the transformer, and which part of the pair. Torch-free.

PEFT and diffusers prefix the module's dotted name (`diffusion_model.`, `transformer.`, `base_model.model.`); kohya's tools
flatten it (`lora_unet_transformer_blocks_0_attn1_to_q`), which has one reading only because the layers' names are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from engine.contracts.bases import TransformerShape
from engine.contracts.lora_facts import LoraDialect, LoraProblem

PREFIX: Final = "diffusion_model."
"""What ComfyUI, ltx-pipelines and diffusers all read."""

MAX_KEY_CHARS: Final = 300

_PREFIXES: Final = (
    ("base_model.model.diffusion_model.", LoraDialect.PEFT),
    ("base_model.model.transformer.", LoraDialect.PEFT),
    ("base_model.model.", LoraDialect.PEFT),
    ("model.diffusion_model.", LoraDialect.PEFT),
    (PREFIX, LoraDialect.PEFT),
    ("transformer.", LoraDialect.DIFFUSERS),
)
_KOHYA_PREFIXES: Final = ("lora_unet_", "lora_transformer_")
_PARTS: Final = {
    "lora_A": "lora_A",
    "lora_down": "lora_A",
    "lora.down": "lora_A",
    "lora_B": "lora_B",
    "lora_up": "lora_B",
    "lora.up": "lora_B",
}
_TAIL: Final = re.compile(r"\.(?:(?P<part>lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up)(?:\.default)?\.weight|(?P<alpha>alpha))$")
_DOTTED: Final = re.compile(r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")
_ATTENTIONS: Final = ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")
_FLAT: Final = re.compile(
    rf"^transformer_blocks_(?P<block>\d{{1,3}})_(?:(?P<attention>{'|'.join(_ATTENTIONS)})_(?P<linear>to_q|to_k|to_v|to_out_0|to_gate_logits)"
    r"|(?P<ff>ff|audio_ff)_net_(?P<net>0_proj|2))$"
)
_BLOCK: Final = re.compile(r"^transformer_blocks\.(\d{1,3})\.(.+)$")
_OTHER_METHODS: Final = (".lokr_", ".hada_", ".dora_scale", ".lora_magnitude_vector", ".oft_", ".lora_mid", ".glora_")
_WHOLE_WEIGHTS: Final = (".diff", ".diff_b", ".set_weight")
_OTHER_PARTS: Final = ("lora_te", "text_encoder", "text_embedding_projection", "text_projection", "connectors.", "lora_unet_text")


@dataclass(frozen=True)
class Weight:
    """One tensor of a LoRA: `part` is lora_A [rank, in], lora_B [out, rank] or alpha (a scale of the pair times the rank)."""

    module: str
    part: str
    dialect: LoraDialect


def parse_key(key: str) -> Weight | LoraProblem:
    """What the tensor called `key` is, or why a file with such a key is refused."""
    if len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable() or any(sign in key for sign in ("/", "\\", "..", "~")):
        return LoraProblem.UNSAFE_KEY
    if key.startswith(_OTHER_PARTS):
        return LoraProblem.OTHER_PART
    if key.endswith(_WHOLE_WEIGHTS) or any(method in key for method in _OTHER_METHODS):
        return LoraProblem.OTHER_METHOD
    tail = _TAIL.search(key)
    if tail is None:
        return LoraProblem.UNKNOWN_KEY
    part = "alpha" if tail["alpha"] else _PARTS[tail["part"]]
    name = key[: tail.start()]
    for prefix in _KOHYA_PREFIXES:
        if name.startswith(prefix):
            module = unflattened(name.removeprefix(prefix))
            return Weight(module, part, LoraDialect.KOHYA) if module else LoraProblem.UNKNOWN_KEY
    for prefix, dialect in _PREFIXES:
        if name.startswith(prefix):
            module = name.removeprefix(prefix)
            if module.startswith(_OTHER_PARTS):
                return LoraProblem.OTHER_PART
            return Weight(module, part, dialect) if _DOTTED.match(module) else LoraProblem.UNKNOWN_KEY
    return LoraProblem.UNKNOWN_KEY


def unflattened(flat: str) -> str | None:
    """`transformer_blocks_0_attn1_to_out_0` as `transformer_blocks.0.attn1.to_out.0`; None when no layer is called so."""
    match = _FLAT.match(flat)
    if match is None:
        return None
    if match["ff"]:
        return f"transformer_blocks.{match['block']}.{match['ff']}.net.{match['net'].replace('_', '.')}"
    return f"transformer_blocks.{match['block']}.{match['attention']}.{match['linear'].replace('to_out_0', 'to_out.0')}"


def layer_sizes(module: str, shape: TransformerShape) -> tuple[int, int] | None:
    """(in_features, out_features) of a linear layer inside a transformer block of that shape; None when it has no such layer."""
    match = _BLOCK.match(module)
    if match is None or int(match[1]) >= shape.blocks:
        return None
    video, audio, heads = shape.width, shape.audio_width, shape.heads
    layers = {f"{ff}.net.0.proj": (width, 4 * width) for ff, width in (("ff", video), ("audio_ff", audio))}
    layers |= {f"{ff}.net.2": (4 * width, width) for ff, width in (("ff", video), ("audio_ff", audio))}
    for name, asks, answers, inner in (
        ("attn1", video, video, video),
        ("attn2", video, video, video),
        ("audio_attn1", audio, audio, audio),
        ("audio_attn2", audio, audio, audio),
        ("audio_to_video_attn", video, audio, audio),
        ("video_to_audio_attn", audio, video, audio),
    ):
        layers |= {f"{name}.to_q": (asks, inner), f"{name}.to_out.0": (inner, asks), f"{name}.to_gate_logits": (asks, heads)}
        layers |= {f"{name}.to_k": (answers, inner), f"{name}.to_v": (answers, inner)}
    return layers.get(match[2])
