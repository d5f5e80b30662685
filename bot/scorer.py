"""The classifier's child process as the bot uses it: started when first asked, one question at a time, killed when it hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.media import PASSED_ON

logger = logging.getLogger(__name__)

TRIES = 2
"""A child that ended while it was idle is only noticed by the next question."""


class ScorerError(Exception):
    """No answer; the message is for operators."""


class Scorer:
    """Scores files for adult content, 0 to 1 each. `close` ends the child."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def score(self, paths: Sequence[Path]) -> list[float]:
        """One number per file.

        Raises:
            ScorerError: a file cannot be decoded, or the child does not answer.
        """
        if not paths:
            return []
        question = json.dumps({"paths": [str(path.absolute()) for path in paths]}).encode() + b"\n"
        async with self._turn:
            for last in range(1, TRIES + 1):
                try:
                    async with asyncio.timeout(self._timeout_s):
                        return _scores(await self._ask(question), len(paths))
                except (TimeoutError, OSError, EOFError) as error:
                    await self._kill()
                    if last == TRIES or isinstance(error, TimeoutError):
                        raise ScorerError(f"the classifier does not answer: {error!r}") from error
                except asyncio.CancelledError:
                    await asyncio.shield(self._kill())  # its answer would be taken for that to the next question
                    raise
        raise AssertionError("unreachable")

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
                *(sys.executable, "-m", "bot.nsfw"),
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
        raise ScorerError(f"the classifier cannot score this: {answer.get('error', 'nonsense')}")
    return [float(score) for score in scores]
