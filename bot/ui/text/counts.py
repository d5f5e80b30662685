"""Things with their number: `1 picture`, `3 pictures`, `1,200 units`."""

from __future__ import annotations

from bot.ui.language import counted


def pictures(number: int) -> str:
    """Of a data set."""
    return counted("{number} picture", "{number} pictures", number)


def stills(number: int) -> str:
    """Pictures beside clips."""
    return counted("{number} still", "{number} stills", number)


def clips(number: int) -> str:
    """Of a data set, or made here."""
    return counted("{number} clip", "{number} clips", number)


def items(number: int) -> str:
    """Pictures and clips of a data set."""
    return counted("{number} item", "{number} items", number)


def files(number: int) -> str:
    """As they were sent."""
    return counted("{number} file", "{number} files", number)


def captions(number: int) -> str:
    """Of a data set."""
    return counted("{number} caption", "{number} captions", number)


def units(number: int) -> str:
    """What things cost."""
    return counted("{number} unit", "{number} units", number)


def jobs(number: int) -> str:
    """Clips and trainings alike."""
    return counted("{number} job", "{number} jobs", number)


def trainings(number: int) -> str:
    """Of LoRAs."""
    return counted("{number} training", "{number} trainings", number)


def loras(number: int) -> str:
    """In the library."""
    return counted("{number} LoRA", "{number} LoRAs", number)


def versions(number: int) -> str:
    """Of a LoRA."""
    return counted("{number} version", "{number} versions", number)


def checkpoints(number: int) -> str:
    """Of a training."""
    return counted("{number} checkpoint", "{number} checkpoints", number)


def uses(number: int) -> str:
    """How often a LoRA was called."""
    return counted("used {number} time", "used {number} times", number)


def days(number: int) -> str:
    """A period."""
    return counted("{number} day", "{number} days", number)


def people(number: int) -> str:
    """Who did something."""
    return counted("{number} person", "{number} people", number)
