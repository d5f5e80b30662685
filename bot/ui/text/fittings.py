"""What a training gave up because the machine has too little memory."""

from __future__ import annotations

from bot.ui.language import Words, _
from engine.contracts.fitting import Concession, Fitting

_GIVEN_UP = Words(
    {
        Concession.SMALLER_PIECES: "in smaller pieces, which takes longer and changes nothing else",
        Concession.RECOMPUTED: "with less kept in memory, which takes longer and changes nothing else",
        Concession.EIGHT_BITS: "on a coarser copy of the video model",
        Concession.ON_THE_HOST: "with the video model loaded piece by piece, which takes much longer",
        Concession.SHORTER: "on shorter clips",
        Concession.SMALLER: "on smaller pictures",
    }
)


def fitting(given_up: Fitting) -> str:
    """One sentence: why, what was given up, and the size that came of it."""
    why = _("A step ran out of memory") if given_up.ran_out else _("The machine has little memory free")
    words = [_GIVEN_UP[concession] for concession in given_up.concessions]
    if Concession.SHORTER in given_up.concessions or Concession.SMALLER in given_up.concessions:
        words.append(
            _("at {width}x{height} with {frames} frames at most", width=given_up.width, height=given_up.height, frames=given_up.frames)
        )
    return _("{why}, so this trains {how}.", why=why, how=", ".join(words))
