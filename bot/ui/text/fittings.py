"""What a training gave up because the machine has too little memory."""

from __future__ import annotations

from engine.contracts.fitting import Concession, Fitting

_GIVEN_UP = {
    Concession.SMALLER_PIECES: "in smaller pieces, which takes longer and changes nothing else",
    Concession.RECOMPUTED: "with less kept in memory, which takes longer and changes nothing else",
    Concession.EIGHT_BITS: "on a coarser copy of the video model",
    Concession.ON_THE_HOST: "with the video model loaded piece by piece, which takes much longer",
    Concession.SHORTER: "on shorter clips",
    Concession.SMALLER: "on smaller pictures",
}


def fitting(given_up: Fitting) -> str:
    """One sentence: why, what was given up, and the size that came of it."""
    why = "A step ran out of memory" if given_up.ran_out else "The machine has little memory free"
    words = [_GIVEN_UP[concession] for concession in given_up.concessions]
    if Concession.SHORTER in given_up.concessions or Concession.SMALLER in given_up.concessions:
        words.append(f"at {given_up.width}x{given_up.height} with {given_up.frames} frames at most")
    return f"{why}, so this trains {', '.join(words)}."
