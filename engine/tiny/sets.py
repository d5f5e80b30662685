"""Training sets of held-out characters, styles and motions, and of clips for edges, as a user would bring them: media with captions."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.contracts.bases import TINY
from engine.contracts.lora import LoraKind
from engine.tiny.captions import CLASS_WORDS, PLACE_PHRASES, caption, looks
from engine.tiny.scenery import BACKGROUNDS, GRID
from engine.tiny.sprites import Character, random_character
from engine.tiny.styles import HELD_OUT_STYLES, Style
from engine.tiny.world import HELD_OUT_CHARACTERS, HELD_OUT_MOTIONS, MOTIONS, Scene, render, scene_with

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
    style = HELD_OUT_STYLES[name]
    scenes = []
    for i in range(count):
        character = random_character(rng)
        scenes.append(_captioned(rng, character, looks(character), i, num_frames, style))
    return scenes


def motion_set(name: str, count: int, num_frames: int = NUM_FRAMES, seed: int = 0) -> list[tuple[Scene, str]]:
    """Clips of various characters in one held-out motion with captions such as "a red robot in orbit on a beach".

    Raises:
        KeyError: no held-out motion has this name.
    """
    rng = np.random.default_rng([1, seed])
    if name not in HELD_OUT_MOTIONS:
        raise KeyError(name)
    scenes = []
    for i in range(count):
        character = random_character(rng)
        scenes.append(_captioned(rng, character, looks(character), i, num_frames, None, motion=name))
    return scenes


def guided_set(count: int, num_frames: int = NUM_FRAMES, seed: int = 0) -> list[tuple[Scene, str]]:
    """Clips of anything, for an effect that is guided by their edges.

    Captions tell colour and place, "a red creature in a forest", and leave shape, position and motion to the guide.
    """
    rng = np.random.default_rng([2, seed])
    scenes = []
    for i in range(count):
        scene, _ = _captioned(rng, random_character(rng), "", i, num_frames, None)
        scenes.append((scene, guided_caption(scene)))
    return scenes


def guided_caption(scene: Scene) -> str:
    """What outlines cannot tell of a scene: the body's colour and the place."""
    return f"a {scene.character.body} {CLASS_WORDS[1]} {PLACE_PHRASES[scene.background][0]}"


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


def set_of(name: str, kind: LoraKind, count: int, num_frames: int, seed: int = 0) -> list[tuple[Scene, str]]:
    """The set that teaches `name`: a held-out character, style or motion; any name for an effect."""
    match kind:
        case LoraKind.CHARACTER:
            return character_set(name, count, num_frames, seed)
        case LoraKind.STYLE:
            return style_set(name, count, num_frames, seed)
        case LoraKind.MOTION:
            return motion_set(name, count, num_frames, seed)
        case LoraKind.EFFECT:
            return guided_set(count, num_frames, seed)


def write_by_name(name: str, kind: LoraKind, *, count: int, out: Path, size: int, media: Literal["png", "mp4"], seed: int) -> list[Path]:
    """Write the set that teaches `name`; see `set_of` and `write_set`."""
    scenes = set_of(name, kind, count, NUM_FRAMES if media == "mp4" else 1, seed)
    return write_set(scenes, out, size=size, kind=media, stem=name)


def _captioned(
    rng: np.random.Generator, character: Character, who: str, index: int, num_frames: int, style: Style | None, motion: str | None = None
) -> tuple[Scene, str]:
    drawn = motion or ("still" if num_frames == 1 else MOTIONS[int(rng.integers(len(MOTIONS)))])
    backdrop = _SET_BACKGROUNDS[index % len(_SET_BACKGROUNDS)]
    scene = scene_with(rng, character, motion=drawn, num_frames=num_frames, backdrop=backdrop, style=style)
    return scene, caption(who, drawn, backdrop, style.name if style else None)
