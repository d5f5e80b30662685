"""How a base is held in memory and computed with: choices of whoever runs a worker, which no clip may show."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from engine.contracts.model import Contract


class TextEncoderPlace(StrEnum):
    """Where the text encoder is while nobody reads a prompt."""

    AUTO = "auto"  # on the device where all of the base leaves room for a clip, else in host memory
    DEVICE = "device"
    HOST = "host"


class SpeedOptions(Contract):
    """Defaults are what is safe everywhere."""

    attention: str = Field(default="auto", pattern=r"^[a-z0-9_]{1,60}$")
    """A kernel by diffusers' name, such as `native`, `flash` or `sage`; auto: the fastest exact one that is installed for the device."""

    text_encoder: TextEncoderPlace = TextEncoderPlace.AUTO
    compile_blocks: bool = False
    """Compile the denoiser for renders, with slots for LoRAs; the first clip of every size waits for the compiler."""

    overlap: bool = True
    """Encode, sign and upload a clip while the next one is already being denoised."""
