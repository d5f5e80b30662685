"""`python -m bot.sandbox run SCENARIO.yaml --out DIR`: exit 0 when every step was met without a violation, else 1; 2 for a bad scenario."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bot.one_machine import NoEmbeddedServerError
from bot.sandbox.errors import SandboxError, ScenarioError
from bot.sandbox.run import run_scenario
from bot.sandbox.scenario import Scenario, load_scenario

SCENARIOS = Path(__file__).parent / "scenarios"
MARKER = ".callsheet-sandbox"


def main(arguments: list[str] | None = None) -> int:
    """Parse, play, report."""
    parser = argparse.ArgumentParser(prog="python -m bot.sandbox", description="Play scripted people against the real bot and worker.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="play a scenario")
    run.add_argument("scenario", type=Path, help="a YAML file, or the name of a built-in one: tour")
    run.add_argument("--out", type=Path, required=True, help="folder for transcript, files and logs; replaced when a run made it")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    built_in = SCENARIOS / f"{options.scenario}.yaml"
    path = built_in if not options.scenario.exists() and built_in.is_file() else options.scenario
    try:
        scenario = load_scenario(path)
        _empty(options.out)
    except ScenarioError as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 2
    try:
        options.out = options.out.resolve()
        failures = asyncio.run(_interruptible(scenario, options.out, console))
    except (SandboxError, NoEmbeddedServerError, TimeoutError) as error:
        failures = [str(error)]
    except (KeyboardInterrupt, asyncio.CancelledError):
        failures = ["interrupted"]
    for failure in failures:
        console.print(f"[red]✗ {escape(failure)}[/]")
    return 1 if failures else 0


async def _interruptible(scenario: Scenario, folder: Path, console: Console) -> list[str]:
    """Run until done or SIGTERM, which ends it as Ctrl-C does: processes are stopped, the transcript is written."""
    task = asyncio.create_task(run_scenario(scenario, folder, console))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _empty(folder: Path) -> None:
    """Make room for a run; only a folder that an earlier run made is emptied.

    Raises:
        ScenarioError: it holds something else.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise ScenarioError(f"{folder} is not empty and no earlier run made it; choose another folder for --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    (folder / MARKER).write_text("A run of python -m bot.sandbox; the next one to this folder replaces it.\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
