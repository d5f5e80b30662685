"""How things ended: failures, unexpected errors, confirmations of presses, notes on where a result went."""

from __future__ import annotations

from bot.ui import format as fmt
from bot.ui.language import Words, _, later
from engine.contracts.failures import FailureCode


def failure(reason: FailureCode) -> str:
    """Why a job ended without its result, and what to do; nothing about units, which the card adds."""
    return _FAILURES[reason]


_FAILURES = Words(
    {
        FailureCode.INVALID_MEDIA: "One of the pictures or clips could not be read; take it out and try again.",
        FailureCode.VIDEO_MISSING_STREAM: "There is no video in that file; send an MP4, MOV or WebM clip.",
        FailureCode.VIDEO_TOO_SHORT: "That video is a single frame; send a clip, or use the picture as `image`.",
        FailureCode.VIDEO_TOO_LONG: "That video is longer than a clip can be; trim it and try again.",
        FailureCode.VIDEO_VARIABLE_RATE: "The frames of that video come at uneven times; save it with a constant frame rate and try again.",
        FailureCode.GUIDE_MISSING: "An effect LoRA of this stack follows a video; attach one, or leave the effect out.",
        FailureCode.EFFECT_MISSING: "A guiding video needs an effect LoRA that follows it; add one to `loras`, or leave the video out.",
        FailureCode.STACK_WEIGHTS: "The weights of this stack add up to nothing or to noise; give each LoRA a weight around 1.",
        FailureCode.DATASET_TOO_SMALL: "Too few of the pictures could be used; add more with `/train`.",
        FailureCode.ADAPTER_MISSING: "A LoRA of this stack has been deleted; leave it out and try again.",
        FailureCode.ADAPTER_INVALID: "A LoRA of this stack cannot be read; leave it out, or train it again.",
        FailureCode.ADAPTER_INCOMPATIBLE: "A LoRA of this stack was made for another model; leave it out and try again.",
        FailureCode.ADAPTER_DEAD: "The training changed nothing, so no LoRA was kept; try again with more or clearer pictures.",
        FailureCode.INVALID_CONFIG: "These settings contradict each other; try again with fewer options.",
        FailureCode.BASE_UNAVAILABLE: "The video model is not available on the machine; please tell the people who run this bot.",
        FailureCode.LOSS_NOT_FINITE: (
            "The training went astray and was stopped; try again, and leave out pictures that do not fit the others."
        ),
        FailureCode.RESULT_TOO_LARGE: "The clip cannot be made small enough for this channel; ask for a shorter one.",
        FailureCode.OUT_OF_MEMORY: "The machine ran out of memory; ask for a shorter or smaller clip, or try again later.",
        FailureCode.CHILD_DIED: "The machine broke off several times; try again later.",
        FailureCode.WORKER_LOST: "The machine that worked on it went away; try again, another one takes over.",
        FailureCode.STORE_UNAVAILABLE: "The file store could not be reached; try again in a few minutes.",
        FailureCode.OBJECT_CORRUPT: "A stored file is damaged; send the pictures again.",
        FailureCode.TIMED_OUT: "It took longer than allowed and was stopped; ask for less, such as a shorter clip.",
        FailureCode.CANCELLED: "It was cancelled; start it again whenever you like.",
        FailureCode.INTERNAL: "Something broke on our side; try again, and tell the people who run this bot if it repeats.",
    }
)


def unexpected(reference: str) -> str:
    """The answer to an exception nobody foresaw."""
    return _(
        "Something broke on our side, and nothing was started twice; try again, and quote reference {reference} if it repeats.",
        reference=fmt.code(reference),
    )


FALLBACK_FAILURE = FailureCode.INTERNAL
UNKNOWN_BUTTON = later("This button is from an older version and no longer works; use the command again.")
UNKNOWN_FORM = later("This form is no longer known; press its button again and send it once more.")
COMMANDS_CHANGED = later("This command has just changed; reload Discord (Ctrl+R) and use it again.")
AUTOCOMPLETE_BROKEN = later("The list is not available right now; type the names yourself")


def again_note(seed: int) -> str:
    """Beside the receipt of "Again"."""
    return _("Same request with a new seed, {seed}.", seed=fmt.code(str(seed)))


def vary_note(seed: int, family: int, strength: float) -> str:
    """Beside the receipt of "Vary"."""
    return _(
        "A relative of seed {family}: {strength}% of its noise turned towards {seed}.",
        family=fmt.code(str(family)),
        strength=fmt.number(100 * strength, 0),
        seed=fmt.code(str(seed)),
    )


EXTEND_NOTE = later("It goes on from the last frames, and comes as one film.")
UPSCALE_NOTE = later("The same clip at twice the size.")
ANIMATE_NOTE = later("A clip that begins with this picture.")


def cancelled(title: str, *, over: bool) -> str:
    """Answer to "Cancel"; `title` is safe text."""
    if over:
        return _("Cancelled: {title}. Its units are yours again.", title=title)
    return _("Stopping after the current step: {title}. What did not run is given back.", title=title)


def deleted(title: str, *, kept: bool) -> str:
    """Answer to "Delete"; `title` is safe text."""
    if kept:
        return _("Message removed: {title}.", title=title)
    return _("Message removed: {title}. The clip is gone from the store as well.", title=title)


UNSHARED = later("The page is closed; its address leads nowhere any more.")
THREAD_LOST = later("-# Posted here because its thread is closed.")
CHANNEL_LOST = later("-# Posted here because the channel it was made in takes no posts of mine any more.")
TOO_LARGE_FOR_CHANNEL = later("The clip is too large for this channel; the button opens it.")
