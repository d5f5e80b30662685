"""What is wrong with a file, or weak about it."""

from __future__ import annotations

from bot.ui.language import Words, _
from engine.contracts.lora_facts import LoraProblem
from engine.contracts.media import MediaNote, MediaProblem

_PROBLEMS = Words(
    {
        MediaProblem.EMPTY: "is empty",
        MediaProblem.NOT_MEDIA: "is no picture or clip, whatever its name says",
        MediaProblem.UNSUPPORTED: "is of a kind that is not read here",
        MediaProblem.DAMAGED: "is damaged or cut off",
        MediaProblem.TOO_LARGE: "is too large",
        MediaProblem.TOO_MANY_PIXELS: "has too many pixels (50 megapixels at most)",
        MediaProblem.TOO_SMALL: "is too small to learn from",
        MediaProblem.TOO_LONG: "is too long",
        MediaProblem.TOO_SHORT: "is too short to show how it moves",
        MediaProblem.GUIDE_MISSING: "has no control clip of its name and length",
        MediaProblem.GUIDE_MISMATCH: "does not last as long as the clip it guides",
        MediaProblem.SINGLE_FRAME: "is a single frame",
        MediaProblem.VARIABLE_RATE: "has frames at uneven times",
        MediaProblem.NO_VIDEO: "has no video in it",
        MediaProblem.DUPLICATE: "is in the set already",
        MediaProblem.CAPTION_UNREADABLE: "is no readable caption (short UTF-8 text)",
        MediaProblem.CAPTION_ORPHAN: "is a caption without a picture of the same name",
        MediaProblem.ARCHIVE_DAMAGED: "is a damaged zip",
        MediaProblem.ARCHIVE_EMPTY: "has no picture or clip in it",
        MediaProblem.ARCHIVE_ENCRYPTED: "is locked with a password",
        MediaProblem.ARCHIVE_NESTED: "has another archive in it",
        MediaProblem.ARCHIVE_UNSAFE_PATH: "has entries that point outside of it",
        MediaProblem.ARCHIVE_BOMB: "unpacks to far more than it should",
        MediaProblem.ARCHIVE_TOO_MANY: "has too many entries",
        MediaProblem.CHECK_FAILED: "could not be checked",
    }
)


def problem(problem_code: object) -> str:
    """The end of a sentence that begins with a file name: `is damaged or cut off`."""
    try:
        return _PROBLEMS[MediaProblem(str(problem_code))]
    except ValueError:
        return _("cannot be used")


_LORA_PROBLEMS = Words(
    {
        LoraProblem.NOT_SAFETENSORS: "is no safetensors file, or a damaged one",
        LoraProblem.PICKLE: "can run code when it is opened (.pt, .ckpt, .bin), so it is not",
        LoraProblem.HEADER_TOO_LARGE: "says more about itself than a LoRA can have to say",
        LoraProblem.TOO_LARGE: "is too large for a LoRA",
        LoraProblem.NO_WEIGHTS: "has no LoRA weights in it",
        LoraProblem.DESCRIPTION: "contradicts its own description, or is cut off",
        LoraProblem.UNSAFE_KEY: "has names in it that look like paths",
        LoraProblem.WRONG_DTYPE: "has weights of a type that is not read here",
        LoraProblem.OTHER_METHOD: "is no plain LoRA (LoKr, LoHa, DoRA or full weights)",
        LoraProblem.OTHER_PART: "changes parts of the model that stay as they are here",
        LoraProblem.UNKNOWN_KEY: "changes layers this model does not have",
        LoraProblem.INCOMPLETE_PAIR: "lacks half of its weights",
        LoraProblem.RANK: "has a rank that is not supported",
        LoraProblem.NOT_FINITE: "holds weights that are not numbers",
        LoraProblem.OTHER_MODEL: "was made for another model",
        LoraProblem.DEAD: "changes nothing: all its weights are zero",
    }
)


def lora_problem(code: object) -> str:
    """The end of a sentence that begins with a file name: `was made for another model`."""
    try:
        return _LORA_PROBLEMS[LoraProblem(str(code))]
    except ValueError:
        return _("cannot be used")


_NOTES = Words(
    {
        MediaNote.BLURRY: "blurry",
        MediaNote.DARK: "very dark",
        MediaNote.BRIGHT: "overexposed",
        MediaNote.LOW_CONTRAST: "low in contrast",
        MediaNote.NEAR_DUPLICATE: "almost the same as another",
        MediaNote.SMALL: "smaller than the training size",
        MediaNote.BORDERS: "framed by bars",
        MediaNote.TEXT: "lettered",
        MediaNote.CUTS: "cut into several shots",
    }
)


def note(weakness: MediaNote) -> str:
    """The end of `3 are …`."""
    return _NOTES[weakness]
