"""`python -m engine verify`: who signed a picture or clip, whether it changed since, and what made it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.contracts.provenance import Finding
from engine.errors import InvalidMediaError
from engine.sample.credentials import DEFAULT_FOLDER, known_signers
from engine.sample.provenance import verify


def add_verify_options(command: argparse.ArgumentParser) -> None:
    """The options of the command."""
    command.add_argument("file", type=Path)
    command.add_argument("--credentials", type=Path, default=DEFAULT_FOLDER, help="folder with the certificates whose signatures are ours")


def verify_file(options: argparse.Namespace, console: Console) -> dict[str, Any]:  # noqa: ARG001  # every command is called alike
    """The finding and, when the signature is ours, everything that made the file.

    Raises:
        InvalidMediaError: It is neither a picture nor a clip.
        InvalidConfigError: The folder holds no readable certificates.
    """
    report = verify(options.file, known_signers(options.credentials))
    if report.finding is Finding.UNREADABLE:
        raise InvalidMediaError(f"{options.file} is neither a picture nor a clip.")
    made = report.parameters.model_dump(mode="json", exclude_none=True) if report.parameters else {}
    return {"finding": report.finding.value, "sha256": report.sha256, "signer": report.signer, "generator": report.generator, **made}
