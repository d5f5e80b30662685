"""What a finished job leaves behind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from engine.contracts.fitting import Fitting
from engine.contracts.geometry import Geometry
from engine.contracts.lora import LoraManifest
from engine.contracts.model import Contract, StoredObject
from engine.contracts.selection import KeptCheckpoint, Selection


class LoraTrained(Contract):
    """A trained LoRA in the store, with the pictures that show what it learned."""

    kind: Literal["lora_trained"] = "lora_trained"
    lora_id: str
    file: StoredObject
    manifest: LoraManifest
    preview: StoredObject | None  # a clip of the preview prompt (MP4)
    poster: StoredObject | None  # contact sheet of that clip (PNG)
    loss_curve: StoredObject | None  # PNG
    steps: int
    seconds: float
    selection: Selection | None = None  # how its checkpoint was chosen; None: there was no choice
    chart: StoredObject | None = None  # the same as a picture (PNG)
    kept: tuple[KeptCheckpoint, ...] = ()  # checkpoints that can be picked instead
    fitting: Fitting | None = None  # what it gave up to fit into memory


class SceneRendered(Contract):
    """One scene of a storyboard as it is in the film. `identity` is its likeness to the other scenes, 0..1; None: not measured."""

    prompt: str  # with the triggers
    seed: int
    identity: float | None = None
    rerolls: int = 0


class VideoRendered(Contract):
    """A clip in the store; `geometry` is what was denoised, the file may be upscaled for posting."""

    kind: Literal["video_rendered"] = "video_rendered"
    file: StoredObject
    poster: StoredObject | None
    geometry: Geometry
    posted_width: int
    posted_height: int
    seed: int
    seconds: float  # wall time of the job on the worker
    num_frames: int | None = None  # of the file, where it is not `geometry.num_frames`: an extended film, a storyboard
    has_audio: bool = False
    scenes: tuple[SceneRendered, ...] = ()
    join_psnr: float | None = None  # dB; of an extension: the source's last frame against the same frame of the continuation


class ItemsCaptioned(Contract):
    """Words for items of a draft, by the hash of their content; those of which there is nothing to say are left out."""

    kind: Literal["items_captioned"] = "items_captioned"
    dataset_id: str
    captions: dict[str, str]


JobResult = Annotated[LoraTrained | VideoRendered, Field(discriminator="kind")]
"""Of what has a row."""

WorkResult = Annotated[LoraTrained | VideoRendered | ItemsCaptioned, Field(discriminator="kind")]
"""Of all that workers do."""
