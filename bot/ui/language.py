"""Which language is spoken, and how a sentence is said in it.

Sentences are written in English in `bot.ui.text` and looked up while a card is made, so that one source serves every reader. The language
is a context variable: whoever begins an answer sets it once (`speak`), and what runs in the same task, or in a thread started from it,
follows; two answers at the same time never mix. Catalogues are gettext files beside the sentences, `text/<language>.po`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib import resources
from typing import NamedTuple, TypeVar

from babel.messages.pofile import read_po

ENGLISH, GERMAN = "en", "de"
LANGUAGES: Mapping[str, str] = {ENGLISH: "English", GERMAN: "Deutsch"}
"""Every language there is, by its code, in its own words."""

Key = TypeVar("Key")

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


def chosen(*wishes: str | None) -> str:
    """The first language of `wishes` there is, best first; each a code of ours or a locale of Discord such as `en-GB`. English if none."""
    spoken = (wish.partition("-")[0] for wish in wishes if wish)
    return next((code for code in spoken if code in LANGUAGES), ENGLISH)


def current() -> str:
    """The code of the language that is spoken now."""
    return _language.get()


def speak(code: str) -> None:
    """Speak this language from here on, in this task."""
    _language.set(code)


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak this language for the length of the block."""
    before = _language.set(code)
    try:
        yield
    finally:
        _language.reset(before)


def _(source: str, /, **values: object) -> str:
    """The sentence `source` in the language that is spoken, its `{fields}` filled in."""
    said = _catalogue(current()).get(source, source)
    template = said if isinstance(said, str) else said[0]
    return template.format(**values) if values else template


def counted(one: str, many: str, number: int, /, **values: object) -> str:
    """One of two sentences, by `number`: the reader's language says which; it may have the field `{number}`."""
    forms = _catalogue(current()).get(one, (one, many))
    assert isinstance(forms, tuple)
    return forms[0 if number == 1 else 1].format(number=grouped(f"{number:,}"), **values)


def later(source: str) -> Callable[[], str]:
    """A sentence that is a constant: looked up when it is called, for nobody speaks any language yet when modules are read."""
    return partial(_, source)


class Forms(NamedTuple):
    """A sentence with a number that is a constant, in its two forms; looked up when it is called, as with `later`."""

    one: str
    many: str

    def __call__(self, number: int, /, **values: object) -> str:
        """The form for `number`."""
        return counted(self.one, self.many, number, **values)


class Words(Mapping[Key, str]):
    """Sentences by what they are about, each looked up when it is read."""

    def __init__(self, sources: Mapping[Key, str]) -> None:
        self._sources = sources

    def __getitem__(self, key: Key, /) -> str:
        return _(self._sources[key])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def grouped(figures: str) -> str:
    """`1,234.5` as it is written in the language that is spoken: `1.234,5`."""
    return figures.translate(_SEPARATORS) if current() == GERMAN else figures


_SEPARATORS = str.maketrans(",.", ".,")


@cache
def _catalogue(code: str) -> Mapping[str, str | tuple[str, ...]]:
    """Translations by their English source, of a sentence with a number by its singular; English needs none."""
    if code == ENGLISH:
        return {}
    with resources.files("bot.ui.text").joinpath(f"{code}.po").open("rb") as file:
        messages = read_po(file, locale=code, ignore_obsolete=True, abort_invalid=True)
    said: dict[str, str | tuple[str, ...]] = {}
    for each in messages:
        if isinstance(each.id, str):
            said[each.id] = str(each.string)
        else:
            said[each.id[0]] = tuple(each.string or ())
    return said


def said_in(code: str, source: str) -> str | None:
    """`source` in another language; None when its catalogue has no such sentence."""
    found = _catalogue(code).get(source)
    return found if isinstance(found, str) else None
