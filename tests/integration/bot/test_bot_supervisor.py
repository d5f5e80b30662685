"""Real children: started, killed, restarted, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bot import supervisor as module
from bot.supervisor import GivenUpError, ProcessSpec, Supervisor, inherited_env

ROOT = Path(__file__).parents[3]


async def _until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - other processes set no events of ours
            await asyncio.sleep(0.01)


def _child(folder: Path, name: str, body: str = "signal.pause()") -> ProcessSpec:
    """A child that notes its start and its SIGTERM in a file."""
    log = folder / f"{name}.log"
    code = textwrap.dedent(f"""
        import signal, sys, pathlib
        log = pathlib.Path({str(log)!r}).open("a", buffering=1)
        def leave(*_):
            log.write("stopped\\n")
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        log.write("started\\n")
    """)

    async def ready() -> None:
        await _until(lambda: log.exists() and "started" in log.read_text())

    return ProcessSpec(name, (sys.executable, "-c", code + body), inherited_env({}), ready=ready)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_children_stop_in_reverse_order_when_the_block_ends(tmp_path: Path) -> None:
    """Each gets SIGTERM, and nobody is left."""
    async with Supervisor([_child(tmp_path, "a"), _child(tmp_path, "b")]) as supervisor:
        pids = [supervisor.pid(name) for name in ("a", "b")]
    assert all(pid is not None and not _alive(pid) for pid in pids)
    for name in ("a", "b"):
        assert (tmp_path / f"{name}.log").read_text() == "started\nstopped\n"
    assert (tmp_path / "a.log").stat().st_mtime_ns >= (tmp_path / "b.log").stat().st_mtime_ns


async def test_child_comes_back_when_it_crashes_and_stays_down_when_killed_on_purpose(tmp_path: Path) -> None:
    """A crash from outside is healed; `kill` is the sandbox's own accident, ended by `start`."""
    async with Supervisor([_child(tmp_path, "a")]) as supervisor:
        first = supervisor.pid("a")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await _until(lambda: supervisor.starts("a") == 2 and supervisor.pid("a") not in (None, first))
        assert await supervisor.kill("a") == -signal.SIGKILL
        assert supervisor.pid("a") is None
        await supervisor.start("a")
        await supervisor.restart("a")
        assert supervisor.starts("a") == 4


async def test_supervisor_gives_up_when_a_child_says_that_its_settings_are_wrong(tmp_path: Path) -> None:
    """Exit code 78 is final."""
    spec = ProcessSpec("a", (sys.executable, "-c", f"raise SystemExit({os.EX_CONFIG})"), inherited_env({}))
    async with Supervisor([spec]) as supervisor:
        with pytest.raises(GivenUpError) as given_up:
            await supervisor.given_up()
    assert given_up.value.exit_code == os.EX_CONFIG
    assert supervisor.starts("a") == 1


async def test_child_is_killed_when_it_ignores_sigterm(tmp_path: Path) -> None:
    """Stopping takes `stop_timeout_s` at most."""
    stubborn = _child(tmp_path, "a", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nlog.write('ready\\n')\nwhile True: signal.pause()")
    spec = ProcessSpec("a", stubborn.command, stubborn.env, stop_timeout_s=0.3)
    async with Supervisor([spec]) as supervisor:
        await _until(lambda: "ready" in ((tmp_path / "a.log").read_text() if (tmp_path / "a.log").exists() else ""))
        assert await supervisor.stop("a") == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
async def test_children_end_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    """No orphan keeps a port or a GPU."""
    code = textwrap.dedent(f"""
        import asyncio, sys
        from {module.__name__} import ProcessSpec, Supervisor, inherited_env
        async def main():
            spec = ProcessSpec("a", (sys.executable, "-c", "import signal; signal.pause()"), inherited_env({{}}))
            async with Supervisor([spec]) as supervisor:
                print(supervisor.pid("a"), flush=True)
                await supervisor.given_up()
        asyncio.run(main())
    """)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    child = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    await _until(lambda: not _alive(child))
