"""The transcript as one self-contained page that looks like the channel as a person would see it."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from bot.sandbox.markdown import Names, to_html
from bot.sandbox.player import Played
from bot.sandbox.server import LoopbackDiscord

Json = dict[str, Any]

EMBED_BYTES = 4 * 1024 * 1024
"""Files up to this size are part of the page itself, larger ones are linked by their path beside it."""

_AVATARS = ("#5865f2", "#3ba55d", "#faa61a", "#ed4245", "#eb459e", "#9b59b6", "#1abc9c", "#e67e22")
_BUTTONS = {1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link", 6: "premium"}
_SHOWN_UPLOADS = 12
_SHOWN_VERSIONS = 15  # newest edits of a message; transcript.json has all


class _View:
    """Turns the transcript's data into what the template shows."""

    def __init__(self, discord: LoopbackDiscord, data: Json, folder: Path) -> None:
        world = discord.world
        self._folder = folder
        self._names = Names(
            {u.id: u.name for u in world.users.values()},
            {c.id: c.name for c in world.channels.values()},
            discord.clock.now(),
            {role.id: role.name for guild in world.guilds.values() for role in guild.roles.values()},
        )
        self._skus = {str(sku.id): sku.name for sku in world.skus.values()}
        files = [f for m in data["messages"] for part in (m, *m["edits"]) for f in part["attachments"]]
        self._files = {f["url"]: f for f in files}
        self._messages = {m["id"]: m for m in data["messages"]}
        self._cache: dict[str, str] = {}

    def markdown(self, text: str, read_at: str) -> Markup:
        """Discord's markdown as HTML, as it read at the moment `read_at` (ISO 8601)."""
        now = datetime.fromisoformat(read_at).timestamp()
        return Markup(to_html(text, replace(self._names, now=now)))  # noqa: S704  to_html escapes everything

    def source(self, path: str) -> str:
        """A URL that works in the page alone: the content itself, or the path beside it."""
        if path not in self._cache:
            file = self._folder / path
            kind = {"mp4": "video/mp4", "webm": "video/webm", "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
            media_type = kind.get(file.suffix.lower().removeprefix("."))
            if media_type is None or file.stat().st_size > EMBED_BYTES:
                self._cache[path] = path
            else:
                self._cache[path] = f"data:{media_type};base64,{base64.b64encode(file.read_bytes()).decode()}"
        return self._cache[path]

    def media(self, media: Json, description: str | None = None) -> Json:
        """A picture or clip of a gallery: its source, what it is and how large it is drawn."""
        file = self._files.get(media["url"])
        if file is None:
            return {"src": None, "url": media["url"], "alt": description or media["url"]}
        width, height = file["width"] or 0, file["height"] or 0
        shown = (min(width, 480), min(height, 350)) if width else (480, 270)
        return {
            "src": self.source(file["path"]),
            "video": file["content_type"].startswith("video/"),
            "image": file["content_type"].startswith("image/"),
            "pixelated": 0 < width <= 512,
            "width": shown[0],
            "alt": description or file["filename"],
            "file": file,
        }

    def clock(self, iso: str) -> str:
        """Hours, minutes and seconds of a moment."""
        return datetime.fromisoformat(iso).strftime("%H:%M:%S")

    def accent(self, part: Json) -> str:
        """A container's accent as a CSS colour."""
        colour = part.get("accent_color")
        return "transparent" if colour is None else f"#{colour:06x}"

    def avatar(self, name: str) -> str:
        """A stable colour for a person."""
        return _AVATARS[hashlib.sha256(name.encode()).digest()[0] % len(_AVATARS)]

    def button(self, part: Json) -> str:
        """CSS class of a button."""
        return _BUTTONS.get(part.get("style", 2), "secondary")

    def sold(self, part: Json) -> str:
        """What a premium button sells: Discord itself writes name and price on it."""
        return self._skus.get(str(part.get("sku_id")), "Upgrade")

    def size(self, size: int) -> str:
        """A file size for people."""
        return f"{size / 1024:.1f} kB" if size < 1024 * 1024 else f"{size / 1024 / 1024:.2f} MB"

    def pressed(self, interaction: Json) -> str:
        """Label of the pressed button."""
        message = self._messages.get(interaction["on_message"] or "")
        versions = [] if message is None else [message, *reversed(message["edits"])]
        for version in versions:
            for part in _parts(version["components"]):
                if part.get("custom_id") == interaction["name"]:
                    emoji = (part.get("emoji") or {}).get("name") or ""
                    return f"{emoji} {part.get('label') or ''}".strip() or interaction["name"]
        return str(interaction["name"])


def _parts(components: list[Json]) -> list[Json]:
    found = []
    for part in components:
        found += [part, *_parts(part.get("components") or []), *_parts([part["accessory"]] if part.get("accessory") else [])]
    return found


_ORDER = {"note": 0, "act": 1, "message": 2}


def _timeline(data: Json, played: list[Played], clock: Any) -> list[Json]:
    """Per channel, everything in order of time: what people did, what was said, and the scenario's notes."""
    channels: dict[str, list[Json]] = {}
    asked_at = {i["replies"][0]: i["at"] for i in data["interactions"] if i["replies"]}
    for interaction in data["interactions"]:
        channels.setdefault(interaction["channel"], []).append({"kind": "act", "at": interaction["at"], "act": interaction})
    for message in data["messages"]:
        # an answer stands right below its question, although other messages may have come in the milliseconds between
        at = asked_at.get(message["id"], message["at"])
        entry = {"kind": "message", "at": at, "message": message}
        channels.setdefault(message["channel"], []).append(entry)
    notes = [{"kind": "note", "at": clock.iso(p.at), "text": p.note} for p in played if p.note]
    listed = []
    for number, (name, entries) in enumerate(sorted(channels.items(), key=lambda item: (item[0].startswith("@"), -len(item[1])))):
        shown = entries + (notes if number == 0 else [])
        shown.sort(key=lambda e: (e["at"], _ORDER[e["kind"]]))
        listed.append({"name": name, "entries": shown, "count": sum(1 for e in entries if e["kind"] == "message")})
    return listed


def render_page(discord: LoopbackDiscord, data: Json, folder: Path, played: list[Played], *, title: str) -> str:
    """The whole page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    view = _View(discord, data, folder)
    acks = sorted(i["ack_ms"] for i in data["interactions"] if i["ack_ms"] is not None)
    return environment.get_template("transcript.html").render(
        title=title,
        guild=discord.guild.name,
        channels=_timeline(data, played, discord.clock),
        view=view,
        violations=data["violations"],
        failures=[html.unescape(f"{p.title}: {p.failure}") for p in played if p.failure is not None],
        jobs=data["jobs"],
        bot=discord.world.bot.name,
        slowest_ack=acks[-1] if acks else None,
        shown_uploads=_SHOWN_UPLOADS,
        shown_versions=_SHOWN_VERSIONS,
    )
