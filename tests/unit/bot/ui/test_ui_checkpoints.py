"""What a person reads about the choice of a checkpoint."""

from __future__ import annotations

from bot.ui import result_cards
from bot.ui.result_cards import Shown
from bot.ui.text import checkpoints
from engine.contracts.selection import CheckpointScore, Fault, KeptCheckpoint
from tests.support import discord_values as values
from tests.support.contracts import selection, stored


def test_every_fault_has_its_words() -> None:
    """A fault without words would be a reason nobody can read."""
    assert set(checkpoints.FAULTS) == set(Fault)


def test_choice_names_the_step_and_what_was_wrong_with_others() -> None:
    """The chosen step, why, and the faults of those that were passed over."""
    said = "\n".join(checkpoints.choice(selection()))
    assert "**Step 210** of 400 was kept: it comes nearest to your set." in said
    assert "Step 400 got worse on pictures it had not seen." in said


def test_choice_of_an_effect_says_that_it_follows() -> None:
    """What speaks for an effect is not what speaks for a likeness."""
    scores = tuple(CheckpointScore(step=step, effect=0.3, adherence=step / 1000) for step in (300, 600))
    assert checkpoints.choice(selection(chosen=600, scores=scores)) == [
        "**Step 600** of 600 was kept: it follows guides it had not seen most closely."
    ]


def test_choice_without_a_faultless_step_says_so() -> None:
    """Nobody is told that all is well when it is not."""
    bad = CheckpointScore(step=100, effect=0.3, identity=0.2, faults=(Fault.DRIFTED, Fault.FROZEN))
    said = checkpoints.choice(selection(chosen=100, scores=(bad,)))
    assert "no step was without fault" in said[0]
    assert "changed clips that do not ask for it and hardly moved any more" in said[0]


def test_plateau_is_told_with_its_price() -> None:
    """A training that ended early says that only its steps cost units."""
    assert "only those are charged" in checkpoints.choice(selection(stopped_early=True))[-1]


def test_card_shows_chart_and_button_only_when_there_are_some() -> None:
    """The chart is attached, and other steps are one press away."""
    kept = (KeptCheckpoint(step=400, file=stored()),)
    view = values.view(values.finished(values.training(), result=values.lora_result(selection=selection(), kept=kept)))
    shown = str(result_cards.result(view, Shown(chart="c.png")).rendered())
    assert "attachment://c.png" in shown
    assert checkpoints.PICK() in shown
    plain = str(result_cards.result(values.view(values.finished(values.training(), result=values.lora_result())), Shown()).rendered())
    assert checkpoints.PICK() not in plain
