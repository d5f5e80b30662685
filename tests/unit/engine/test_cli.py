"""The shell: `python -m engine …`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2Pipeline
from PIL import Image

from engine.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED, main
from engine.commands import parse_lora
from engine.contracts.lora import LoraKind, LoraManifest
from engine.contracts.provenance import Finding
from engine.data.media import inspect_media
from engine.errors import InvalidConfigError
from engine.generate_command import parse_entry
from engine.model.adapters import save_lora
from engine.model.bases import get_base
from engine.sample.credentials import known_signers
from engine.sample.provenance import verify
from tests.support.media import write_clip, write_picture, write_sound, write_zip
from tests.support.provenance import credentials_folder, parameters, signed_clip

DEADLINE_S = 240.0


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def write_data(folder: Path, count: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        write_picture(folder / f"{index}.png", seed=index, width=40, height=40)
    (folder / "0.txt").write_text("zoko on a beach")
    return folder


def write_lora(path: Path, base: str = "tiny", seed: int = 0) -> Path:
    name = "transformer_blocks.0.attn1.to_q"
    modules = {name: (torch.randn(2, 192, generator=torch.Generator().manual_seed(seed)), torch.ones(192, 2))}
    manifest = LoraManifest(
        name="zoko", kind=LoraKind.CHARACTER, trigger="zoko", base=base, base_revision="r", rank=2, targets=(), steps=1,
        learning_rate=1e-3, width=32, height=32, items=1, data_sha256="0" * 64, seed=0, created_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    save_lora(path, modules, manifest, torch.float32)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A LoRA trained from a shell for a few steps, with what the command said about it."""
    folder = tmp_path_factory.mktemp("shell")
    write_data(folder / "data")
    (folder / "data" / "broken.png").write_text("text")
    out = folder / "zoko.safetensors"
    done = run(
        "train", "--base", "tiny", "--data", folder / "data", "--kind", "character", "--trigger", "zoko", "--steps", "4",
        "--batch-size", "2", "--out", out, "--credentials", folder / "credentials", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_train_leaves_file_and_run_folder_when_the_data_is_good(trained: tuple[Path, dict[str, Any]]) -> None:
    """The LoRA, metrics of every step, a loss curve, a preview clip and its sheet; refused files are named with the reason."""
    out, said = trained
    folder = out.with_suffix(".run")
    assert said["lora"] == str(out)
    assert (said["name"], said["trigger"], said["steps"], said["items"]) == ("zoko", "zoko", 4, 5)
    assert [entry["file"] for entry in said["refused"]] == ["broken.png"]
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 4
    assert Image.open(said["loss_curve"]).width > 100
    assert inspect_media(Path(said["preview"])).num_frames == 9
    report = verify(Path(said["preview"]), known_signers(out.parent / "credentials"))
    assert report.finding is Finding.OWN
    assert report.parameters is not None
    assert [trace.name for trace in report.parameters.adapters] == ["zoko"]
    assert Image.open(said["preview_sheet"]).width > 100


def test_generate_renders_what_plain_diffusers_does_when_given_the_trained_file(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """`load_lora_weights(file)` in plain diffusers gives the very frames of `python -m engine generate` for the same seed."""
    out, _ = trained
    clip, sheet = tmp_path / "clips" / "clip.mp4", tmp_path / "sheet.png"
    done = run(
        "generate", "--base", "tiny", "--lora", out, "--prompt", "zoko walking left on a beach", "--seed", "7", "--steps", "4",
        "--out", clip, "--sheet", sheet, "--frames", tmp_path / "frames", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    facts = inspect_media(clip)
    assert (said["width"], said["height"], said["frames"]) == (facts.width, facts.height, facts.num_frames) == (256, 256, 9)
    assert Image.open(sheet).width > 100

    base = get_base("tiny")
    pipeline = LTX2Pipeline.from_pretrained(base.source, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(out))
    wanted = pipeline(
        prompt="zoko walking left on a beach",
        negative_prompt=base.sampling.negative_prompt,
        width=32,
        height=32,
        num_frames=9,
        frame_rate=base.profile.geometry.fps,
        num_inference_steps=4,
        guidance_scale=base.sampling.guidance_scale,
        max_sequence_length=base.sampling.max_sequence_length,
        **base.sampling.pipeline_kwargs,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).frames[0]
    frames = np.stack([np.asarray(Image.open(path)) for path in sorted((tmp_path / "frames").iterdir())])
    assert np.array_equal(frames, (wanted * 255).round().astype(np.uint8))


def test_inspect_says_what_a_file_is_when_it_is_a_lora(trained: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest's facts and the health of the weights; as text for people."""
    assert main(["inspect", str(trained[0])]) == 0
    output, _ = capsys.readouterr()
    for fact in ("zoko", "character", "tiny", "rank", "dead modules"):
        assert fact in output


def test_train_goes_on_from_its_checkpoint_when_it_was_interrupted(tmp_path: Path) -> None:
    """Ctrl-C stops after the step with exit code 130 and a hint; the same command with --resume finishes the rest."""
    arguments = ["train", "--data", write_data(tmp_path / "data"), "--trigger", "zoko", "--steps", "20", "--batch-size", "1"]
    arguments += ["--rank", "2", "--out", tmp_path / "zoko.safetensors"]
    metrics = tmp_path / "zoko.run" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: metrics.is_file() and metrics.read_text().count("\n") >= 2, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == EXIT_INTERRUPTED
    assert "--resume" in errors
    assert not (tmp_path / "zoko.safetensors").exists()
    done = run(*arguments, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(1, 21))


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Come back when `condition` holds; fail when the process ends or the deadline passes before."""
    deadline = monotonic() + DEADLINE_S
    while not condition():
        assert monotonic() < deadline
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"ended early: {process.stderr.read() if process.stderr else ''}")


TRAIN = ("train", "--out", "{tmp}/out/zoko.safetensors", "--data")
RENDER = ("generate", "--out", "{tmp}/out/clip.mp4")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--help"),
        (("frobnicate",), "--help"),
        ((*TRAIN, "{tmp}/data", "--base", "tinny"), "tiny"),
        ((*TRAIN, "{tmp}/nowhere"), "nowhere"),
        ((*TRAIN, "{tmp}/empty"), "empty"),
        ((*TRAIN, "{tmp}/data", "--kind", "hero"), "character"),
        ((*TRAIN, "{tmp}/data", "--steps", "0"), "steps"),
        ((*TRAIN, "{tmp}/data", "--steps", "many"), "many"),
        ((*TRAIN, "{tmp}/data", "--learning-rate", "nan"), "learning_rate"),
        ((*TRAIN, "{tmp}/data", "--trigger", "a\nb"), "trigger"),
        ((*TRAIN, "{tmp}/data/0.png", "{tmp}/data/1.png"), "at least 4"),
        ((*TRAIN, "{tmp}/evil.zip"), "leaves its folder"),
        (("train", "--data", "{tmp}/data", "--out", "{tmp}/out/zoko.ckpt"), ".safetensors"),
        (RENDER, "--prompt"),
        ((*RENDER, "--prompt", ""), "prompt"),
        ((*RENDER, "--prompt", "x" * 5000), "prompt"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/gone.safetensors"), "gone"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/data/0.png"), "0.png"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/other.safetensors"), "ltx-2.3"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/a.safetensors:abc"), "abc"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/a.safetensors:9"), "9"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/a.safetensors:nan"), "nan"),
        ((*RENDER, "--prompt", "a", "--lora", "{tmp}/a.safetensors", "--lora", "{tmp}/a.safetensors:0.5"), "twice"),
        ((*RENDER, "--prompt", "a", *(word for n in range(5) for word in ("--lora", f"{{tmp}}/{n}.safetensors"))), "at most 4"),
        ((*RENDER, "--prompt", "a", "--width", "33", "--height", "32"), "multiples of 32"),
        ((*RENDER, "--prompt", "a", "--width", "32"), "--height"),
        ((*RENDER, "--prompt", "a", "--aspect", "21:9"), "21:9"),
        ((*RENDER, "--prompt", "a", "--seconds", "-1"), "seconds"),
        ((*RENDER, "--prompt", "a", "--image", "{tmp}/gone.png"), "gone.png"),
        ((*RENDER, "--prompt", "a", "--seed", "-1"), "seed"),
        ((*RENDER, "--prompt", "a", "--steps", "2", "--max-bytes", "100"), "100 bytes"),
        (("inspect", "{tmp}/data/0.png"), "0.png"),
        (("evaluate", "--out", "{tmp}/out", "--lora", "{tmp}/gone.safetensors"), "gone"),
    ],
)
def test_shell_says_one_sentence_and_exits_two_when_the_input_is_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """No traceback, no page of usage, no result file; the sentence names what is wrong."""
    write_data(tmp_path / "data")
    (tmp_path / "empty").mkdir()
    write_zip(tmp_path / "evil.zip", {"../a.png": b"x"})
    write_lora(tmp_path / "other.safetensors", base="ltx-2.3")
    write_lora(tmp_path / "a.safetensors")
    for index in range(5):
        write_lora(tmp_path / f"{index}.safetensors", seed=index)
    capsys.readouterr()
    assert main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == EXIT_BAD_INPUT
    output, errors = capsys.readouterr()
    assert output == ""
    sentence = errors.strip().splitlines()[-1]
    assert said in sentence
    assert "Traceback" not in errors
    assert "usage:" not in errors
    assert not list(tmp_path.glob("out/*.safetensors"))
    assert not list(tmp_path.glob("out/*.mp4"))


def test_shell_answers_in_json_when_the_input_is_bad_and_json_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """A machine gets the code beside the sentence, and nothing else on either stream."""
    assert main(["generate", "--prompt", "a", "--out", "x.mp4", "--base", "tinny", "--json"]) == EXIT_BAD_INPUT
    output, errors = capsys.readouterr()
    answer = json.loads(output)
    assert answer["error"]["code"] == "base_unavailable"
    assert "tiny" in answer["error"]["detail"]
    assert errors == ""


def test_bases_lists_every_base_without_torch_when_asked() -> None:
    """Instant, also where torch is not installed; the built-in base is always available."""
    code = "import sys; sys.modules['torch'] = None; from engine.cli import main; raise SystemExit(main(['bases', '--json']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    bases = {base["name"]: base for base in json.loads(done.stdout)["bases"]}
    assert bases["tiny"]["available"] is True
    assert "ltx-2.3" in bases


def test_parse_lora_splits_off_the_weight_when_there_is_one(tmp_path: Path) -> None:
    """`file`, `file:0.5`, and a file whose own name ends like a weight."""
    odd = tmp_path / "version:2"
    odd.touch()
    assert parse_lora("a/b.safetensors") == (Path("a/b.safetensors"), 1.0)
    assert parse_lora("a/b.safetensors:0.5") == (Path("a/b.safetensors"), 0.5)
    assert parse_lora("b.safetensors:0") == (Path("b.safetensors"), 0.0)
    assert parse_lora(str(odd)) == (odd, 1.0)
    with pytest.raises(InvalidConfigError):
        parse_lora("b.safetensors:2.01")


def test_parse_entry_takes_a_weight_for_the_second_stage() -> None:
    """`FILE:WEIGHT/SECOND`; a slash in a path is a path's."""
    assert parse_entry("a/b.safetensors:0.9/0.5") == (Path("a/b.safetensors"), 0.9, 0.5)
    assert parse_entry("a/b.safetensors:0.9") == (Path("a/b.safetensors"), 0.9, None)
    assert parse_entry("a/b") == (Path("a/b"), 1.0, None)
    with pytest.raises(InvalidConfigError):
        parse_entry("a/b.safetensors:0.9/7")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ([], "--prompt"),
        (["--prompt", "x", "--control", "edges"], "--video"),
        (["--prompt", "x", "--restyle", "0.5"], "--video"),
        (["--prompt", "x", "--extend"], "the clip to go on from"),
        (["--prompt", "x", "--extend", "CLIP", "--upscale", "CLIP"], "do not go together"),
        (["--prompt", "x", "--extend", "gone.mp4"], "no video at"),
        (["--prompt", "x", "--video", "SOUND"], "no video in"),
        (["--prompt", "x", "--video", "LONG"], "longer than"),
        (["--prompt", "x", "--video", "ONE"], "single frame"),
        (["--prompt", "x", "--lora", "LORA:0"], "add up to"),
        (["--prompt", "x", "--lora", "LORA:2", "--lora", "LORA:2", "--lora", "LORA:2"], "add up to"),
        (["--prompt", "x", "--seed", "4294967296"], "seed"),
        (["--prompt", "x", "--vary", "-1"], "seed"),
        (["--prompt", "x", "--vary", "1", "--vary-strength", "1.5"], "strength"),
        (["--storyboard", "SCENE"], "2 to 8"),
        (["--storyboard", "gone.txt"], "no such file"),
        (["--prompt", "x", "--width", "48", "--height", "48", "--upscale"], "multiples of 32"),
    ],
)
def test_generate_refuses_what_cannot_be_made_with_one_sentence(
    options: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that names what is wrong, no file."""
    files = {
        "CLIP": write_clip(tmp_path / "clip.mp4"),
        "SOUND": write_sound(tmp_path / "sound.mp4"),
        "LONG": write_clip(tmp_path / "long.mp4", num_frames=40),
        "ONE": write_clip(tmp_path / "one.mp4", num_frames=1),
        "LORA": write_lora(tmp_path / "a.safetensors"),
        "SCENE": tmp_path / "scenes.txt",
    }
    files["SCENE"].write_text("only one\n\n# and a remark\n")
    out = tmp_path / "out.mp4"
    named = [str(files.get(option, option)) if ":" not in option else option.replace("LORA", str(files["LORA"])) for option in options]
    assert main(["generate", *named, "--out", str(out)]) == EXIT_BAD_INPUT
    _, sentence = capsys.readouterr()
    assert part in sentence.lower()
    assert sentence.count("\n") == 1
    assert not out.exists()


def test_generate_makes_a_clip_in_every_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes, frames and rate are those asked for, and the file has them; one scene after the other, one clip after the other."""
    first = tmp_path / "text.mp4"
    scenes = tmp_path / "scenes.txt"
    scenes.write_text("a red ball on a beach\na red ball in a forest\n")
    picture = write_picture(tmp_path / "first.png", width=64, height=40)
    for options, mode, side, frames in (
        (["--prompt", "a red ball", "--out", first], "text", 256, 9),
        (["--prompt", "a red ball", "--image", picture, "--fit", "letterbox"], "image", 256, 9),
        (["--prompt", "a red ball", "--extend", first, "--mute"], "extend", 256, 13),
        (["--prompt", "a red ball", "--video", first, "--restyle", "0.6"], "video", 256, 9),
        (["--prompt", "a red ball", "--upscale", first], "upscale", 256, 9),
        (["--prompt", "a red ball", "--seconds", "2", "--vary", "3"], "text", 256, 17),
        (["--storyboard", scenes, "--rerolls", "0"], "storyboard", 256, 18),
    ):
        out = options[options.index("--out") + 1] if "--out" in options else tmp_path / f"{mode}-{frames}.mp4"
        arguments = ["generate", *map(str, options), "--steps", "2", "--seed", "7", "--json"]
        assert main(arguments + ([] if "--out" in options else ["--out", str(out)])) == 0
        said = json.loads(capsys.readouterr().out)
        facts = inspect_media(Path(out))
        assert (said["mode"], said["frames"], said["fps"]) == (mode, frames, 8.0)
        assert (facts.width, facts.height, facts.num_frames, facts.fps) == (side, side, frames, pytest.approx(8.0))
        if mode == "extend":
            assert said["join_psnr"] >= 30
        if mode == "storyboard":
            assert [scene["seed"] for scene in said["scenes"]] == [7, 8]


def test_verify_says_what_made_a_clip_when_it_is_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Finding and parameters in one object; a file that is no clip ends with code 2 and a sentence."""
    path = signed_clip(tmp_path / "clip.mp4")
    assert main(["verify", str(path), "--credentials", str(credentials_folder()), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["finding"], found["seed"], found["prompt"]) == ("own", 7, parameters().prompt)
    text = tmp_path / "a.txt"
    text.write_text("words")
    assert main(["verify", str(text), "--credentials", str(credentials_folder())]) == 2
    assert "neither a picture nor a clip" in capsys.readouterr().err
