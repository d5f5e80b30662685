"""Files of a scenario: paths, folders and zips relative to it, and pictures rendered on the spot."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.sandbox.errors import ScenarioError
from bot.sandbox.processes import ROOT
from bot.sandbox.scenario import AnyStep
from bot.sandbox.sources import Downloaded, Files, Generated, Posted, Render, Source
from bot.sandbox.world import Attachment

RENDER_TIMEOUT_S = 180.0
FILES_PER_FORM = 10


class Attachments:
    """Resolves `attach` entries; rendered pictures and copies of posted clips go below `folder`."""

    def __init__(
        self,
        scenario_folder: Path,
        folder: Path,
        posted: Callable[[Posted], Attachment | None],
        downloaded: Callable[[str], Path],
    ) -> None:
        self._scenario_folder = scenario_folder
        self._folder = folder
        self._posted = posted
        self._downloaded = downloaded

    async def render_all(self, steps: Sequence[AnyStep]) -> None:
        """Make every picture of the scenario before it begins, so that nobody waits for them.

        Raises:
            ScenarioError: one could not be made.
        """
        for step in steps:
            attach = getattr(step, "attach", None)
            for files in attach.values() if isinstance(attach, dict) else [attach]:
                for source in files if isinstance(files, list) else [files]:
                    if isinstance(source, Generated):
                        await self._rendered(source.render)
            await self.render_all((*getattr(step, "together", ()), *getattr(step, "meanwhile", ())))

    async def paths(self, files: Files) -> list[Path]:
        """Every file meant, in order; a folder stands for its files by name.

        Raises:
            ScenarioError: one is not there.
        """
        found: list[Path] = []
        for source in files if isinstance(files, list) else [files]:
            found += await self._expanded(source)
        return found

    async def _expanded(self, source: Source) -> list[Path]:
        if isinstance(source, Generated):
            return await self._rendered(source.render)
        if isinstance(source, Posted):
            return [self._saved(source)]
        if isinstance(source, Downloaded):
            return [self._downloaded(source.downloaded)]
        path = (self._scenario_folder / source).resolve()
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
            if not inside:
                raise ScenarioError(f"the folder {source} is empty")
            return inside
        if not path.is_file():
            raise ScenarioError(f"there is no file {source}")
        return [path]

    def _saved(self, source: Posted) -> Path:
        """The newest posted clip as a file of its own."""
        found = self._posted(source)
        if found is None:
            raise ScenarioError("no clip has been posted yet")
        data = bytearray(found.data)
        if source.flipped:
            data[len(data) * 3 // 4] ^= 1  # among the pictures: the index is in front
        path = self._folder / ("flipped" if source.flipped else "posted") / found.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    async def _rendered(self, render: Render) -> list[Path]:
        """Pictures of the procedural world, made by a process so that nothing of the engine is loaded here."""
        name = render.character or render.style or render.motion or ("edges" if render.edges else "world")
        key = hashlib.sha256(render.model_dump_json().encode()).hexdigest()[:8]
        folder = self._folder / f"{name}-{key}"
        if not folder.is_dir():
            arguments = ["--count", str(render.count), "--seed", str(render.seed), "--out", str(folder)]
            for flag, value in (("--character", render.character), ("--style", render.style), ("--motion", render.motion)):
                if value is not None:
                    arguments += [flag, value]
            arguments += ["--edges"] if render.edges else []
            arguments += ["--format", render.media]
            await _run([sys.executable, "-m", "engine.tiny.world", "render", *arguments])
        return sorted(p for p in folder.iterdir() if p.suffix != ".txt")


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        async with asyncio.timeout(RENDER_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise ScenarioError(f"{' '.join(command[1:])} took longer than {RENDER_TIMEOUT_S:g} s") from None
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines()
        raise ScenarioError(f"{' '.join(command[1:])} failed: {lines[-1] if lines else 'no output'}")


def leaf_of(command: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The subcommand that `name` ("loras import") ends at, or the command itself."""
    for part in name.split()[1:]:
        command = next((option for option in command.get("options") or [] if option["name"] == part), command)
    return command


def fill_options(command: Mapping[str, Any], attach: Mapping[str, Sequence[Path]]) -> tuple[dict[str, Path], list[Path]]:
    """Spread files over a command's attachment options: (option -> file, files left for forms).

    A key that is an option takes one file; `images` fills `image1`, `image2`, …; a zip goes to the option called zip.

    Raises:
        ScenarioError: the command has no place for them.
    """
    options = [o["name"] for o in command.get("options") or [] if o["type"] == 11]
    filled: dict[str, Path] = {}
    left: list[Path] = []
    for key, paths in attach.items():
        if key in options and len(paths) == 1:
            filled[key] = paths[0]
            continue
        numbered = [o for o in options if re.fullmatch(rf"{re.escape(key.removesuffix('s'))}_?\d+", o)]
        places = [o for o in (numbered or options) if o not in filled and "zip" not in o]
        if not options:
            raise ScenarioError(f"/{command['name']} takes no files")
        for path in paths:
            if path.suffix.lower() == ".zip" and "zip" in options and "zip" not in filled:
                filled["zip"] = path
            elif places:
                filled[places.pop(0)] = path
            else:
                left.append(path)
    return filled, left
