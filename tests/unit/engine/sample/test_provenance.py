"""`engine.sample.provenance`: what made a file stands in it, and one changed byte shows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import av
import c2pa
import pytest

from engine.config import GuideVideo, SampleConfig
from engine.contracts.bases import BASES
from engine.contracts.controls import ControlKind
from engine.contracts.generation import Fit, Quality, Scene, Storyboard
from engine.contracts.geometry import Geometry
from engine.contracts.provenance import ClipParameters, Finding
from engine.contracts.results import SceneRendered
from engine.data.media import inspect_media
from engine.errors import ResultTooLargeError
from engine.hashing import file_sha256
from engine.sample.credentials import CERTIFICATE, FORMER, Known, known_signers, load_credentials
from engine.sample.provenance import TRAINED_MEDIA, parameters_of, read_parameters, refit, sign, verify, write_signed
from engine.sample.video import contact_sheet, write_mp4
from tests.support.provenance import PLENTY, boxes, credentials_folder, flipped, noisy_clip, parameters, signed_clip


def own() -> Known:
    return known_signers(credentials_folder())


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signed_clip(tmp_path_factory.mktemp("signed") / "clip.mp4")


def test_signed_clip_plays_and_keeps_its_index_in_front(posted: Path) -> None:
    """Signing is the last step and breaks neither playback nor faststart."""
    facts = inspect_media(posted)
    found = boxes(posted.read_bytes())
    assert (facts.num_frames, facts.width, facts.fps) == (9, 128, 8.0)
    assert found["uuid"][0] < found["moov"][0] < found["mdat"][0]


def test_manifest_of_a_signed_clip_satisfies_the_reader_of_c2pa(posted: Path) -> None:
    """Without knowing us the reader finds a valid manifest that says "trained algorithmic media" and names no person."""
    with c2pa.Reader(posted) as reader:
        assert reader.get_validation_state() == "Valid"
        manifest = reader.get_active_manifest()
    assert manifest is not None
    actions = next(item["data"]["actions"] for item in manifest["assertions"] if item["label"].startswith("c2pa.actions"))
    assert [(action["action"], action["digitalSourceType"]) for action in actions] == [("c2pa.created", TRAINED_MEDIA)]


def test_verify_tells_what_made_a_clip_when_it_is_ours(posted: Path) -> None:
    """Every parameter comes back exactly as it was, from the signed part."""
    report = verify(posted, own())
    assert report.finding is Finding.OWN
    assert report.parameters == parameters()
    assert (report.ai_generated, report.generator) == (True, "Callsheet")


@pytest.mark.parametrize("box", ["moov", "mdat"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_verify_finds_one_flipped_byte(posted: Path, tmp_path: Path, box: str, share: float) -> None:
    """Index, metadata, pictures: one bit is enough, for us and for C2PA's own reader."""
    data = posted.read_bytes()
    offset, size = boxes(data)[box]
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(flipped(data, offset + 8 + int((size - 9) * share)))
    assert verify(changed, own()).finding is Finding.TAMPERED
    with c2pa.Reader("video/mp4", changed.open("rb")) as reader:
        assert reader.get_validation_state() == "Invalid"


def test_verify_finds_a_changed_claim(posted: Path, tmp_path: Path) -> None:
    """Another seed in the signed parameters does not stand."""
    data = posted.read_bytes()
    offset = data.index(b"dseed") + 5  # CBOR: text of four characters, then the number
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(flipped(data, offset))
    assert verify(changed, own()).finding is Finding.TAMPERED


def test_verify_tells_a_foreign_signature_from_ours(posted: Path) -> None:
    """A chain that looks exactly like ours but has other keys proves nothing about us."""
    report = verify(posted, known_signers(credentials_folder("other")))
    assert report.finding is Finding.FOREIGN
    assert report.signer is not None
    assert report.parameters == parameters()  # what the file says about itself


def test_verify_recognises_a_former_certificate(posted: Path, tmp_path: Path) -> None:
    """A clip outlives the certificate that signed it."""
    folder = tmp_path / "credentials"
    shutil.copytree(credentials_folder("other"), folder)
    (folder / FORMER).mkdir()
    shutil.copy(credentials_folder() / CERTIFICATE, folder / FORMER / "old.pem")
    assert verify(posted, known_signers(folder)).finding is Finding.OWN


def test_verify_finds_no_signature_after_another_program_wrote_the_file(posted: Path, tmp_path: Path) -> None:
    """A plain clip and a stripped one are unsigned; the latter may still say what made it."""
    plain = tmp_path / "plain.mp4"
    write_mp4(noisy_clip(), plain, max_bytes=PLENTY, min_side=64)
    assert verify(plain, own()).finding is Finding.UNSIGNED
    stripped = tmp_path / "stripped.mp4"
    with av.open(str(posted)) as source, av.open(str(stripped), "w") as target:
        target.metadata.update(source.metadata)
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    report = verify(stripped, own())
    assert (report.finding, report.parameters) == (Finding.UNSIGNED, parameters())


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\x00\x00\x18ftypisom" + b"\xff" * 64, b"\x89PNG\r\n\x1a\n" + b"\0" * 90])
def test_verify_survives_whatever_is_no_clip(tmp_path: Path, content: bytes) -> None:
    """Rubbish is unreadable or unsigned, never an exception and never ours."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert verify(path, own()).finding in (Finding.UNREADABLE, Finding.UNSIGNED)


def test_signature_spares_no_byte_of_a_truncated_clip(posted: Path, tmp_path: Path) -> None:
    """A cut-off file is not ours any more."""
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(posted.read_bytes()[:-1])
    assert verify(cut, own()).finding is Finding.TAMPERED


def test_write_signed_keeps_the_limit_with_everything_in_it(tmp_path: Path) -> None:
    """Manifest and metadata count; a limit too small for them is refused before encoding."""
    path, secret = tmp_path / "clip.mp4", load_credentials(credentials_folder())
    long = parameters(prompt="ß" * 2000, negative_prompt="ß" * 2000)
    written = write_signed(noisy_clip(), path, long, secret, max_bytes=60_000, min_side=256)
    assert written.size == path.stat().st_size <= 60_000
    assert verify(path, own()).parameters == long
    with pytest.raises(ResultTooLargeError, match="signed clip"):
        write_signed(noisy_clip(), path, long, secret, max_bytes=10_000, min_side=256)


def test_refit_signs_the_smaller_copy_again(posted: Path, tmp_path: Path) -> None:
    """What had to shrink for a channel still proves where it comes from."""
    target, limit = tmp_path / "small.mp4", posted.stat().st_size - 1
    written = refit(posted, target, load_credentials(credentials_folder()), max_bytes=limit)
    report = verify(target, own())
    assert written.size == target.stat().st_size <= limit
    assert (report.finding, report.parameters) == (Finding.OWN, parameters())


def test_sign_marks_a_picture_too(tmp_path: Path) -> None:
    """Posters are posted alone when a clip is too large."""
    path = tmp_path / "poster.png"
    contact_sheet(noisy_clip().frames, path)
    plain = path.stat().st_size
    sign(path, parameters(), load_credentials(credentials_folder()), media_type="image/png")
    report = verify(path, own())
    assert (report.finding, report.ai_generated, report.parameters) == (Finding.OWN, True, parameters())
    assert path.stat().st_size - plain < 8_000


def test_parameters_name_no_person() -> None:
    """Nothing in a public file may lead to the one who asked for it."""
    assert not {name for name in ClipParameters.model_fields if "user" in name or "owner" in name or "guild" in name}


def test_parameters_of_a_later_version_are_still_read() -> None:
    """Files outlive versions: keys nobody knows yet are left aside, rubbish is nothing."""
    later = {**parameters().model_dump(mode="json"), "version": "9.0", "mood": "sunny"}
    assert ClipParameters.read(json.dumps(later)) == parameters(version="9.0")
    assert ClipParameters.read("AI-generated") is None


def command(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command as the bot runs it, in a process that has no torch."""
    script = "import sys; sys.modules['torch'] = None; from engine.sample.provenance import main; sys.exit(main(sys.argv[1:]))"
    given = [*map(str, arguments), "--credentials", str(folder or credentials_folder())]
    return subprocess.run([sys.executable, "-c", script, *given], capture_output=True, text=True, timeout=120, check=False)


def test_verify_command_prints_its_report(posted: Path) -> None:
    """The bot reads it; a folder without certificates knows nobody, and gets none by being asked."""
    assert json.loads(command("verify", posted).stdout)["finding"] == "own"
    empty = posted.parent / "nobody"
    assert json.loads(command("verify", posted, folder=empty).stdout)["finding"] == "foreign"
    assert not empty.exists()


def test_fit_command_writes_a_signed_copy(posted: Path, tmp_path: Path) -> None:
    """The bot's image has no torch, and still signs."""
    limit = posted.stat().st_size - 1
    done = command("fit", posted, tmp_path / "out.mp4", "--max-bytes", limit)
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "out.mp4", own()).finding is Finding.OWN


def test_commands_end_with_one_sentence_when_they_cannot(posted: Path, tmp_path: Path) -> None:
    """No file, no clip, or a limit nothing fits: exit code 2, one line, nothing written."""
    text = tmp_path / "in.mp4"
    text.write_text("no clip")
    out = tmp_path / "out.mp4"
    for arguments in (["verify", tmp_path / "none.mp4"], ["fit", text, out, "--max-bytes", 4], ["fit", posted, out, "--max-bytes", 100]):
        done = command(*arguments)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1), done.stderr
    assert not out.exists()
    assert read_parameters(text) is None


def test_parameters_name_every_input_by_content_and_every_setting(tmp_path: Path) -> None:
    """All that decides the frames of a clip made from others stands in the file, and no path of a machine."""
    picture, guide = tmp_path / "a.png", tmp_path / "b.mp4"
    picture.write_bytes(b"picture")
    guide.write_bytes(b"video")
    config = SampleConfig(
        prompt="zoko walks",
        geometry=Geometry(width=32, height=32, num_frames=9, fps=8),
        seed=3,
        image=picture,
        guide=GuideVideo(path=guide, control=ControlKind.EDGES, strength=0.8),
        quality=Quality.FAST,
        fit=Fit.LETTERBOX,
    )
    made = parameters_of(config, BASES["tiny"], [], seed=3)
    assert {(trace.role, trace.sha256) for trace in made.inputs} == {
        ("image", file_sha256(picture)),
        ("guide", file_sha256(guide)),
    }
    assert (made.mode, made.steps, made.fit) == ("control", BASES["tiny"].steps(Quality.FAST), Fit.LETTERBOX)
    assert str(tmp_path) not in made.model_dump_json()


def test_parameters_of_a_film_have_the_seed_each_scene_was_filmed_with() -> None:
    """A scene that was rolled again has another seed than the one it was planned with."""
    scenes = tuple(Scene(prompt=f"scene {number}") for number in range(2))
    geometry = Geometry(width=32, height=32, num_frames=9, fps=8)
    config = SampleConfig(prompt="film", geometry=geometry, seed=3, storyboard=Storyboard(scenes=scenes))
    filmed = [SceneRendered(prompt="scene 0", seed=3), SceneRendered(prompt="scene 1", seed=77, rerolls=1)]
    made = parameters_of(config, BASES["tiny"], [], seed=3, scenes=filmed)
    assert [(scene.prompt, scene.seed) for scene in made.scenes] == [("scene 0", 3), ("scene 1", 77)]
