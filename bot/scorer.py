"""The classifier's child process as the bot uses it: started when first asked, one question at a time, killed when it hangs.

A file that can't be judged is told from a classifier that can't judge: after a question without an answer the child is asked about a
plain picture of ours. If it answers that one, the file is at fault, and asking again would only break the next child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from bot.media import PASSED_ON

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "bot.nsfw")
TRIES = 2
"""A child that ended while it was idle is only noticed by the next question."""


class ScorerError(Exception):
    """No answer; the message is for operators."""


class UnjudgeableError(ScorerError):
    """These files are at fault: they can't be decoded, or break or stall the classifier; asking again changes nothing."""


class Scorer:
    """Scores files for adult content, 0 to 1 each. `close` ends the child."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def score(self, paths: Sequence[Path]) -> list[float]:
        """One number per file.

        Raises:
            UnjudgeableError: a file cannot be decoded, or no child survives it.
            ScorerError: the child does not answer, whatever it is asked.
        """
        if not paths:
            return []
        async with self._turn:
            try:
                return await self._answer(paths)
            except (OSError, EOFError) as error:
                if await self._works():
                    raise UnjudgeableError(f"the classifier does not get over this: {error!r}") from error
                raise ScorerError(f"the classifier does not answer: {error!r}") from error

    async def _answer(self, paths: Sequence[Path]) -> list[float]:
        """Ask, and ask once more when the child has ended; a child that did not answer is killed."""
        question = json.dumps({"paths": [str(path.absolute()) for path in paths]}).encode() + b"\n"
        for last in range(1, TRIES + 1):
            try:
                async with asyncio.timeout(self._timeout_s):
                    return _scores(await self._ask(question), len(paths))
            except (OSError, EOFError) as error:  # a TimeoutError is an OSError
                await self._kill()
                if last == TRIES or isinstance(error, TimeoutError):
                    raise
            except asyncio.CancelledError:
                await asyncio.shield(self._kill())  # its answer would be taken for that to the next question
                raise
        raise AssertionError("unreachable")

    async def _works(self) -> bool:
        """True when it answers for a picture that nothing is wrong with."""
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "plain.png"
            await asyncio.to_thread(Image.new("RGB", (64, 64), (90, 120, 150)).save, picture)
            try:
                return len(await self._answer([picture])) == 1
            except (ScorerError, OSError, EOFError) as error:
                logger.warning("the classifier does not answer for a plain picture either: %r", error)
                return False

    async def close(self) -> None:
        """End the child."""
        async with self._turn:
            await self._kill()

    async def _ask(self, question: bytes) -> dict[str, Any]:
        child = await self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(question)
        await child.stdin.drain()
        line = await child.stdout.readline()
        if not line:
            raise EOFError("it ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._child = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                start_new_session=True,
            )
        return self._child

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _scores(answer: dict[str, Any], expected: int) -> list[float]:
    scores = answer.get("scores")
    if not isinstance(scores, list) or len(scores) != expected:
        raise UnjudgeableError(f"the classifier cannot score this: {answer.get('error', 'nonsense')}")
    return [float(score) for score in scores]
