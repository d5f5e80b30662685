"""Fixtures every test may ask for; each lives with its area in tests/support."""

from __future__ import annotations

pytest_plugins = ["tests.support.engine", "tests.support.object_server", "tests.support.valkey", "tests.support.workers"]
