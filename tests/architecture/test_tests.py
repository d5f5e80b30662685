"""Tests are read as the list of promises the code keeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]


def _nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def test_every_test_states_its_contract_in_a_docstring() -> None:
    """One line that says what is promised, so that a failure explains itself."""
    silent = [
        f"{path.name}::{node.name}"
        for path, node in _nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_test_sleeps() -> None:
    """A test waits on an event with a deadline; a sleep is slow on a good day and flaky on a bad one."""
    calls = ((path, node) for path, node in _nodes() if isinstance(node, ast.Call))
    assert [f"{path.name}:{node.lineno}" for path, node in calls if ast.unparse(node.func) == "time.sleep"] == []
