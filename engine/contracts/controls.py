"""What a control video shows: the guide of an effect LoRA (IC-LoRA), in training and in sampling alike."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from engine.contracts.model import Contract

MAX_DOWNSCALE = 4


class ControlKind(StrEnum):
    """How the guiding frames come about; never renamed, only added to."""

    EDGES = "edges"  # white outlines on black, computed from a clip
    DEPTH = "depth"  # near is bright, computed from a clip
    POSE = "pose"  # a coloured stick figure, computed from a clip
    VIDEO = "video"  # the given frames themselves: any video-to-video effect, from supplied pairs

    @property
    def computed(self) -> bool:
        """True when the guide can be made from a clip alone; else every training clip needs one beside it."""
        return self is not ControlKind.VIDEO


class ControlModels(Contract):
    """Hub ids or folders of the transformers models that read guides from clips. All defaults are Apache-2.0."""

    depth: str = "depth-anything/Depth-Anything-V2-Small-hf"
    person: str = "PekingU/rtdetr_r50vd_coco_o365"  # finds people
    pose: str = "usyd-community/vitpose-base-simple"  # finds the joints of each


class Control(Contract):
    """What an effect LoRA is guided by; travels in its manifest, so that sampling prepares the guide as training did."""

    kind: ControlKind
    downscale: int = Field(default=1, ge=1, le=MAX_DOWNSCALE)  # side of the clip / side of the guiding frames

    def to_metadata(self) -> dict[str, str]:
        """Keys of a safetensors header by which ComfyUI and ltx-pipelines learn the factor (reference ltx-2.3.md §1.9)."""
        return {"reference_downscale_factor": str(self.downscale), "callsheet_control": self.kind.value}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Control | None:
        """What another trainer's header says: its factor, and a guide that is used as it is; None when it says nothing of it."""
        text = metadata.get("reference_downscale_factor") or metadata.get("ss_reference_downscale_factor")
        if text is None:
            return None
        try:
            return cls(kind=ControlKind(metadata.get("callsheet_control", ControlKind.VIDEO.value)), downscale=round(float(text)))
        except ValueError:
            return None
