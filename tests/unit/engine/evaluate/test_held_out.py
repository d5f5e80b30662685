"""Questions to checkpoints: what of a difference between two answers may be chance."""

from __future__ import annotations

import pytest

from engine.evaluate.held_out import noise_between


def test_noise_is_that_of_the_differences() -> None:
    """Hard questions and easy ones differ a lot; what counts is how evenly all of them change."""
    assert noise_between([1.1, 0.3, 2.2], [1.0, 0.2, 2.1]) == pytest.approx(0.0, abs=1e-9)
    assert noise_between([1.0, 0.2], [1.2, 0.2]) == pytest.approx(0.1)
    assert noise_between([1.0], [0.5]) == 0.0
