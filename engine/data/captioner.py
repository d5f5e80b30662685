"""Captions for items that came without one, behind one interface: the base's own vision-language model, or nothing but the file name.

Given captions always win; nobody asks a captioner about an item that has one. LTX-2.3 reads its prompts with Gemma 3, a model that also
sees: its text encoder is loaded anyway and writes the captions. A base whose pipeline has no image processor has no eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.lora import LoraKind
from engine.model.loader import ResidentBase

MAX_LOOKS: Final = 6
"""Frames of a clip that are looked at, evenly spread."""

_MAX_NEW_TOKENS: Final = 192
_LONGEST_SIDE: Final = 896  # pixels; what Gemma 3's vision tower sees

_STILL: Final = "Describe this picture for somebody who will paint it again without seeing it."
_CLIP: Final = "These are {count} frames of one clip, in order. Describe the clip for somebody who will film it again without seeing it."
_HOW: Final = (
    "Write one plain paragraph of two to four sentences. Begin with who or what is seen and what they do, then clothes and things, the"
    " place, the light, and the kind of shot. Say only what can be seen. No names, no opinions, no guesses, no list, no introduction."
)
_LEAVE_OUT: Final = {
    LoraKind.CHARACTER: "",
    LoraKind.STYLE: " Do not describe the art style or technique.",  # what a caption names stays free, what it leaves out is learned
    LoraKind.MOTION: " Do not describe how things move.",
    LoraKind.EFFECT: "",
}
_PREAMBLES: Final = ("the picture shows", "the image shows", "the video shows", "the clip shows", "this picture shows", "here is")


class Captioner(Protocol):
    """Looks at an item and says what is in it."""

    def caption(self, frames: NDArray[np.uint8], kind: LoraKind) -> str | None:
        """A literal description of frames [F, H, W, 3], one for a picture; None when nothing can be said."""


class NoCaptioner:
    """For a base without eyes: the file name has to do (`engine.data.captions.item_caption`)."""

    def caption(self, frames: NDArray[np.uint8], kind: LoraKind) -> str | None:  # noqa: ARG002 - the interface
        """Say nothing."""
        return None


class GemmaCaptioner:
    """Gemma 3, as LTX-2.3 loads it for its prompts, asked about pictures. Deterministic: the likeliest words, no sampling."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    @torch.no_grad()
    def caption(self, frames: NDArray[np.uint8], kind: LoraKind) -> str | None:
        """One paragraph about frames [F, H, W, 3]; at most `MAX_LOOKS` of them are looked at."""
        pictures = [_fitting(Image.fromarray(frames[index])) for index in frames_to_show(len(frames))]
        wanted = _STILL if len(frames) == 1 else _CLIP.format(count=len(pictures))
        content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": f"{wanted} {_HOW}{_LEAVE_OUT[kind]}"}]
        prompt = self._processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        inputs = self._processor(text=prompt, images=pictures, return_tensors="pt").to(self._model.device)
        answer = self._model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
        said = self._processor.tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return tidied(said)


def captioner_of(resident: ResidentBase) -> Captioner:
    """The base's own eyes when it has some."""
    processor = getattr(resident.pipeline, "processor", None)
    encoder = getattr(resident.pipeline, "text_encoder", None)
    return GemmaCaptioner(encoder, processor) if processor is not None and encoder is not None else NoCaptioner()


def tidied(said: str) -> str | None:
    """A model's answer as a caption: one line of whole sentences without "the picture shows" in front; None when nothing is left."""
    text = " ".join(said.replace("*", "").split())
    for phrase in _PREAMBLES:
        if text.lower().startswith(phrase):
            text = text[len(phrase) :].lstrip(" :,")
            text = text[:1].upper() + text[1:]
    end = max(text.rfind(mark) for mark in ".!?")
    return (text[: end + 1] if end > 0 else text) or None


def _fitting(picture: Image.Image) -> Image.Image:
    """A copy no larger than the model looks at."""
    view = picture.copy()
    view.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    return view


def frames_to_show(count: int) -> Sequence[int]:
    """Indices of the frames of a clip of `count` that a captioner wants to see."""
    return [int(index) for index in np.unique(np.linspace(0, count - 1, num=min(MAX_LOOKS, count)).round())]
