"""Why this checkpoint of a training was kept, and not another."""

from __future__ import annotations

from bot.ui import format as fmt
from bot.ui.language import Words, _, later
from bot.ui.text import counts
from bot.ui.text.lines import capital
from bot.ui.text.words import both
from engine.contracts.selection import CheckpointScore, Fault, Selection

PICK = later("Pick another step")

FAULTS = Words(
    {
        Fault.DEAD: "changed nothing",
        Fault.OVERFIT: "got worse on pictures it had not seen",
        Fault.MEMORISED: "copied pictures of the set",
        Fault.DRIFTED: "changed clips that do not ask for it",
        Fault.FROZEN: "hardly moved any more",
    }
)
_NAMED = 3  # steps whose faults are told; the chart has all


def choice(selection: Selection) -> list[str]:
    """The chosen step with the reasons, most telling first."""
    best, last = selection.best, selection.scores[-1]
    why = _("it is best on pictures it had not seen")
    if best.adherence is not None:
        why = _("it follows guides it had not seen most closely")
    elif best.identity is not None:
        why = _("it comes nearest to your set")
    if best.faults:
        why = _(
            "no step was without fault, and this one has the fewest: it {faults}", faults=both([FAULTS[fault] for fault in best.faults])
        )
    lines = [_("**Step {step}** of {last} was kept: {why}.", step=fmt.number(best.step), last=fmt.number(last.step), why=why)]
    worse = [score for score in selection.scores if score.faults and score.step != best.step]
    if worse:
        lines.append(f"-# {capital('; '.join(_fault_line(score) for score in worse[-_NAMED:]))}.")
    if selection.stopped_early:
        lines.append(_("-# It stopped after {step} steps, more made nothing better; only those are charged.", step=fmt.number(last.step)))
    return lines


def chart_alt(selection: Selection) -> str:
    """What the chart shows, for those who cannot see it."""
    return _(
        "Chart of {checkpoints} by step: loss, likeness, drift; step {chosen} was kept",
        checkpoints=counts.checkpoints(len(selection.scores)),
        chosen=selection.chosen,
    )


def _fault_line(score: CheckpointScore) -> str:
    return _("step {step} {faults}", step=fmt.number(score.step), faults=both([FAULTS[fault] for fault in score.faults]))
