"""The story of what is learned from clips: a motion, and an effect that follows the edges of a guiding clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.contracts.generation import GenerationMode
from engine.contracts.lora import LoraKind
from engine.sample.credentials import known_signers
from engine.sample.provenance import verify
from tests.support.stories import STORIES, play


@pytest.mark.e2e
@pytest.mark.timeout(2400)
def test_motion_and_effect_are_trained_and_used_from_discord(tmp_path: Path) -> None:
    """Each is a clip of the mode it needs, made by those LoRAs; the effect's own training was shown with a guide."""
    told = play(STORIES / "effects.yaml", tmp_path, timeout_s=2300)
    known = known_signers(told.folder / "run" / "data" / "credentials")
    made = set()
    for path in told.videos():
        parameters = verify(path, known).parameters
        assert parameters is not None
        made.add((GenerationMode(parameters.mode), frozenset(use.kind for use in parameters.adapters)))
    motion, effect = frozenset({LoraKind.MOTION}), frozenset({LoraKind.EFFECT})
    assert made == {(GenerationMode.TEXT, motion), (GenerationMode.CONTROL, effect), (GenerationMode.CONTROL, motion | effect)}
