"""What a run leaves behind: `transcript.json`, every file posted, the trained LoRAs, and the page people look at."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from bot.sandbox.interactions import Ack, Interaction, Kind
from bot.sandbox.page import render_page
from bot.sandbox.player import Played
from bot.sandbox.records import Records, Row
from bot.sandbox.server import LoopbackDiscord
from bot.sandbox.world import Attachment, Message, Version

Json = dict[str, Any]


class Transcript:
    """Everything that was said and done on one loopback Discord, written below `folder`."""

    def __init__(self, discord: LoopbackDiscord, records: Records, folder: Path) -> None:
        self._discord = discord
        self._records = records
        self._folder = folder
        self._paths: dict[int, str] = {}

    def write(self, played: list[Played], *, title: str, store: Path) -> Json:
        """Write all files and return the content of `transcript.json`."""
        data = self.data()
        text = json.dumps(data, indent=1, ensure_ascii=False)
        (self._folder / "transcript.json").write_text(text + "\n", encoding="utf-8")
        page = render_page(self._discord, data, self._folder, played, title=title)
        (self._folder / "transcript.html").write_text(page, encoding="utf-8")
        self._copy_loras(store)
        return data

    def data(self) -> Json:
        """The four lists of the format; every attachment is written to `files/` on the way."""
        return {
            "messages": [self._message(m) for m in sorted(self._discord.world.messages.values(), key=lambda m: m.id)],
            "interactions": [self._interaction(i) for i in self._discord.interactions],
            "jobs": [self._job(row) for row in self._records.jobs()],
            "violations": [{"at": self._discord.clock.iso(v.at), "where": v.where, "problem": v.problem} for v in self._discord.violations],
        }

    def _name(self, user_id: int | None) -> str | None:
        user = self._discord.world.users.get(user_id) if user_id is not None else None
        return None if user is None else user.name

    def _channel(self, channel_id: int) -> str:
        channel = self._discord.world.channels.get(channel_id)
        if channel is None:
            return str(channel_id)
        return f"@{channel.recipient.name}" if channel.recipient is not None else channel.name

    def _file(self, attachment: Attachment) -> Json:
        """Facts of an attachment, its content saved once."""
        if attachment.id not in self._paths:
            folder = self._folder / ("uploads" if attachment.ephemeral else "files")
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{len(self._paths) + 1:03d}-{attachment.filename}"
            path.write_bytes(attachment.data)
            self._paths[attachment.id] = path.relative_to(self._folder).as_posix()
        return {
            "id": str(attachment.id),
            "filename": attachment.filename,
            "path": self._paths[attachment.id],
            "size": attachment.size,
            "sha256": attachment.sha256,
            "content_type": attachment.content_type,
            "width": attachment.width,
            "height": attachment.height,
            "url": attachment.url,
        }

    def _message(self, message: Message) -> Json:
        iso = self._discord.clock.iso
        return {
            "id": str(message.id),
            "channel": self._channel(message.channel_id),
            "author": {"id": str(message.author.id), "name": message.author.name, "bot": message.author.bot},
            "at": iso(message.created_at),
            "edited_at": None if message.edited_at is None else iso(message.edited_at),
            "deleted_at": None if message.deleted_at is None else iso(message.deleted_at),
            "only_for": self._name(message.only_for),
            "interaction_id": None if message.interaction_id is None else str(message.interaction_id),
            "reply_to": None if message.reference_id is None else str(message.reference_id),
            "nonce": message.nonce,
            "flags": int(message.flags),
            "loading": message.loading,
            "pinged": [self._name(i) for i in message.pinged],
            "content": message.content,
            "text": message.text,
            "components": message.components,
            "embeds": message.embeds,
            "attachments": [self._file(a) for a in message.attachments],
            "edits": [self._version(v) for v in message.history],
        }

    def _version(self, version: Version) -> Json:
        return {
            "until": self._discord.clock.iso(version.until),
            "loading": version.loading,
            "content": version.content,
            "components": version.components,
            "embeds": version.embeds,
            "attachments": [self._file(a) for a in version.attachments],
        }

    def _interaction(self, interaction: Interaction) -> Json:
        return {
            "id": str(interaction.id),
            "type": Kind(interaction.kind).name.lower(),
            "user": interaction.user.name,
            "channel": self._channel(interaction.channel_id),
            "name": interaction.name,
            "on_message": None if interaction.source is None else str(interaction.source.id),
            "options": self._options(interaction.data),
            "files": [self._file(a) for a in self._uploads(interaction)],
            "at": self._discord.clock.iso(interaction.created_at),
            "ack": None if interaction.ack is None else Ack(interaction.ack).name.lower(),
            "ack_ms": None if interaction.ack_ms is None else round(interaction.ack_ms, 2),
            "failed": interaction.failed,
            "late_acks": interaction.late_acks,
            "refused_by_client": interaction.refused_by_client,
            "modal": None if interaction.modal is None else interaction.modal["title"],
            "choices": None if interaction.choices is None else [c["value"] for c in interaction.choices],
            "replies": [str(m.id) for m in interaction.replies],
        }

    def _uploads(self, interaction: Interaction) -> list[Attachment]:
        resolved = interaction.data.get("resolved", {}).get("attachments", {})
        files = self._discord.world.files
        found = (files.get(urlparse(item["url"]).path) or files.get(unquote(urlparse(item["url"]).path)) for item in resolved.values())
        return [a for a in found if a is not None]

    def _options(self, data: Json) -> Json:
        given = data.get("options") or []
        if isinstance(given, dict):  # refused by the client
            return given
        while given and given[0].get("type") in (1, 2):
            given = given[0].get("options") or []
        return {o["name"]: self._named(o) for o in given if o["type"] != 11}

    def _named(self, option: Json) -> Any:
        """The value of an option as its writer saw it: people, channels and roles by name."""
        world = self._discord.world
        match option["type"]:
            case 6:
                return f"@{world.users[int(option['value'])].name}"
            case 7:
                return f"#{world.channels[int(option['value'])].name}"
            case 8:
                return next(f"@{g.roles[int(option['value'])].name}" for g in world.guilds.values() if int(option["value"]) in g.roles)
        return option["value"]

    def _job(self, row: Row) -> Json:
        iso = self._discord.clock.iso
        moments = ("created_at", "dispatched_at", "started_at", "finished_at")
        times = {key: None if row.get(key) is None else iso(row[key]) for key in moments}
        ids = {key: None if row[key] is None else str(row[key]) for key in row if key.endswith("_id")}
        return {**row, **times, **ids, "owner": self._name(row.get("owner_id"))}

    def _copy_loras(self, store: Path) -> None:
        for row in self._records.loras():
            source = store / row["file"]["key"]
            if source.is_file():
                target = self._folder / "loras" / f"{row['name']}.safetensors"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
