"""The house has the rooms the plan shows, and nobody walks through walls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TORCH_FREE = {
    "bot": "bot",
    "contracts": "engine.contracts",
    "ingest": "engine.data.ingest",
    "store": "engine.store",
    "video": "engine.sample.video",
    "worker parent": "worker.__main__",
}

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in ("torch", "diffusers", "peft", "transformers"):
    sys.modules[name] = None
package = importlib.import_module(sys.argv[1])
names = [sys.argv[1]]
names += [m.name for m in pkgutil.walk_packages(getattr(package, "__path__", []), sys.argv[1] + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize("name", TORCH_FREE.values(), ids=TORCH_FREE.keys())
def test_module_imports_without_torch(name: str) -> None:
    """Bot, contracts, store, media tools and the worker's parent run on a machine that has no torch."""
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, name], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


def test_import_contracts_hold() -> None:
    """The arrows of design.md section 3, as import-linter states them in pyproject.toml."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_top_level_holds_only_what_the_design_names() -> None:
    """A newcomer sees the architecture from the folders."""
    allowed = {
        *("bot", "engine", "worker", "tests"),
        *("pyproject.toml", "Dockerfile", "README.md", "Makefile", "compose.yaml", "LICENSE", "constraints.txt"),
    }
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    present = {line.split("/")[0] for line in tracked if line and not line.startswith(".")}
    assert present <= allowed


def test_engine_names_its_base_only_in_registry_and_loader() -> None:
    """Nothing in the engine asks which base it has; only the loader names LTX classes."""
    offenders = []
    for path in (ROOT / "engine").rglob("*.py"):
        relative = path.relative_to(ROOT / "engine").as_posix()
        if relative.startswith(("tiny/", "evaluate/", "contracts/")) or relative in {"model/bases.py", "model/loader.py"}:
            continue
        text = path.read_text()
        offenders += [f"{relative}: {word}" for word in ('== "tiny"', '== "ltx-2.3"', "AutoencoderKLLTX2", "Gemma3For") if word in text]
    assert offenders == []
