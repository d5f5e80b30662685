"""Tests of what is refused before a single byte is asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot.commands.train import submitted_files
from bot.commands.uploads import Downloader, Upload
from bot.errors import Refusal, RefusalCode


class NoSession:
    """A session nobody may use."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """Fail the test."""
        raise AssertionError("a request was sent")


def left_in(folder: Path) -> list[Path]:
    """What lies there."""
    return list(folder.iterdir())


def downloader(folder: Path, max_bytes: int = 1000) -> Downloader:
    """Without a network."""
    return Downloader(cast("Any", NoSession()), folder, max_bytes)


@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.discordapp.com/attachments/1/2/a.png",
        "https://cdn.discordapp.com.evil.example/attachments/1/2/a.png",
        "https://evil.example/cdn.discordapp.com/a.png",
        "https://cdn.discordapp.com:8443/attachments/1/2/a.png",
        "https://cdn.discordapp.com@evil.example/a.png",
        "https://user@cdn.discordapp.com/a.png",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "//cdn.discordapp.com/a.png",
        "",
    ],
)
async def test_download_is_refused_when_the_address_is_not_discords(tmp_path: Path, url: str) -> None:
    """Only Discord's own file servers are ever asked."""
    with pytest.raises(Refusal) as caught:
        async with downloader(tmp_path).fetched([Upload("a.png", url, 10)]):
            pytest.fail("the block ran")
    assert caught.value.code is RefusalCode.ATTACHMENT_UNAVAILABLE
    assert left_in(tmp_path) == []


async def test_download_is_refused_when_the_announced_size_is_too_large(tmp_path: Path) -> None:
    """Nothing is fetched that would be refused anyway."""
    with pytest.raises(Refusal) as caught:
        async with downloader(tmp_path).fetched([Upload("a.png", "https://cdn.discordapp.com/attachments/1/2/a.png", 1001)]):
            pytest.fail("the block ran")
    assert caught.value.code is RefusalCode.FILE_TOO_LARGE
    assert caught.value.facts == {"filename": "a.png", "size": 1001, "limit": 1000}


async def test_download_of_nothing_gives_nothing(tmp_path: Path) -> None:
    """A command without attachments is the service's to refuse."""
    async with downloader(tmp_path).fetched([]) as files:
        assert files == []
    assert left_in(tmp_path) == []


def test_submitted_files_keep_the_order_of_the_upload_field() -> None:
    """Resolved attachments are a mapping; the field's values give the order, and ids nobody resolved are ignored."""

    submit = SimpleNamespace(
        data={
            "components": [{"type": 18, "component": {"type": 19, "custom_id": "files", "values": ["3", "1", "404"]}}, {"type": 10}],
            "resolved": {
                "attachments": {
                    "1": {"id": "1", "filename": "one.png", "url": "https://cdn.discordapp.com/1", "size": 1},
                    "3": {"id": "3", "filename": "three.png", "url": "https://cdn.discordapp.com/3", "size": 3},
                }
            },
        }
    )
    assert [upload.filename for upload in submitted_files(cast("Any", submit))] == ["three.png", "one.png"]
