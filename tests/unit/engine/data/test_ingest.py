"""`engine.data.ingest`: verdicts on whole uploads, and the command the bot runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.contracts.bases import TINY
from engine.contracts.media import MAX_CAPTION_CHARS, GuideRule, IngestReport, MediaNote, MediaProblem
from engine.data.ingest import MAX_FILES, Upload, Wanted, check_uploads, collect_folder, read_caption
from engine.data.media import RefusedMediaError
from engine.errors import InvalidMediaError
from tests.support.media import giant_png_bytes, picture_bytes, write_clip, write_picture, write_zip


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Where uploads lie."""
    path = tmp_path / "inbox"
    path.mkdir()
    return path


def check(inbox: Path, out: Path, *names: str) -> IngestReport:
    return check_uploads([Upload(inbox / name, name) for name in names], out, isolated=False)


def problems(report: IngestReport) -> dict[str, str]:
    return {item.filename: item.problem.code for item in report.refused if item.problem}


def test_check_copies_accepted_files_under_its_own_names_when_they_are_good(inbox: Path, tmp_path: Path) -> None:
    """Bytes, hash and size are those of the upload; the name on disk owes nothing to the uploaded one."""
    write_picture(inbox / "a b;c.png")
    (item,) = check(inbox, tmp_path / "out", "a b;c.png").items
    assert item.problem is None
    assert item.path is not None
    copy = Path(item.path)
    assert copy.parent == tmp_path / "out"
    assert copy.read_bytes() == (inbox / "a b;c.png").read_bytes()
    assert item.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert item.size == copy.stat().st_size
    assert "a b" not in copy.name
    assert item.thumb is not None
    assert {path.name for path in (tmp_path / "out").iterdir()} == {copy.name, Path(item.thumb).name}


def test_check_keeps_the_order_of_the_upload_when_some_files_are_refused(inbox: Path, tmp_path: Path) -> None:
    """One verdict a file, in order; a bad file costs only itself."""
    write_picture(inbox / "1.png", seed=1)
    (inbox / "2.png").write_text("text")
    write_clip(inbox / "3.mp4")
    write_zip(inbox / "4.zip", {"../x.png": picture_bytes()})
    write_picture(inbox / "5.png", seed=5)
    report = check(inbox, tmp_path / "out", "1.png", "2.png", "3.mp4", "4.zip", "5.png")
    assert [item.filename for item in report.items] == ["1.png", "2.png", "3.mp4", "4.zip", "5.png"]
    assert problems(report) == {"2.png": MediaProblem.NOT_MEDIA, "4.zip": MediaProblem.ARCHIVE_UNSAFE_PATH}
    assert len([path for path in (tmp_path / "out").iterdir() if ".thumb." not in path.name]) == 3


def test_check_pairs_captions_by_name_when_text_files_come_along(inbox: Path, tmp_path: Path) -> None:
    """`a.txt` belongs to `a.png`, inside a zip only to files of the same folder, whatever the case."""
    write_picture(inbox / "a.png", seed=1)
    (inbox / "A.txt").write_text("  zoko\n on a  beach ")
    entries = {
        "x/a.png": picture_bytes(seed=2), "x/a.txt": "zoko im Wald, größer".encode(), "y/a.png": picture_bytes(seed=3),
    }  # fmt: skip
    write_zip(inbox / "set.zip", entries)
    report = check(inbox, tmp_path / "out", "a.png", "A.txt", "set.zip")
    assert [(item.filename, item.archive, item.caption) for item in report.items] == [
        ("a.png", None, "zoko on a beach"),
        ("x/a.png", "set.zip", "zoko im Wald, größer"),
        ("y/a.png", "set.zip", None),
    ]


def test_check_reports_a_caption_when_it_is_of_no_use(inbox: Path, tmp_path: Path) -> None:
    """A text without its picture, and one that is no text, get a verdict; the picture is used all the same."""
    write_picture(inbox / "a.png")
    (inbox / "a.txt").write_bytes(b"\xff\x00\xff")
    (inbox / "b.txt").write_text("lonely")
    report = check(inbox, tmp_path / "out", "a.png", "a.txt", "b.txt")
    assert problems(report) == {"a.txt": MediaProblem.CAPTION_UNREADABLE, "b.txt": MediaProblem.CAPTION_ORPHAN}
    assert [item.caption for item in report.accepted] == [None]


@pytest.mark.parametrize("data", [b"", b"   \n", b"\xff\xfe", b"a\0b", b"\x1b[31m", b"x" * (MAX_CAPTION_CHARS + 1), b"x" * 100_000])
def test_read_caption_refuses_when_it_is_not_a_short_text(tmp_path: Path, data: bytes) -> None:
    """Nothing, control characters, too long."""
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(RefusedMediaError) as caught:
        read_caption(path)
    assert caught.value.problem.code is MediaProblem.CAPTION_UNREADABLE


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_read_caption_reads_what_windows_writes_when_there_is_a_mark(tmp_path: Path, encoding: str) -> None:
    """UTF-8 with or without a mark, and UTF-16 with one."""
    path = tmp_path / "a.txt"
    path.write_bytes("zoko übt\r\n".encode(encoding))
    assert read_caption(path) == "zoko übt"


def test_check_refuses_the_second_of_two_files_when_their_bytes_are_the_same(inbox: Path, tmp_path: Path) -> None:
    """Across loose files and zips; the first one is used."""
    write_picture(inbox / "a.png")
    write_zip(inbox / "b.zip", {"copy.png": (inbox / "a.png").read_bytes()})
    report = check(inbox, tmp_path / "out", "a.png", "b.zip")
    assert problems(report) == {"copy.png": MediaProblem.DUPLICATE}
    assert [item.filename for item in report.accepted] == ["a.png"]


def test_check_refuses_a_zip_when_it_has_captions_only(inbox: Path, tmp_path: Path) -> None:
    """A zip without pictures says so once instead of once per caption."""
    write_zip(inbox / "a.zip", {"a.txt": b"one", "b.txt": b"two"})
    assert problems(check(inbox, tmp_path / "out", "a.zip")) == {"a.zip": MediaProblem.ARCHIVE_EMPTY}


def test_check_notes_weak_items_when_it_accepts_them(inbox: Path, tmp_path: Path) -> None:
    """A dark flat picture and a near copy are accepted with notes; small ones only when a side is asked for."""
    write_picture(inbox / "a.png")
    (inbox / "b.jpg").write_bytes(picture_bytes("JPEG", quality=95, subsampling=0))
    write_picture(inbox / "c.png", seed=9)
    Image.new("RGB", (64, 64), (2, 2, 2)).save(inbox / "d.png")
    uploads = [Upload(inbox / name, name) for name in ("a.png", "b.jpg", "c.png", "d.png")]
    report = check_uploads(uploads, tmp_path / "out", isolated=False, wanted=Wanted(side=64))
    assert [item.notes for item in report.items] == [
        (MediaNote.SMALL,),
        (MediaNote.NEAR_DUPLICATE, MediaNote.SMALL),
        (MediaNote.SMALL,),
        (MediaNote.DARK, MediaNote.LOW_CONTRAST),
    ]


def test_check_refuses_a_clip_too_short_for_the_base(inbox: Path, tmp_path: Path) -> None:
    """Three frames show no motion; the sentence says how long a clip has to be. Without a base, nobody can tell."""
    write_clip(inbox / "short.mp4", num_frames=3, fps=24)
    uploads = [Upload(inbox / "short.mp4", "short.mp4")]
    (item,) = check_uploads(uploads, tmp_path / "out", isolated=False, wanted=Wanted(rule=TINY.geometry)).items
    assert item.problem is not None
    assert item.problem.code is MediaProblem.TOO_SHORT
    assert "use 0.6 s or more" in item.problem.detail
    assert check(inbox, tmp_path / "other", "short.mp4").items[0].problem is None


def test_check_refuses_thousands_of_files_at_once(tmp_path: Path) -> None:
    """A set of 5,000 files is refused before one of them is read."""
    with pytest.raises(InvalidMediaError, match=f"5000 files .* {MAX_FILES} or fewer"):
        check_uploads([Upload(tmp_path / "none", f"{n}.png") for n in range(5000)], tmp_path / "out", isolated=False)


def test_check_notes_cuts_and_sound(inbox: Path, tmp_path: Path) -> None:
    """A clip of two shots says so; one with a sound track is marked."""
    write_clip(inbox / "a.mp4", num_frames=12, seed=1, moving=False)
    write_clip(inbox / "b.mp4", num_frames=12, seed=1, moving=False, cut_to=2, sound=True)
    one, two = check(inbox, tmp_path / "out", "a.mp4", "b.mp4").items
    assert (MediaNote.CUTS in one.notes, one.has_audio) == (False, False)
    assert (MediaNote.CUTS in two.notes, two.has_audio) == (True, True)


def test_check_pairs_guides_by_name_when_an_effect_asks(inbox: Path, tmp_path: Path) -> None:
    """`a_control.mp4` guides `a.mp4` and is no item of its own; for any other kind it is a file like all others."""
    write_clip(inbox / "a.mp4", seed=1)
    write_clip(inbox / "a_control.mp4", seed=2)
    uploads = [Upload(inbox / name, name) for name in ("a.mp4", "a_control.mp4")]
    report = check_uploads(uploads, tmp_path / "out", isolated=False, wanted=Wanted(guides=GuideRule.OPTIONAL))
    (item,) = report.accepted
    guide = report.guide_of(item)
    assert guide is not None
    assert (item.filename, guide.filename) == ("a.mp4", "a_control.mp4")
    assert len(check_uploads(uploads, tmp_path / "other", isolated=False).accepted) == 2


def test_check_refuses_a_guide_of_another_length(inbox: Path, tmp_path: Path) -> None:
    """The pair's sentence names both lengths; where guides can be computed, the clip stays."""
    write_clip(inbox / "a.mp4", seed=1)
    write_clip(inbox / "a_control.mp4", seed=2, num_frames=17)
    uploads = [Upload(inbox / name, name) for name in ("a.mp4", "a_control.mp4")]
    report = check_uploads(uploads, tmp_path / "out", isolated=False, wanted=Wanted(guides=GuideRule.OPTIONAL))
    assert [item.filename for item in report.accepted] == ["a.mp4"]
    (refused,) = report.refused
    assert refused.problem is not None
    assert refused.problem.code is MediaProblem.GUIDE_MISMATCH
    assert refused.problem.detail == "It lasts 2.12 s and a.mp4 1.12 s: cut both to the same length."
    report = check_uploads(uploads, tmp_path / "required", isolated=False, wanted=Wanted(guides=GuideRule.REQUIRED))
    assert problems(report) == {"a.mp4": MediaProblem.GUIDE_MISSING, "a_control.mp4": MediaProblem.GUIDE_MISMATCH}


def test_check_refuses_pictures_of_samples_that_are_no_numbers(inbox: Path, tmp_path: Path) -> None:
    """The only pictures that can hold NaN are of kinds that are not read, whatever their name says."""
    Image.fromarray(np.full((64, 64), np.nan, dtype=np.float32), mode="F").save(inbox / "a.tiff")
    (inbox / "a.tiff").rename(inbox / "a.png")
    assert problems(check(inbox, tmp_path / "out", "a.png")) == {"a.png": MediaProblem.UNSUPPORTED}


def test_check_shows_a_name_it_can_send_when_the_uploaded_one_is_nonsense(inbox: Path, tmp_path: Path) -> None:
    """Lone surrogates and endless names end in a report that can be written as JSON."""
    write_picture(inbox / "a.png", seed=1)
    write_picture(inbox / "b.png", seed=2)
    uploads = [Upload(inbox / "a.png", "\udcff.png"), Upload(inbox / "b.png", "n" * 5000)]
    report = check_uploads(uploads, tmp_path / "out", isolated=False)
    assert IngestReport.model_validate_json(report.model_dump_json()) == report
    assert [item.filename for item in report.accepted] == ["?.png", "n" * 255]


def test_collect_folder_takes_visible_files_in_name_order_when_given_a_folder(inbox: Path, tmp_path: Path) -> None:
    """Hidden files and folders are left out; nothing at all is refused in one sentence."""
    for name in ("b.png", "a.png", ".hidden"):
        (inbox / name).touch()
    (inbox / "sub").mkdir()
    assert [upload.filename for upload in collect_folder(inbox)] == ["a.png", "b.png"]
    with pytest.raises(InvalidMediaError):
        collect_folder(inbox / "sub")
    with pytest.raises(InvalidMediaError):
        collect_folder(tmp_path / "nowhere")


def run_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.data.ingest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_command_prints_the_report_as_json_when_asked(inbox: Path, tmp_path: Path) -> None:
    """The whole way in a process of its own with its limits: good, hostile and giant files in one call, exit code 0."""
    write_picture(inbox / "a.png")
    (inbox / "giant.png").write_bytes(giant_png_bytes())
    write_clip(inbox / "c.webm", codec="libvpx-vp9")
    write_zip(inbox / "bomb.zip", {"a.png": b"\0" * 20_000_000})
    listing = tmp_path / "uploads.json"
    files = ["a.png", "giant.png", "c.webm", "bomb.zip"]
    listing.write_text(json.dumps([{"path": str(inbox / name), "filename": f"../{name}"} for name in files]))
    done = run_command("check", "--uploads", listing, "--out", tmp_path / "out", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = IngestReport.model_validate_json(done.stdout)
    assert problems(report) == {"../giant.png": MediaProblem.TOO_MANY_PIXELS, "../bomb.zip": MediaProblem.ARCHIVE_BOMB}
    assert all(Path(item.path or "").parent == tmp_path / "out" for item in report.accepted)


def test_command_says_one_sentence_and_exits_two_when_the_call_makes_no_sense(tmp_path: Path) -> None:
    """A file that is not there is the caller's mistake, not a verdict."""
    done = run_command("check", tmp_path / "nothing.png", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nothing.png" in done.stderr


def test_command_needs_no_torch_when_it_runs(tmp_path: Path) -> None:
    """The bot's image has no torch: the check works without."""
    write_picture(tmp_path / "a.png")
    code = "import sys; sys.modules['torch'] = None; from engine.data.ingest import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "check", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 usable" in done.stdout
