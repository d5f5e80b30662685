"""Why this checkpoint of a training was kept, and not another."""

from __future__ import annotations

from bot.ui import format as fmt
from bot.ui.text.lines import capital
from engine.contracts.selection import CheckpointScore, Fault, Selection

PICK = "Pick another step"

FAULTS = {
    Fault.DEAD: "changed nothing",
    Fault.OVERFIT: "got worse on pictures it had not seen",
    Fault.MEMORISED: "copied pictures of the set",
    Fault.DRIFTED: "changed clips that do not ask for it",
    Fault.FROZEN: "hardly moved any more",
}
_NAMED = 3  # steps whose faults are told; the chart has all


def choice(selection: Selection) -> list[str]:
    """The chosen step with the reasons, most telling first."""
    best, last = selection.best, selection.scores[-1]
    why = "it is best on pictures it had not seen"
    if best.adherence is not None:
        why = "it follows guides it had not seen most closely"
    elif best.identity is not None:
        why = "it comes nearest to your set"
    if best.faults:
        why = f"no step was without fault, and this one has the fewest: it {_and([FAULTS[fault] for fault in best.faults])}"
    lines = [f"**Step {best.step:,}** of {last.step:,} was kept: {why}."]
    worse = [score for score in selection.scores if score.faults and score.step != best.step]
    if worse:
        lines.append(f"-# {capital('; '.join(_fault_line(score) for score in worse[-_NAMED:]))}.")
    if selection.stopped_early:
        lines.append(f"-# It stopped after {last.step:,} steps, more made nothing better; only those are charged.")
    return lines


def chart_alt(selection: Selection) -> str:
    """What the chart shows, for those who cannot see it."""
    return f"Chart of {fmt.count(len(selection.scores), 'checkpoint')} by step: loss, likeness, drift; step {selection.chosen} was kept"


def _fault_line(score: CheckpointScore) -> str:
    return f"step {score.step:,} {_and([FAULTS[fault] for fault in score.faults])}"


def _and(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
