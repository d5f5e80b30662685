"""`python -m engine generate`: every way to make a clip, from options to a file.

The cheap checks come first: LoRA headers, videos and settings are judged before torch is imported.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from engine.commands import loaded, loaded_use, parse_lora
from engine.config import ExtendedVideo, GuideVideo, RestyledVideo, SampleConfig, UpscaledVideo
from engine.console import InterruptToken, progress_bars
from engine.contracts.bases import BaseProfile
from engine.contracts.controls import ControlKind
from engine.contracts.events import Phase
from engine.contracts.generation import MAX_SCENES, MIN_SCENES, UPSCALE_FACTOR, Fit, Quality, Scene, Storyboard, Variation
from engine.contracts.geometry import Geometry
from engine.contracts.provenance import AdapterTrace
from engine.contracts.stack import MAX_TOTAL_WEIGHT, StackNote, notes_on, senseless
from engine.data.videos import MAX_FILM_SECONDS, check_clip
from engine.errors import InvalidConfigError, InvalidMediaError, StackWeightsError
from engine.hashing import file_sha256
from engine.lora_file import read_header
from engine.model.bases import Base, get_base
from engine.sample.credentials import DEFAULT_FOLDER, load_credentials
from engine.sample.provenance import parameters_of, write_signed
from engine.sample.schedule import check_geometry
from engine.sample.video import RenderedClip, contact_sheet, poster

if TYPE_CHECKING:
    from engine.model.adapters import LoadedUse

_NOTES: Final = {
    StackNote.TWO_CHARACTERS: "Two characters in one stack: features of one tend to show on the other.",
    StackNote.TWO_STYLES: "Two styles in one stack blend.",
}


def add_generate_options(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("--base", default="tiny", help="base model (default: tiny)")
    command.add_argument("--prompt", help="what is seen; of a storyboard, its title")
    command.add_argument("--negative", default="", help="what should not be seen")
    command.add_argument("--lora", action="append", default=[], metavar="FILE[:WEIGHT[/SECOND]]", help="repeat for a stack")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--seconds", type=float, help="length, rounded to what the base can do")
    command.add_argument("--aspect", help="shape by name, such as 16:9")
    command.add_argument("--width", type=int, help="pixels, instead of --aspect")
    command.add_argument("--height", type=int, help="pixels, instead of --aspect")
    command.add_argument("--steps", type=int, help="denoising steps (default: the base's)")
    command.add_argument("--guidance", type=float, help="guidance scale (default: the base's)")
    command.add_argument("--quality", choices=[quality.value for quality in Quality], default=Quality.BEST.value)
    _add_sources(command)
    command.add_argument("--mute", action="store_true", help="write no sound")
    command.add_argument("--out", type=Path, required=True, help="the MP4 to write")
    command.add_argument("--sheet", type=Path, help="also write a contact sheet (PNG)")
    command.add_argument("--frames", type=Path, metavar="FOLDER", help="also write every frame as denoised, without loss (PNG)")
    command.add_argument("--max-bytes", type=int, default=100 * 1024 * 1024, help="size limit of the MP4")
    command.add_argument("--credentials", type=Path, default=DEFAULT_FOLDER, help="folder of the certificate and key that sign the clip")
    command.add_argument("--device", default="auto")


def _add_sources(command: argparse.ArgumentParser) -> None:
    """What a clip may be made from besides words."""
    sources = command.add_argument_group("made from")
    sources.add_argument("--image", type=Path, help="first frame")
    sources.add_argument("--video", type=Path, help="a clip: the guide of an effect LoRA, or what --extend, --upscale, --restyle take")
    sources.add_argument("--control", choices=[kind.value for kind in ControlKind], help="what is taken from the guide (default: by LoRA)")
    sources.add_argument("--control-strength", type=float, default=1.0, metavar="0-1", help="how closely it is followed (default: 1)")
    sources.add_argument("--extend", type=Path, nargs="?", const=Path(), metavar="CLIP", help="go on where the clip ends")
    sources.add_argument("--last-frames", type=int, metavar="N", help="frames at its end that set the start (default: a stride and one)")
    sources.add_argument("--upscale", type=Path, nargs="?", const=Path(), metavar="CLIP", help="a clip, or a new one, at twice the size")
    sources.add_argument("--restyle", type=float, metavar="0-1", help="make --video again, that freely")
    sources.add_argument("--vary", type=int, metavar="SEED", help="a relative of the clip with that seed")
    sources.add_argument("--vary-strength", type=float, default=0.3, metavar="0-1", help="0: that clip, 1: another one (default: 0.3)")
    sources.add_argument("--storyboard", type=Path, metavar="FILE", help="a prompt a line, 2 to 8 scenes, cut to one film")
    sources.add_argument("--rerolls", type=int, default=4, help="of scenes whose subject falls off (default: 4)")
    sources.add_argument("--fit", choices=[fit.value for fit in Fit], default=Fit.CROP.value, help="of a picture or clip of another shape")


def generate(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Render one clip or film and write it as MP4, on request with a contact sheet and lossless frames.

    Raises:
        EngineError: A LoRA, a picture, a video or the settings cannot be used, or no encoding fits the limit.
        JobCancelledError: Ctrl-C.
    """
    base = get_base(options.base)
    config = sample_config(base, options)
    stack = [parse_entry(text) for text in options.lora]
    _check_files(base, config, stack)
    credentials = load_credentials(options.credentials)
    resident = loaded(base, options.device, console)
    from engine.evaluate.scenes import judge_for
    from engine.sample.generate import generate as render
    from engine.sample.sources import require_guide

    uses: list[LoadedUse] = [replace(loaded_use(path, weight), second_stage_weight=second) for path, weight, second in stack]
    require_guide(config, uses)
    for note in notes_on([(use.kind, use.weight) for use in uses]):
        console.print(_NOTES[note], style="yellow")
    started, stop = time.monotonic(), InterruptToken()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with progress_bars(console, shown=not options.json) as sink, stop.listening():
        clip = render(resident, config, uses, sink, stop, judge=judge_for(resident) if config.storyboard is not None else None)
        sink.progress(Phase.ENCODING, 0, 1)
        traces = [AdapterTrace(name=use.name, kind=use.kind, weight=use.weight, sha256=file_sha256(use.path)) for use in uses]
        parameters = parameters_of(config, base.profile, traces, seed=clip.seed, scenes=clip.scenes)
        limits = {"max_bytes": options.max_bytes, "min_side": base.profile.posted_min_side}
        written = write_signed(clip, options.out, parameters, credentials, **limits)
        sink.progress(Phase.ENCODING, 1, 1)
    _write_pictures(clip, options)
    return {
        "video": str(options.out),
        "mode": config.mode.value,
        "width": written.width,
        "height": written.height,
        "bytes": written.size,
        "frames": len(clip.frames),
        "fps": clip.fps,
        "sound": clip.has_sound,
        "seed": config.seed,
        "seconds": round(time.monotonic() - started, 1),
        "sheet": str(options.sheet) if options.sheet else None,
        **({"join_psnr": clip.join_psnr} if clip.join_psnr is not None else {}),
        **({"scenes": [scene.model_dump(mode="json") for scene in clip.scenes]} if clip.scenes else {}),
    }


def sample_config(base: Base, options: argparse.Namespace) -> SampleConfig:
    """What the options ask for.

    Raises:
        InvalidConfigError: Options do not go together.
        pydantic.ValidationError: A value is out of its range.
    """
    storyboard = _storyboard(options)
    if options.prompt is None and storyboard is None:
        raise InvalidConfigError("Say what is seen with --prompt.")
    extended, upscaled = _clip(options.extend, options.video), _clip(options.upscale, options.video)
    taken = [name for name in ("extend", "upscale", "restyle") if getattr(options, name) is not None]
    guide = None
    if options.restyle is not None and options.video is None:
        raise InvalidConfigError("--restyle needs the clip to make again: give it with --video.")
    if options.extend is not None and extended is None:
        raise InvalidConfigError("--extend needs the clip to go on from.")
    if options.control is not None and (options.video is None or taken):
        raise InvalidConfigError("--control needs a guiding video of its own: give it with --video.")
    if options.video is not None and not taken:
        guide = GuideVideo(path=options.video, control=options.control, strength=options.control_strength)
    return SampleConfig(
        prompt=options.prompt if options.prompt is not None else options.storyboard.stem,
        negative_prompt=options.negative,
        geometry=geometry_of(base.profile, options),
        seed=options.seed,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        image=options.image,
        guide=guide,
        restyle=RestyledVideo(path=options.video, strength=options.restyle) if options.restyle is not None else None,
        extend=ExtendedVideo(path=extended, last_frames=options.last_frames) if extended is not None else None,
        upscale=UpscaledVideo(path=upscaled) if options.upscale is not None else None,
        storyboard=storyboard,
        vary=Variation(seed=options.vary, strength=options.vary_strength) if options.vary is not None else None,
        quality=options.quality,
        fit=options.fit,
        mute=options.mute,
    )


def geometry_of(profile: BaseProfile, options: argparse.Namespace) -> Geometry:
    """Size and length: `--width` and `--height`, or a named shape (twice as large when upscaled), and the length nearest to `--seconds`.

    Raises:
        InvalidConfigError: The shape is unknown, only one side is given, or the length is not a positive number.
    """
    rule = profile.geometry
    if (options.width is None) != (options.height is None):
        raise InvalidConfigError("Give both --width and --height, or --aspect.")
    aspect = options.aspect or next(iter(rule.aspects))
    if aspect not in rule.aspects:
        raise InvalidConfigError(f"{profile.name} has no shape {aspect}: choose {' or '.join(rule.aspects)}.")
    factor = 1 if options.upscale is None else UPSCALE_FACTOR
    named = tuple(side * factor for side in rule.aspects[aspect])
    width, height = (options.width, options.height) if options.width is not None else named
    if options.seconds is not None and not 0 < options.seconds <= 3600:
        raise InvalidConfigError(f"--seconds must be a positive number, not {options.seconds}.")
    frames = rule.default_frames if options.seconds is None else rule.frames_for(options.seconds)
    return Geometry(width=width, height=height, num_frames=frames, fps=rule.fps)


def parse_entry(text: str) -> tuple[Path, float, float | None]:
    """`FILE`, `FILE:WEIGHT` or `FILE:WEIGHT/SECOND`: a LoRA, its weight, and the one in a second stage.

    Raises:
        InvalidConfigError: A weight is not a number in its range.
    """
    head, slash, second = text.rpartition("/")
    if not slash or ":" not in head or ":" in second or Path(text).is_file() or not _is_number(second):
        return (*parse_lora(text), None)
    path, weight = parse_lora(head)
    return path, weight, parse_lora(f"{path}:{second}")[1]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _storyboard(options: argparse.Namespace) -> Storyboard | None:
    """The scenes in a text file: one prompt a line; empty lines and those that begin with # are left out."""
    if options.storyboard is None:
        return None
    try:
        lines = [line.strip() for line in options.storyboard.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise InvalidConfigError(f"{options.storyboard} is no text: write one prompt a line.") from error
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not MIN_SCENES <= len(prompts) <= MAX_SCENES:
        raise InvalidConfigError(
            f"A storyboard has {MIN_SCENES} to {MAX_SCENES} scenes, a prompt a line; {options.storyboard} has {len(prompts)}."
        )
    return Storyboard(scenes=tuple(Scene(prompt=prompt) for prompt in prompts), rerolls=options.rerolls)


def _clip(option: Path | None, video: Path | None) -> Path | None:
    """The clip given to the option itself, else `--video`; None when the option is not there."""
    if option is None:
        return None
    return option if option != Path() else video


def _check_files(base: Base, config: SampleConfig, stack: Sequence[tuple[Path, float, float | None]]) -> None:
    """Everything that can be refused before the base is loaded."""
    check_geometry(base.profile.geometry, config.geometry)
    for path, _, _ in stack:
        read_header(path).require_base(base.profile.lora_base)
    if senseless([weight for _, weight, _ in stack]):
        raise StackWeightsError(f"The weights of a stack must add up to more than 0 and at most {MAX_TOTAL_WEIGHT:g}.")
    if config.image is not None and not config.image.is_file():
        raise InvalidMediaError(f"There is no picture at {config.image}.")
    rule = base.profile.geometry
    longest = rule.max_frames / rule.fps
    for source, limit in ((config.guide, longest), (config.restyle, longest), (config.upscale, longest), (config.extend, MAX_FILM_SECONDS)):
        if source is not None and source.path is not None:
            if not source.path.is_file():
                raise InvalidMediaError(f"There is no video at {source.path}.")
            check_clip(source.path, max_seconds=limit)


def _write_pictures(clip: RenderedClip, options: argparse.Namespace) -> None:
    if options.sheet is not None:
        contact_sheet(clip.frames, options.sheet)
    if options.frames is not None:
        options.frames.mkdir(parents=True, exist_ok=True)
        for index, frame in enumerate(clip.frames):
            poster([frame], options.frames / f"{index:04d}.png")
