"""Markdown, transcript data and page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bot.sandbox.markdown import Names, to_html
from bot.sandbox.messages import Body, Upload
from bot.sandbox.player import Played
from bot.sandbox.records import Records
from bot.sandbox.server import LoopbackDiscord
from bot.sandbox.transcript import Transcript
from tests.support.sandbox import picture

NAMES = Names({7: "maker"}, {8: "general"}, now=1000.0)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and `code`", "<p><strong>bold</strong> and <code>code</code></p>"),
        ("### Title\n-# small", "<h3>Title</h3><small>small</small>"),
        ("<@7> in <#8>", '<p><span class="mention">@maker</span> in <span class="mention">#general</span></p>'),
        ("<t:1120:R>", '<p><span class="time">in 2 minutes</span></p>'),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        (r"\*not bold\* <script>", "<p>*not bold* &lt;script&gt;</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("```py\n<b>\n```", "<pre>&lt;b&gt;</pre>"),
        ("> quoted", "<blockquote>quoted</blockquote>"),
        ("two_words_here", "<p>two_words_here</p>"),
    ],
)
def test_markdown_becomes_safe_html(text: str, html: str):
    """Discord's formatting is shown, everything else is text."""
    assert to_html(text, NAMES) == html


def posted(discord: LoopbackDiscord, tmp_path: Path) -> None:
    """A picture in a card, and a private note."""
    messages, world = discord._messages, discord.world
    channel = discord.channel("general")
    card = {
        "flags": 1 << 15,
        "components": [
            {
                "type": 17,
                "accent_color": 0x2ECC71,
                "components": [{"type": 10, "content": "done"}, {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]}],
            }
        ],
    }
    upload = Upload(0, "a.png", picture(tmp_path / "a.png").read_bytes())
    message = messages.create(channel, world.bot, Body(card, [upload]), limit=10**6)
    messages.edit(message, Body({"components": [{"type": 10, "content": "<b>edited</b>"}]}), limit=10**6)
    maker = discord.user("maker")
    messages.create(channel, world.bot, Body({"content": "psst"}), limit=10**6, only_for=maker.account.id)


def test_transcript_holds_messages_with_edits_and_files(tmp_path: Path):
    """transcript.json has exactly the four lists; files lie at their paths with size and hash."""
    discord = LoopbackDiscord()
    posted(discord, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    data = Transcript(discord, Records(tmp_path / "none.sqlite3"), out).write([], title="t", store=tmp_path)
    assert json.loads((out / "transcript.json").read_text()) == data
    assert sorted(data) == ["interactions", "jobs", "messages", "violations"]
    card, note = data["messages"]
    file = card["attachments"][0]
    assert (out / file["path"]).stat().st_size == file["size"]
    assert card["edits"][0]["components"][0]["accent_color"] == 0x2ECC71
    assert note["only_for"] == "maker"


def test_page_is_self_contained_and_escapes_what_people_wrote(tmp_path: Path):
    """No script, no address outside the page, ephemeral notes marked, steps that failed on top."""
    discord = LoopbackDiscord()
    posted(discord, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    played = [Played("maker /<x>", "First <act>", discord.clock.now(), 0.1, "", "it <failed>")]
    Transcript(discord, Records(tmp_path / "none.sqlite3"), out).write(played, title="t", store=tmp_path)
    page = (out / "transcript.html").read_text()
    assert "Only maker can see this" in page
    assert "&lt;b&gt;edited&lt;/b&gt;" in page
    assert "it &lt;failed&gt;" in page
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:|#|files/)[^"]*"', page) == []
