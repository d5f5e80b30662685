"""People who follow the links the bot gave them, as a browser would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bot.sandbox.errors import ScenarioError
from bot.sandbox.world import Message, walk_components

PART_BYTES = 16
TIMEOUT_S = 30.0
_ADDRESS = re.compile(r"https?://[^\s)>\]]+")


@dataclass(frozen=True)
class Answer:
    """What the bot's web server answered. `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Links:
    """The newest link each person was given; what they download is kept below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._links: dict[str, str] = {}
        self._downloads: dict[str, Path] = {}

    def note(self, person: str, message: Message) -> None:
        """Remember the link of an answer: that of its button, else one in its text."""
        buttons = [str(part["url"]) for part in walk_components(message.components) if part["type"] == 2 and part.get("url")]
        for address in [*_ADDRESS.findall(message.text)[:1], *buttons[:1]]:
            self._links[person] = address

    def of(self, person: str) -> str:
        """That link.

        Raises:
            ScenarioError: nobody gave them one.
        """
        if person not in self._links:
            raise ScenarioError(f"{person} was given no link")
        return self._links[person]

    def downloaded(self, person: str) -> Path:
        """The file behind their link, as they saved it.

        Raises:
            ScenarioError: they have not downloaded anything.
        """
        if person not in self._downloads:
            raise ScenarioError(f"{person} has not downloaded anything")
        return self._downloads[person]

    async def visit(self, person: str, *, below: str = "", part: bool = False) -> Answer:
        """Open the link, or an address `below` it; with `part` only the first bytes are asked for.

        Raises:
            ScenarioError: there is no link, or nobody answers there.
        """
        address = self.of(person) + below
        headers = {"Range": f"bytes=0-{PART_BYTES - 1}"} if part else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.get(address, headers=headers) as response,
            ):
                answer = Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ScenarioError(f"nobody answers at {address}: {error}") from None
        if answer.status == 200 and "attachment" in answer.headers.get("content-disposition", ""):
            self._downloads[person] = self._folder / person / address.rsplit("/", 1)[1]
            self._downloads[person].parent.mkdir(parents=True, exist_ok=True)
            self._downloads[person].write_bytes(answer.body)
        return answer
