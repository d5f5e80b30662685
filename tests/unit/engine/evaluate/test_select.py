"""The choice of a checkpoint: plain rules, each with a reason that can be told."""

from __future__ import annotations

from typing import Any

import pytest

from engine.contracts.selection import CheckpointScore, Fault
from engine.evaluate.select import chosen, has_stalled, kept_steps, with_faults


def _score(step: int, **values: Any) -> CheckpointScore:
    return CheckpointScore(**{"step": step, "effect": 0.2, "held_out_loss": 0.3, "identity": 0.3, "motion": 1.0, "drift": 0.0, **values})


def _judged(*scores: CheckpointScore) -> list[CheckpointScore]:
    judged: list[CheckpointScore] = []
    for score in scores:
        judged.append(with_faults(score, judged))
    return judged


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"effect": 1e-6}, Fault.DEAD),
        ({"held_out_loss": 0.33}, Fault.OVERFIT),
        ({"memorised": 0.5}, Fault.MEMORISED),
        ({"drift": 0.6}, Fault.DRIFTED),
        ({"motion": 0.1}, Fault.FROZEN),
    ],
)
def test_each_fault_is_found_and_costs_the_choice(values: dict[str, float], fault: Fault) -> None:
    """A checkpoint with a fault loses to one without, however much likeness it has."""
    judged = _judged(_score(100), _score(200, identity=0.9, **values))
    assert judged[1].faults == (fault,)
    assert chosen(judged).step == 100


@pytest.mark.parametrize(
    ("loss", "noise", "is_overfit"),
    [
        (0.309, 0.001, False),  # certain, but a small part of what was learned
        (0.34, 0.025, False),  # large, but as likely chance
        (0.34, 0.010, True),
    ],
)
def test_a_rise_is_overfit_when_it_matters_and_is_no_chance(loss: float, noise: float, is_overfit: bool) -> None:
    """A held-out loss that fell from 0.4 to 0.3 has to lose a quarter of that again, and two standard errors."""
    risen = with_faults(_score(200, held_out_loss=loss, held_out_noise=noise), [_score(100, held_out_loss=0.3)], base_loss=0.4)
    assert (Fault.OVERFIT in risen.faults) is is_overfit


def test_a_loss_that_never_fell_is_judged_by_itself() -> None:
    """A set the base knows already leaves nothing to lose a quarter of; two hundredths above the lowest are enough then."""
    earlier = [_score(100, held_out_loss=0.3)]
    assert with_faults(_score(200, held_out_loss=0.31), earlier, base_loss=0.29).faults == (Fault.OVERFIT,)
    assert with_faults(_score(200, held_out_loss=0.305), earlier, base_loss=0.29).faults == ()


def test_measures_that_are_missing_accuse_nobody() -> None:
    """A set too small to hold anything back, or an effect without clips, is judged by what there is."""
    judged = _judged(*(CheckpointScore(step=step, effect=0.1) for step in (100, 200)))
    assert all(score.faults == () for score in judged)
    assert chosen(judged).step == 100


def test_likest_checkpoint_without_fault_wins_and_the_earlier_of_equals() -> None:
    """More likeness wins; a hair's breadth more does not."""
    assert chosen(_judged(_score(100, identity=0.3), _score(200, identity=0.4))).step == 200
    assert chosen(_judged(_score(100, identity=0.301), _score(200, identity=0.303))).step == 100


def test_lower_held_out_loss_decides_between_equally_like() -> None:
    """Without a difference in likeness the pictures kept aside decide."""
    assert chosen(_judged(_score(100, identity=None, held_out_loss=0.35), _score(200, identity=None, held_out_loss=0.3))).step == 200


def test_a_little_more_likeness_does_not_beat_what_is_learned_better() -> None:
    """Likeness of two clips is a rough figure; an early step whose clips happen to look well loses to one that knows the subject."""
    assert chosen(_judged(_score(140, identity=0.271, held_out_loss=0.165), _score(400, identity=0.262, held_out_loss=0.134))).step == 400
    assert chosen(_judged(_score(140, identity=0.35, held_out_loss=0.165), _score(400, identity=0.262, held_out_loss=0.134))).step == 140


def test_effect_is_chosen_by_how_it_follows_guides() -> None:
    """The loss on clips kept aside rises while following gets better: that is neither a fault, nor a plateau, nor decisive."""
    following = [(100, 0.3, 0.24), (200, 0.4, 0.28), (300, 0.45, 0.33), (400, 0.5, 0.36), (500, 0.49, 0.3)]
    judged = _judged(*(_score(step, identity=None, adherence=adherence, held_out_loss=loss) for step, adherence, loss in following))
    assert all(score.faults == () for score in judged)
    assert chosen(judged).step == 500  # as good as step 400, and better at everything else
    assert not has_stalled(judged[:4])
    assert has_stalled([*judged, *(score.model_copy(update={"step": score.step + 500}) for score in judged[2:])])


def test_least_bad_is_taken_when_all_have_faults() -> None:
    """A person gets what there is, with the reasons, and never nothing."""
    judged = _judged(_score(100, drift=0.9, motion=0.0), _score(200, drift=0.9))
    assert chosen(judged).step == 200


def test_best_few_and_the_last_are_kept() -> None:
    """What a person may pick instead fits on a row of buttons."""
    judged = _judged(*(_score(100 * i, identity=0.5 - 0.03 * i) for i in range(1, 9)))
    assert kept_steps(judged) == {100, 200, 300, 800}
    assert kept_steps([]) == set()


def test_plateau_needs_patience_and_comparison() -> None:
    """Three looks without anything better stop a training; an improvement, or nothing to compare, does not."""
    flat = _judged(_score(100), _score(200), _score(300), _score(400))
    assert has_stalled(flat)
    assert not has_stalled(flat[:3])
    assert not has_stalled(_judged(_score(100), _score(200), _score(300), _score(400, held_out_loss=0.2)))
    assert not has_stalled(_judged(_score(100), _score(200), _score(300), _score(400, identity=0.5)))
    assert not has_stalled(_judged(*(_score(step, held_out_loss=None) for step in (100, 200, 300, 400))))


def test_likeness_bought_with_a_fault_is_no_progress() -> None:
    """A training that gets more like its set by copying it has stalled all the same."""
    copying = [_score(step, identity=step / 1000, held_out_loss=0.3 + step / 1000) for step in (100, 200, 300, 400)]
    assert has_stalled(_judged(*copying))
