"""Hostile and heavy media work in processes of its own: the check of uploads, re-encoding a clip to fit a limit, reading signatures.

The bot never decodes a picture itself. The children get no secrets: only the few variables Python needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from engine.contracts.lora import LoraKind
from engine.contracts.lora_facts import LoraImport
from engine.contracts.media import GuideRule, IngestReport
from engine.contracts.provenance import OriginReport
from engine.contracts.sheet import Sheet

logger = logging.getLogger(__name__)

PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class MediaError(Exception):
    """The child failed, or ran out of time; the message is for operators."""


async def check_uploads(
    files: Sequence[tuple[Path, str]],
    out: Path,
    *,
    side: int,
    timeout_s: float,
    base: str | None = None,
    guides: GuideRule = GuideRule.NONE,
    moving_s: float | None = None,
) -> IngestReport:
    """Judge uploads, given as (path, file name as uploaded), and copy the usable bytes into `out`.

    Args:
        files: What arrived.
        out: Folder for accepted files; the caller deletes it.
        side: Pixels per side that training will use.
        timeout_s: Limit for the whole batch.
        base: The base that will be trained, by which a clip can be too short.
        guides: What `x_control.mp4` beside `x.mp4` means.
        moving_s: Only clips are wanted, of at most this many seconds and at an even rate.

    Raises:
        MediaError: the check itself failed; a bad file is a verdict, not an error.
    """
    listing = await asyncio.to_thread(_write_listing, files, out)
    arguments = ["check", "--uploads", str(listing), "--out", str(listing.parent), "--side", str(side), "--json"]
    arguments += ["--guides", guides.value]
    if base is not None:
        arguments += ["--base", base]
    if moving_s is not None:
        arguments += ["--moving", str(moving_s)]
    answer = await _run("engine.data.ingest", arguments, timeout_s)
    try:
        return IngestReport.model_validate_json(answer)
    except ValidationError as error:
        raise MediaError(f"the check answered nonsense: {error}") from error


async def draw_sheet(sheet: Sheet, thumbs: Sequence[bytes | None], folder: Path, *, timeout_s: float) -> Path:
    """Draw the picture of a data set into `folder`, which the caller deletes; `thumbs` belong to the tiles, in order.

    Raises:
        MediaError: it could not be drawn.
    """
    listing, target = folder / "sheet.json", folder / "dataset.png"
    await asyncio.to_thread(_write_sheet, sheet, thumbs, listing)
    await _run("engine.data.sheet", [str(listing), str(target)], timeout_s)
    return target


async def fit_video(source: Path, target: Path, *, max_bytes: int, credentials: Path, timeout_s: float) -> Path:
    """Write a copy of an MP4 of at most `max_bytes` to `target`, signed again.

    Raises:
        MediaError: no encoding fits.
    """
    arguments = ["fit", str(source), str(target), "--max-bytes", str(max_bytes), "--credentials", str(credentials)]
    await _run("engine.sample.provenance", arguments, timeout_s)
    if not await asyncio.to_thread(lambda: target.exists() and target.stat().st_size <= max_bytes):
        raise MediaError("the encoder left no file that fits")
    return target


async def verify_origin(file: Path, *, credentials: Path, timeout_s: float) -> OriginReport:
    """What the signature in an uploaded file proves.

    Raises:
        MediaError: the examination itself failed.
    """
    answer = await _run("engine.sample.provenance", ["verify", str(file), "--credentials", str(credentials)], timeout_s)
    try:
        return OriginReport.model_validate_json(answer)
    except ValidationError as error:
        raise MediaError(f"the examination answered nonsense: {error}") from error


async def import_lora(
    source: Path, target: Path, *, base: str, name: str, kind: LoraKind, trigger: str | None, filename: str, timeout_s: float
) -> LoraImport:
    """Check a LoRA of any tool and write it to `target` as we keep LoRAs; a file that cannot be used is an answer, not an error.

    Raises:
        MediaError: the check itself failed.
    """
    arguments = [str(source), "--out", str(target), "--base", base, "--name", name, "--kind", kind, "--filename", filename]
    arguments += ["--trigger", trigger] if trigger else []
    answer = await _run("engine.data.lora_import", arguments, timeout_s)
    try:
        return LoraImport.model_validate_json(answer)
    except ValidationError as error:
        raise MediaError(f"the check answered nonsense: {error}") from error


def _write_sheet(sheet: Sheet, thumbs: Sequence[bytes | None], listing: Path) -> None:
    tiles = []
    for index, (tile, thumb) in enumerate(zip(sheet.tiles, thumbs, strict=True)):
        path = listing.absolute().with_name(f"{index:04d}.jpg")
        if thumb is not None:
            path.write_bytes(thumb)
        tiles.append(tile.model_copy(update={"thumb": str(path) if thumb is not None else None}))
    listing.write_text(sheet.model_copy(update={"tiles": tuple(tiles)}).model_dump_json())


def _write_listing(files: Sequence[tuple[Path, str]], out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    listing = out.absolute() / "uploads.json"
    listing.write_text(json.dumps([{"path": str(path.absolute()), "filename": name} for path, name in files]))
    return listing


async def _run(module: str, arguments: Sequence[str], timeout_s: float) -> bytes:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
    except TimeoutError:
        raise MediaError(f"{module} took longer than {timeout_s:g} s") from None
    finally:
        # the child decodes in children of its own: end the whole group
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode != 0:
        raise MediaError(f"{module} ended with {process.returncode}: {errors.decode(errors='replace').strip()[-500:]}")
    return output
