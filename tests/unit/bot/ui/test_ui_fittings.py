"""What a person reads when a training gave something up for memory."""

from __future__ import annotations

from bot.ui import job_cards, result_cards
from bot.ui.result_cards import Shown
from bot.ui.text import fittings
from engine.contracts.events import Phase, Progress
from engine.contracts.fitting import Concession, Fitting
from engine.contracts.status import JobStatus
from tests.support import discord_values as values

PIECES = Fitting(concessions=(Concession.SMALLER_PIECES,), width=512, height=512, frames=49, ran_out=True)
SHORTER = Fitting(concessions=(Concession.EIGHT_BITS, Concession.SHORTER), width=512, height=512, frames=25)


def test_every_concession_has_its_words() -> None:
    """A concession without words would be told as nothing."""
    assert set(fittings._GIVEN_UP) == set(Concession)


def test_sentence_tells_why_what_and_the_size_that_came_of_it() -> None:
    """A size is told only where it is not the one that was asked for."""
    said = fittings.fitting(PIECES)
    assert said == "A step ran out of memory, so this trains in smaller pieces, which takes longer and changes nothing else."
    said = fittings.fitting(SHORTER)
    assert said.startswith("The machine has little memory free, so this trains on a coarser copy of the video model, on shorter clips")
    assert said.endswith("at 512x512 with 25 frames at most.")


def test_status_and_result_say_it() -> None:
    """While it trains and when it is done."""
    record = values.record(values.training(), status=JobStatus.RUNNING)
    progress = Progress(job_id=record.job_id, phase=Phase.TRAINING, step=5, total_steps=400, fitting=PIECES)
    running = str(job_cards.jobs([values.view(record, progress=progress)]).rendered())
    assert "A step ran out of memory" in running
    view = values.view(values.finished(values.training(), result=values.lora_result(fitting=SHORTER)))
    assert "on shorter clips" in str(result_cards.result(view, Shown()).rendered())
