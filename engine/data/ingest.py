"""The check of uploaded files: `python -m engine.data.ingest check FILE… --out FOLDER --json`.

Takes pictures, clips, `.txt` captions and zips of them; says of every file whether it is used and, if not, why, in one sentence;
copies the usable ones to `--out` under names of our own. Torch-free. The command limits itself (memory, processor, file size)
and decodes every file in a child of its own, so the bot can run it on whatever strangers send.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from engine.contracts.bases import BASES
from engine.contracts.failures import FailureCode
from engine.contracts.geometry import GeometryRule
from engine.contracts.media import MAX_CAPTION_CHARS, GuideRule, IngestReport, ItemVerdict, MediaNote, MediaProblem, Problem
from engine.contracts.objects import extension_of
from engine.data.archive import unpack
from engine.data.clips import longest_shot, too_short
from engine.data.isolation import WorkStoppedError, limit_process, run_isolated
from engine.data.media import HEAD_BYTES, ZIP, MediaFacts, RefusedMediaError, inspect_media, sniff
from engine.data.quality import Look, notes_of
from engine.data.videos import check_clip
from engine.errors import EngineError, InvalidMediaError
from engine.hashing import file_sha256

MEMORY_BYTES = 3 * 1024**3
PROCESS_CPU_S = 1200
FILE_CPU_S = 90
FILE_DEADLINE_S = 180.0
MAX_CAPTION_BYTES = 16 * 1024
MAX_NAME_CHARS = 255
_CLIP_PROBLEMS = {
    FailureCode.VIDEO_MISSING_STREAM: MediaProblem.NO_VIDEO,
    FailureCode.VIDEO_TOO_SHORT: MediaProblem.SINGLE_FRAME,
    FailureCode.VIDEO_TOO_LONG: MediaProblem.TOO_LONG,
    FailureCode.VIDEO_VARIABLE_RATE: MediaProblem.VARIABLE_RATE,
}

MAX_FILES = 1000
_GUIDE_NAME = re.compile(r"(.+)[_.-](?:control|reference|guide)")  # "_reference" is what ltx-trainer calls them

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Upload:
    """One file as it arrived: where its bytes lie, and the name its owner gave it."""

    path: Path
    filename: str

    @property
    def shown(self) -> str:
        """The name as it may appear in a message: whatever cannot be written as UTF-8 replaced, and not endless."""
        return self.filename.encode("utf-8", "replace").decode()[:MAX_NAME_CHARS]


@dataclass(frozen=True)
class _Candidate:
    """A file to judge: uploaded, or found in a zip."""

    path: Path
    filename: str
    archive: str | None

    @property
    def stem(self) -> tuple[str | None, str]:
        """What a caption and its picture have in common."""
        return self.archive, str(PurePosixPath(self.filename).with_suffix("")).casefold()

    @property
    def guided_stem(self) -> tuple[str | None, str] | None:
        """The stem of what this file guides if its name says that it is a guide."""
        archive, stem = self.stem
        found = _GUIDE_NAME.fullmatch(stem)
        return (archive, found[1]) if found else None


@dataclass(frozen=True)
class Wanted:
    """What the files are for asks of them; what is None is not asked."""

    side: int | None = None  # pixels below which an item is noted as small
    rule: GeometryRule | None = None  # by which a clip can be too short
    guides: GuideRule = GuideRule.NONE
    moving_s: float | None = None  # only clips to work from: moving ones of at most that many seconds, and no zips


def check_uploads(uploads: Sequence[Upload], out: Path, *, isolated: bool = True, wanted: Wanted | None = None) -> IngestReport:
    """Judge `uploads` and copy what is usable into the folder `out` (made when missing).

    A zip is refused as a whole when anything about it is hostile; a single bad picture inside is refused alone. `isolated` decodes
    in forked children (needed for strangers' files, not possible in a process with threads).

    Raises:
        InvalidMediaError: There are more files than any training uses.
        OSError: A file cannot be read or `out` cannot be written.
    """
    if len(uploads) > MAX_FILES:
        raise InvalidMediaError(f"{len(uploads)} files are more than a training uses: choose the best {MAX_FILES} or fewer.")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=out) as scratch:
        checker = _Checker(out, Path(scratch), _isolated if isolated else _here, wanted or Wanted())
        return IngestReport(items=tuple(checker.run(uploads)))


class _Checker:
    """One run over one batch."""

    def __init__(self, out: Path, scratch: Path, runner: Callable[[Callable[[], Any]], Any], wanted: Wanted) -> None:
        self._out = out
        self._scratch = scratch
        self._runner = runner
        self._wanted = wanted
        self._captions: dict[tuple[str | None, str], str] = {}
        self._hashes: set[str] = set()
        self._looks: list[Look] = []
        self._guided: dict[_Candidate, _Candidate] = {}

    def run(self, uploads: Sequence[Upload]) -> list[ItemVerdict]:
        entries = [entry for index, upload in enumerate(uploads) for entry in self._expand(index, upload)]
        candidates = [entry for entry in entries if isinstance(entry, _Candidate)]
        media = [candidate for candidate in candidates if not _is_caption(candidate)]
        stems = {candidate.stem for candidate in media}
        if self._wanted.guides is not GuideRule.NONE:
            by_stem = {candidate.stem: candidate for candidate in media}
            self._guided = {guide: by_stem[stem] for guide in media if (stem := guide.guided_stem) in by_stem}
        unused = {candidate: self._read_caption(candidate, stems) for candidate in candidates if _is_caption(candidate)}
        verdicts: list[ItemVerdict] = []
        for index, entry in enumerate(entries):
            if isinstance(entry, ItemVerdict):
                verdicts.append(entry)
            elif entry not in unused:
                verdicts.append(self._judge(index, entry))
            elif (problem := unused[entry]) is not None:
                verdicts.append(_verdict(entry, media_type="text/plain", problem=problem))
        return [self._with_guide(verdict, verdicts) for verdict in verdicts]

    def _with_guide(self, verdict: ItemVerdict, verdicts: Sequence[ItemVerdict]) -> ItemVerdict:
        """`verdict`, refused when it and its guide do not go together, or when it needs one and has none."""
        if verdict.problem is not None or self._wanted.guides is GuideRule.NONE:
            return verdict
        if verdict.guides is not None:
            guided = next((v for v in verdicts if v.filename == verdict.guides and v.archive == verdict.archive), None)
            if guided is None or guided.problem is not None or _lasts_as_long(verdict, guided):
                return verdict
            detail = f"It lasts {_length(verdict)} and {guided.filename} {_length(guided)}: cut both to the same length."
            return verdict.model_copy(update={"problem": Problem(code=MediaProblem.GUIDE_MISMATCH, detail=detail), "path": None})
        own = IngestReport(items=tuple(verdicts)).guide_of(verdict)
        if self._wanted.guides is GuideRule.REQUIRED and (own is None or not _lasts_as_long(own, verdict)):
            stem = PurePosixPath(verdict.filename).stem
            detail = f"It has no guide of its length: put one beside it that is called {stem}_control."
            return verdict.model_copy(update={"problem": Problem(code=MediaProblem.GUIDE_MISSING, detail=detail), "path": None})
        return verdict

    def _expand(self, index: int, upload: Upload) -> list[_Candidate | ItemVerdict]:
        """The file itself, what a zip holds, or the verdict on a zip that is refused."""
        if _sniffed(upload.path) != ZIP or self._wanted.moving_s is not None:
            return [_Candidate(upload.path, upload.shown, None)]
        folder = self._scratch / f"{index:03d}"
        folder.mkdir()
        try:
            members = self._runner(lambda: _unpacked(upload.path, folder))
        except RefusedMediaError as error:
            return [_refused_zip(upload, error.problem)]
        found = [_Candidate(Path(path), name, upload.shown) for name, path in members]
        if all(_is_caption(candidate) for candidate in found):
            detail = "The zip has no picture or clip in it: pack them into it."
            return [_refused_zip(upload, Problem(code=MediaProblem.ARCHIVE_EMPTY, detail=detail))]
        return [*found]

    def _read_caption(self, candidate: _Candidate, stems: set[tuple[str | None, str]]) -> Problem | None:
        """Remember the caption, or say why it is of no use."""
        if candidate.stem not in stems:
            detail = "No picture or clip has the same name as this caption: rename one of the two."
            return Problem(code=MediaProblem.CAPTION_ORPHAN, detail=detail)
        try:
            self._captions[candidate.stem] = read_caption(candidate.path)
        except RefusedMediaError as error:
            return error.problem
        return None

    def _judge(self, index: int, candidate: _Candidate) -> ItemVerdict:
        try:
            answer = self._runner(lambda: asdict(_inspected(candidate.path, self._wanted.moving_s)))
        except RefusedMediaError as error:
            return _verdict(candidate, media_type=_sniffed(candidate.path), problem=error.problem)
        facts = MediaFacts(**{**answer, "look": Look(**answer["look"]), "cuts": tuple(answer["cuts"])})
        digest = file_sha256(candidate.path)
        problem = self._problem(candidate, facts, digest)
        if problem is not None:
            return _verdict(candidate, media_type=facts.media_type, sha256=digest, problem=problem)
        notes = self._notes(candidate, facts)
        self._hashes.add(digest)
        accepted = self._out / f"{index:04d}-{digest[:16]}.{extension_of(facts.media_type)}"
        shutil.copyfile(candidate.path, accepted)
        thumb = accepted.with_name(f"{accepted.stem}.thumb.jpg")
        thumb.write_bytes(bytes.fromhex(answer["look"]["thumb"]))
        guided = self._guided.get(candidate)
        return _verdict(
            candidate,
            path=str(accepted),
            media_type=facts.media_type,
            sha256=digest,
            width=facts.width,
            height=facts.height,
            num_frames=facts.num_frames,
            fps=facts.fps,
            caption=self._captions.get(candidate.stem),
            notes=notes,
            fingerprint=facts.look.fingerprint,
            has_audio=facts.has_audio,
            guides=guided.filename if guided is not None else None,
            thumb=str(thumb),
        )

    def _problem(self, candidate: _Candidate, facts: MediaFacts, digest: str) -> Problem | None:
        """Why a file that decodes is of no use here."""
        if digest in self._hashes and candidate not in self._guided:
            return Problem(code=MediaProblem.DUPLICATE, detail="The same file is there twice: one is enough.")
        rule = self._wanted.rule
        if rule is not None and facts.fps is not None and longest_shot(facts, rule.fps) <= rule.frame_stride:
            return Problem(code=MediaProblem.TOO_SHORT, detail=too_short(facts.num_frames, facts.fps, rule))
        return None

    def _notes(self, candidate: _Candidate, facts: MediaFacts) -> tuple[MediaNote, ...]:
        """Weaknesses of an item; a guide is no picture to judge."""
        if candidate in self._guided:
            return ()
        notes = notes_of(facts.look, self._looks, min(facts.width, facts.height), self._wanted.side)
        self._looks.append(facts.look)
        return (*notes, MediaNote.CUTS) if facts.cuts else notes


def read_caption(path: Path) -> str:
    """The caption in a text file: UTF-8 or UTF-16 with a mark, white space folded.

    Raises:
        RefusedMediaError: It is no text, has no words, or is too long.
    """
    problem = RefusedMediaError(
        MediaProblem.CAPTION_UNREADABLE, f"The caption is not plain text of 1 to {MAX_CAPTION_CHARS} characters: save it as UTF-8."
    )
    data = path.read_bytes() if path.stat().st_size <= MAX_CAPTION_BYTES else b""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise problem from error
    caption = " ".join(text.split())
    if not 1 <= len(caption) <= MAX_CAPTION_CHARS or _CONTROL.search(caption):
        raise problem
    return caption


def collect_folder(source: Path) -> list[Upload]:
    """Files of a folder (not below it), hidden ones left out, in name order; or `source` itself when it is a file.

    Raises:
        InvalidMediaError: Nothing is there.
    """
    if source.is_dir():
        uploads = [Upload(p, p.name) for p in sorted(source.iterdir()) if p.is_file() and not p.name.startswith(".")]
    elif source.is_file():
        uploads = [Upload(source, source.name)]
    else:
        raise InvalidMediaError(f"There is nothing at {source}: give a folder, a zip or files.")
    if not uploads:
        raise InvalidMediaError(f"The folder {source} is empty: put pictures or clips in it.")
    return uploads


def _inspected(path: Path, moving_s: float | None) -> MediaFacts:
    """The facts of a picture or clip; with `moving_s`, of a clip that moves evenly and plays no longer.

    Raises:
        RefusedMediaError: It cannot be used.
    """
    if moving_s is not None:
        try:
            check_clip(path, max_seconds=moving_s)
        except RefusedMediaError:
            raise
        except InvalidMediaError as error:
            raise RefusedMediaError(_CLIP_PROBLEMS.get(error.code, MediaProblem.DAMAGED), str(error)) from error
    return inspect_media(path)


def _lasts_as_long(guide: ItemVerdict, guided: ItemVerdict) -> bool:
    """True for two pictures, and for two clips whose lengths differ by no more than a frame."""
    if guide.fps is None or guided.fps is None:
        return guide.fps is None and guided.fps is None
    seconds = [(item.num_frames or 0) / (item.fps or 1.0) for item in (guide, guided)]
    return abs(seconds[0] - seconds[1]) <= max(1 / guide.fps, 1 / guided.fps) + 1e-6


def _length(item: ItemVerdict) -> str:
    return "no time, being a picture," if item.fps is None else f"{(item.num_frames or 0) / item.fps:.2f} s"


def _unpacked(archive: Path, folder: Path) -> list[tuple[str, str]]:
    return [(member.name, str(member.path)) for member in unpack(archive, folder)]


def _here(work: Callable[[], Any]) -> Any:
    return work()


def _isolated(work: Callable[[], Any]) -> Any:
    """Run `work` in a child; a refusal crosses the border as data, a crash becomes one."""
    try:
        answer = run_isolated(lambda: _outcome(work), cpu_s=FILE_CPU_S, deadline_s=FILE_DEADLINE_S)
    except WorkStoppedError as error:
        raise RefusedMediaError(
            MediaProblem.CHECK_FAILED, "The file could not be read within the limits: save it again, smaller or in another format."
        ) from error
    if "problem" in answer:
        problem = Problem.model_validate(answer["problem"])
        raise RefusedMediaError(problem.code, problem.detail)
    return answer["result"]


def _outcome(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"result": work()}
    except RefusedMediaError as error:
        return {"problem": error.problem.model_dump(mode="json")}


def _refused_zip(upload: Upload, problem: Problem) -> ItemVerdict:
    return ItemVerdict(filename=upload.shown, size=upload.path.stat().st_size, media_type=ZIP, problem=problem)


def _verdict(candidate: _Candidate, **facts: Any) -> ItemVerdict:
    return ItemVerdict(filename=candidate.filename, archive=candidate.archive, size=candidate.path.stat().st_size, **facts)


def _is_caption(candidate: _Candidate) -> bool:
    return PurePosixPath(candidate.filename).suffix.lower() == ".txt" and _sniffed(candidate.path) is None


def _sniffed(path: Path) -> str | None:
    with path.open("rb") as handle:
        return sniff(handle.read(HEAD_BYTES))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the check ran (whatever it found), 2 for a wrong call or an unreadable file."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.ingest", description="Check pictures, clips and zips before training.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="judge files and copy the usable ones")
    check.add_argument("files", nargs="*", type=Path, metavar="FILE")
    check.add_argument("--uploads", type=Path, help='JSON list of {"path", "filename"} for files stored under other names')
    check.add_argument("--out", type=Path, required=True, help="folder for the accepted files")
    check.add_argument("--side", type=int, help="side in pixels that training will use, to note small items")
    check.add_argument("--moving", type=float, metavar="SECONDS", help="take only clips that move, of at most this length")
    check.add_argument("--base", choices=sorted(BASES), help="base that the files are for, to judge the length of clips")
    check.add_argument(
        "--guides", choices=[rule.value for rule in GuideRule], default=GuideRule.NONE.value, help="what x_control.mp4 means"
    )
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    limit_process(cpu_s=PROCESS_CPU_S, memory_bytes=MEMORY_BYTES, file_bytes=2 * 1024**3)
    try:
        uploads = [upload for path in options.files for upload in collect_folder(path)] + _listed(options.uploads)
        if not uploads:
            parser.error("give at least one file")
        rule = BASES[options.base].geometry if options.base else None
        report = check_uploads(uploads, options.out, wanted=Wanted(options.side, rule, GuideRule(options.guides), options.moving))
    except (EngineError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(report.model_dump_json() + "\n" if options.json else _as_text(report))
    return 0


def _listed(path: Path | None) -> list[Upload]:
    if path is None:
        return []
    try:
        return [Upload(Path(entry["path"]), str(entry["filename"])) for entry in json.loads(path.read_bytes())]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidMediaError(f'{path} is not a JSON list of {{"path", "filename"}}.') from error


def _as_text(report: IngestReport) -> str:
    lines = []
    for item in report.items:
        if item.problem is not None:
            lines.append(f"refused  {item.filename}: {item.problem.detail}")
        else:
            notes = f" ({', '.join(item.notes)})" if item.notes else ""
            lines.append(f"ok       {item.filename}: {item.media_type}, {item.width} x {item.height}, {item.num_frames} frames{notes}")
    lines.append(f"{len(report.accepted)} usable, {len(report.refused)} refused")
    return "\n".join(lines) + "\n"


def _run() -> NoReturn:
    raise SystemExit(main())


if __name__ == "__main__":
    _run()
