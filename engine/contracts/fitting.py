"""What a training gave up to fit into a device's memory, as people are told."""

from __future__ import annotations

from enum import StrEnum

from engine.contracts.model import Contract


class Concession(StrEnum):
    """One thing given up; the first two cost time alone."""

    SMALLER_PIECES = "smaller_pieces"  # a batch goes through in pieces, whose gradients add up
    RECOMPUTED = "recomputed"  # activations are computed twice instead of kept
    EIGHT_BITS = "eight_bits"  # the frozen base lies in 8 bits
    ON_THE_HOST = "on_the_host"  # blocks of the base come in turn
    SHORTER = "shorter"
    SMALLER = "smaller"


class Fitting(Contract):
    """How a training fits; `concessions` in the order they were made, never empty."""

    concessions: tuple[Concession, ...]
    width: int  # pixels
    height: int
    frames: int
    ran_out: bool = False  # a step had run out of memory; else it was planned before the first
