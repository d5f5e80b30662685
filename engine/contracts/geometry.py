"""Sizes and lengths of clips, and the rules a base sets for them."""

from __future__ import annotations

from pydantic import Field

from engine.contracts.model import Contract


class Geometry(Contract):
    """The size of one clip in pixels, frames and frames per second. A still has `num_frames == 1`."""

    width: int = Field(ge=8, le=4096)
    height: int = Field(ge=8, le=4096)
    num_frames: int = Field(ge=1, le=1025)
    fps: float = Field(gt=0, le=120)

    @property
    def seconds(self) -> float:
        """Playing time."""
        return self.num_frames / self.fps


class GeometryRule(Contract):
    """What a base can denoise: sides are multiples of `spatial_multiple`, frames are `frame_stride * k + 1`."""

    spatial_multiple: int  # pixels per side
    spatial_compression: int  # pixels per latent, per side
    temporal_compression: int  # frames per latent frame
    frame_stride: int
    fps: float
    max_frames: int
    default_frames: int
    aspects: dict[str, tuple[int, int]]  # "16:9" -> (width, height)

    def frames_for(self, seconds: float) -> int:
        """The allowed frame count nearest to `seconds`, at least one stride and at most `max_frames`."""
        strides = max(1, round((seconds * self.fps - 1) / self.frame_stride))
        return min(strides * self.frame_stride + 1, self.max_frames)

    def tokens(self, geometry: Geometry) -> int:
        """Length of the packed latent sequence: `((F-1)/t + 1) * (H/s) * (W/s)`."""
        latent_frames = (geometry.num_frames - 1) // self.temporal_compression + 1
        return latent_frames * (geometry.height // self.spatial_compression) * (geometry.width // self.spatial_compression)
