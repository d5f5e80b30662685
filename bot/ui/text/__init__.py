"""Every sentence people read. Codes and values come in, words go out; nothing else in the bot spells a sentence.

`refusals`: why something is not done; `outcomes`: how things ended; `lines`: lines of cards; `forms`: labels; `words`: shared words.
"""

from bot.ui.text.forms import ADD_FILES_HINT, ADD_FILES_LABEL, add_files_title
from bot.ui.text.outcomes import (
    AUTOCOMPLETE_BROKEN,
    CHANNEL_LOST,
    COMMANDS_CHANGED,
    FALLBACK_FAILURE,
    THREAD_LOST,
    TOO_LARGE_FOR_CHANNEL,
    UNKNOWN_BUTTON,
    UNKNOWN_FORM,
    again_note,
    cancelled,
    deleted,
    failure,
    unexpected,
    vary_note,
)
from bot.ui.text.refusals import note, problem, refusal
from bot.ui.text.words import ENDED_WORDS, KIND_ARTICLE, PHASES, STATUS_WORDS, both, either

__all__ = [
    "ADD_FILES_HINT",
    "ADD_FILES_LABEL",
    "AUTOCOMPLETE_BROKEN",
    "CHANNEL_LOST",
    "COMMANDS_CHANGED",
    "ENDED_WORDS",
    "FALLBACK_FAILURE",
    "KIND_ARTICLE",
    "PHASES",
    "STATUS_WORDS",
    "THREAD_LOST",
    "TOO_LARGE_FOR_CHANNEL",
    "UNKNOWN_BUTTON",
    "UNKNOWN_FORM",
    "add_files_title",
    "again_note",
    "both",
    "cancelled",
    "deleted",
    "either",
    "failure",
    "note",
    "problem",
    "refusal",
    "unexpected",
    "vary_note",
]
