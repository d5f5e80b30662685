"""Every sentence people read. Codes and values come in, words go out; nothing else in the bot spells a sentence.

`refusals`: why something is not done; `outcomes`: how things ended; `lines`: lines of cards; `results`: of what was made; `library`:
those of the library; `forms`: labels; `counts`: things with their number; `words`: shared words. Sentences are English and looked up
while they are said (`bot.ui.language`); what they are in German is in `de.po`.
"""

from bot.ui.text.outcomes import (
    ANIMATE_NOTE,
    AUTOCOMPLETE_BROKEN,
    CHANNEL_LOST,
    COMMANDS_CHANGED,
    EXTEND_NOTE,
    FALLBACK_FAILURE,
    THREAD_LOST,
    TOO_LARGE_FOR_CHANNEL,
    UNKNOWN_BUTTON,
    UNKNOWN_FORM,
    UNSHARED,
    UPSCALE_NOTE,
    again_note,
    cancelled,
    deleted,
    failure,
    unexpected,
    vary_note,
)
from bot.ui.text.problems import note, problem
from bot.ui.text.refusals import refusal
from bot.ui.text.words import ENDED_WORDS, KIND_ARTICLE, PHASES, STATUS_WORDS, both, either

__all__ = [
    "ANIMATE_NOTE",
    "AUTOCOMPLETE_BROKEN",
    "CHANNEL_LOST",
    "COMMANDS_CHANGED",
    "ENDED_WORDS",
    "EXTEND_NOTE",
    "FALLBACK_FAILURE",
    "KIND_ARTICLE",
    "PHASES",
    "STATUS_WORDS",
    "THREAD_LOST",
    "TOO_LARGE_FOR_CHANNEL",
    "UNKNOWN_BUTTON",
    "UNKNOWN_FORM",
    "UNSHARED",
    "UPSCALE_NOTE",
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
