"""Training sets of held-out characters and styles, written as a user would bring them: pictures or clips with captions."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.bases import TINY
from engine.tiny.captions import caption, looks
from engine.tiny.scenery import BACKGROUNDS, GRID
from engine.tiny.sprites import Character, random_character
from engine.tiny.styles import HELD_OUT_STYLES
from engine.tiny.world import HELD_OUT_CHARACTERS, MOTIONS, Scene, render, scene_with

FRAMES_PER_SECOND: Final = int(TINY.geometry.fps)  # from the contract: `architecture` would bring torch along
NUM_FRAMES: Final = TINY.geometry.default_frames

NEW_BACKGROUNDS: Final = ("desert", "sea", "moon", "castle")
"""Backgrounds that no training set shows, so that evaluation can ask for them."""

_SET_BACKGROUNDS: Final = tuple(kind for kind in BACKGROUNDS if kind not in NEW_BACKGROUNDS)


def character_set(name: str, count: int, num_frames: int = 1, seed: int = 0) -> list[tuple[Scene, str]]:
    """Scenes of one held-out character with captions such as "zoko standing still on a beach".

    Raises:
        KeyError: no held-out character has this name.
    """
    rng = np.random.default_rng(seed)
    character = HELD_OUT_CHARACTERS[name]
    return [_captioned(rng, character, name, i, num_frames, None) for i in range(count)]


def style_set(name: str, count: int, num_frames: int = 1, seed: int = 0) -> list[tuple[Scene, str]]:
    """Scenes of various characters in one held-out style with captions that end in "in dusk style".

    Raises:
        KeyError: no held-out style has this name.
    """
    rng = np.random.default_rng(seed)
    style = HELD_OUT_STYLES[name].name
    scenes = []
    for i in range(count):
        character = random_character(rng)
        scenes.append(_captioned(rng, character, looks(character), i, num_frames, style))
    return scenes


def write_set(
    scenes: list[tuple[Scene, str]], out: Path, *, size: int = 256, kind: Literal["png", "mp4"] = "png", stem: str = "item"
) -> list[Path]:
    """Write one media file of `size` px and one `.txt` caption per scene; returns the media files."""
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for i, (scene, text) in enumerate(scenes):
        file = out / f"{stem}-{i:02d}.{kind}"
        frames = render(scene, scale=size // GRID)
        if kind == "png":
            Image.fromarray(frames[0]).save(file)
        else:
            write_mp4(frames, file)
        file.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
        files.append(file)
    return files


def write_mp4(frames: NDArray[np.uint8], file: Path, fps: int = FRAMES_PER_SECOND) -> None:
    """Encode [F, H, W, 3] uint8 frames as H.264, nearly lossless."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "8", "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_by_name(name: str, *, is_style: bool, count: int, out: Path, size: int, kind: Literal["png", "mp4"], seed: int) -> list[Path]:
    """Write the set of a held-out character or style; see `character_set`, `style_set` and `write_set`."""
    num_frames = NUM_FRAMES if kind == "mp4" else 1
    scenes = (style_set if is_style else character_set)(name, count, num_frames, seed)
    return write_set(scenes, out, size=size, kind=kind, stem=name)


def _captioned(
    rng: np.random.Generator, character: Character, who: str, index: int, num_frames: int, style: str | None
) -> tuple[Scene, str]:
    motion = "still" if num_frames == 1 else MOTIONS[int(rng.integers(len(MOTIONS)))]
    backdrop = _SET_BACKGROUNDS[index % len(_SET_BACKGROUNDS)]
    scene = scene_with(rng, character, motion=motion, num_frames=num_frames, backdrop=backdrop, style=style)
    return scene, caption(who, motion, backdrop, style)
