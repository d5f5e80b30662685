"""The story on the README: a community trains, stacks, cancels and runs into its quota."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from safetensors import safe_open

from engine.contracts.lora import LoraKind, LoraManifest
from tests.support.stories import ROOT, play


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_tour_leaves_loras_videos_and_a_page_when_played(tmp_path: Path) -> None:
    """`make demo`: a character and a style of at least 20 pictures each, a clip with both, a cancelled job, a spent quota."""
    told = play(ROOT / "bot" / "sandbox" / "scenarios" / "tour.yaml", tmp_path)

    manifests = []
    for path in sorted((told.folder / "loras").glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            manifests.append(LoraManifest.from_metadata(file.metadata()))
    trained = {manifest.kind: manifest.items for manifest in manifests if manifest is not None}
    assert trained.keys() >= {LoraKind.CHARACTER, LoraKind.STYLE}
    assert min(trained.values()) >= 20

    assert len(told.videos()) >= 3
    for video in told.videos():
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.pix_fmt == "yuv420p"
            assert sum(1 for _ in container.decode(stream)) >= 9
            assert min(stream.width, stream.height) >= 256

    statuses = {job["status"] for job in told.jobs}
    assert {"succeeded", "cancelled"} <= statuses
    stacked = [job for job in told.jobs if len(job["request"].get("adapters", ())) == 2 and job["status"] == "succeeded"]
    assert stacked
    page = (told.folder / "transcript.html").read_text()
    assert "<video" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
