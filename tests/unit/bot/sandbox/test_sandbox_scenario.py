"""The scenario format."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.sandbox import __main__ as shell
from bot.sandbox.attachments import Attachments, fill_options
from bot.sandbox.errors import ScenarioError
from bot.sandbox.scenario import CommandStep, PressStep, StopRedisStep, WaitStep, load_scenario
from bot.sandbox.sources import Generated, Posted
from bot.sandbox.wording import describe
from bot.sandbox.world import Attachment

ISSUE = """
guild: {name: Studio, premium_tier: 0}
steps:
  - {as: maker, in: general, command: train, options: {name: zoko, kind: character}, attach: {images: [a.png, b.png]}, expect: accepted}
  - {wait_for: job, of: maker, status: succeeded, within_s: 400}
  - {as: maker, in: general, command: generate, options: {prompt: "zoko walking left on a beach", loras: "zoko:0.9", seed: 7}}
  - {wait_for: message, in: general, with: video, within_s: 120}
  - {as: guest, in: general, press: again, on: last_video, expect: refused}
"""


def written(tmp_path: Path, text: str) -> Path:
    """A scenario file."""
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return path


def test_scenario_of_the_documentation_is_read(tmp_path: Path):
    """The published example, `on:` included, means what it says."""
    scenario = load_scenario(written(tmp_path, ISSUE))
    train, job, generate, message, press = scenario.steps
    assert isinstance(train, CommandStep)
    assert train.attach == {"images": ["a.png", "b.png"]}
    assert isinstance(job, WaitStep)
    assert (job.of, job.within_s) == ("maker", 400)
    assert isinstance(generate, CommandStep)
    assert generate.options["seed"] == 7
    assert isinstance(message, WaitStep)
    assert message.with_ == "video"
    assert isinstance(press, PressStep)
    assert (press.on, press.expect) == ("last_video", "refused")


def test_scenario_takes_nested_steps_and_rendered_pictures(tmp_path: Path):
    """`meanwhile` holds steps, `render` stands for pictures made on the spot."""
    scenario = load_scenario(
        written(
            tmp_path,
            """
steps:
  - stop_redis: {for_s: 2}
    meanwhile: [{as: maker, command: jobs}]
  - {as: maker, command: train, attach: {images: {render: {character: zoko, count: 24}}}}
""",
        )
    )
    outage, train = scenario.steps
    assert isinstance(outage, StopRedisStep)
    assert isinstance(outage.meanwhile[0], CommandStep)
    assert isinstance(train, CommandStep)
    assert isinstance(train.attach, dict)
    assert isinstance(train.attach["images"], Generated)


def test_scenario_names_every_mistake_at_once(tmp_path: Path):
    """Each wrong step is told with its number."""
    path = written(tmp_path, "steps: [{as: a, comand: b}, {as: a, command: b, expekt: refused}, {wait_for: moon}]")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[1] for line in lines] == ["1", "2", "3"]
    assert "expekt" in lines[1]


@pytest.mark.parametrize("text", ["", "just words", "steps: []", "steps: {a: b}", "steps: [1]", "a: [", "guild: {}"])
def test_scenario_is_refused_when_it_is_none(tmp_path: Path, text: str):
    """Whatever is in the file, the answer is a ScenarioError."""
    with pytest.raises(ScenarioError):
        load_scenario(written(tmp_path, text))


def test_shell_exits_2_when_the_scenario_is_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A missing file is one sentence and exit code 2; nothing is written."""
    assert shell.main(["run", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "cannot read" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_shell_keeps_a_folder_that_no_run_made(tmp_path: Path):
    """`--out` on a folder with other files is refused."""
    keep = tmp_path / "mine" / "keep.txt"
    keep.parent.mkdir()
    keep.write_text("mine")
    assert shell.main(["run", str(written(tmp_path, ISSUE)), "--out", str(keep.parent)]) == 2
    assert keep.read_text() == "mine"


def test_tour_is_a_valid_scenario():
    """The scenario of `make demo` can be read and every step has a title."""
    tour = load_scenario(shell.SCENARIOS / "tour.yaml")
    assert all(describe(step) for step in tour.steps)


def option(name: str) -> dict[str, object]:
    """An attachment option."""
    return {"type": 11, "name": name}


def test_fill_options_spreads_files_over_numbered_options():
    """Ten pictures fill image1 to image10, the zip goes to its own option, the rest waits for forms."""
    command = {"name": "train", "options": [*(option(f"image{n}") for n in range(1, 11)), option("zip")]}
    pictures = [Path(f"{n}.png") for n in range(12)]
    filled, left = fill_options(command, {"images": [*pictures, Path("all.zip")]})
    assert filled == {**{f"image{n + 1}": pictures[n] for n in range(10)}, "zip": Path("all.zip")}
    assert left == pictures[10:]


def test_fill_options_takes_the_option_of_that_name():
    """`image: a.png` goes to the option `image`."""
    command = {"name": "generate", "options": [option("image")]}
    assert fill_options(command, {"image": [Path("a.png")]}) == ({"image": Path("a.png")}, [])
    with pytest.raises(ScenarioError):
        fill_options({"name": "jobs", "options": []}, {"images": [Path("a.png")]})


async def test_attachments_expand_folders_and_name_what_is_missing(tmp_path: Path):
    """A folder stands for its files by name; a missing file is named."""
    for name in ("b.png", "a.png", ".hidden"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"x")
    attachments = Attachments(tmp_path, tmp_path / "rendered", lambda _: None, Path)
    assert [p.name for p in await attachments.paths("set")] == ["a.png", "b.png"]
    with pytest.raises(ScenarioError, match=r"none\.png"):
        await attachments.paths(["set", "none.png"])
    with pytest.raises(ScenarioError, match="no clip has been posted"):
        await attachments.paths(Posted(posted="last_video"))


async def test_attachments_download_what_was_posted_and_turn_one_bit_over(tmp_path: Path):
    """The copy is the posted file, byte for byte, or with exactly one of its bits changed."""
    shown = Attachment(1, "clip.mp4", "video/mp4", bytes(range(64)), "https://cdn.discordapp.com/x")
    attachments = Attachments(tmp_path, tmp_path / "rendered", lambda _: shown, Path)
    [same, other] = await attachments.paths([Posted(posted="last_video"), Posted(posted="last_video", flipped=True)])
    assert same.read_bytes() == shown.data
    changed = [one ^ another for one, another in zip(shown.data, other.read_bytes(), strict=True) if one != another]
    assert changed == [1]
