"""Discord's markdown as safe HTML, for the transcript page."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_INLINE = re.compile(
    r"""\\(?P<escaped>[^\w\s])
      | `(?P<code>[^`\n]+)`
      | \*\*(?P<bold>.+?)\*\*
      | __(?P<under>.+?)__
      | ~~(?P<strike>.+?)~~
      | \|\|(?P<spoiler>.+?)\|\|
      | (?<!\w)_(?P<italic1>[^_\n]+)_(?!\w)
      | \*(?P<italic2>[^*\s][^*\n]*)\*
      | <@!?(?P<user>\d+)>
      | <@&(?P<role>\d+)>
      | <\#(?P<channel>\d+)>
      | </(?P<command>[^:>]+):\d+>
      | <t:(?P<time>-?\d+)(?::(?P<style>[tTdDfFR]))?>
      | \[(?P<label>[^\]\n]+)\]\((?P<target>https?://[^)\s]+)\)
      | (?P<url>https?://[^\s<>)]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_JUMP = re.compile(r"^https://discord\.com/channels/(?:\d+|@me)/\d+/(\d+)$")
_LANGUAGE = re.compile(r"^[a-z0-9]*\n")
_FORMATS = {"t": "%H:%M", "T": "%H:%M:%S", "d": "%d/%m/%Y", "D": "%d %B %Y", "f": "%d %B %Y %H:%M", "F": "%A, %d %B %Y %H:%M"}


@dataclass(frozen=True)
class Names:
    """Who and what the ids in a text stand for, and the moment it is read at (unix seconds)."""

    users: Mapping[int, str]
    channels: Mapping[int, str]
    now: float
    roles: Mapping[int, str] = field(default_factory=dict)


def to_html(text: str, names: Names) -> str:
    """One block of text as HTML; everything in it is escaped."""
    blocks: list[str] = []
    bullets: list[str] = []
    quote: list[str] = []

    def flush() -> None:
        if bullets:
            blocks.append(f"<ul>{''.join(f'<li>{_inline(b, names)}</li>' for b in bullets)}</ul>")
            bullets.clear()
        if quote:
            blocks.append(f"<blockquote>{'<br>'.join(_inline(q, names) for q in quote)}</blockquote>")
            quote.clear()

    for index, part in enumerate(text.split("```")):
        if index % 2:
            flush()
            inside = _LANGUAGE.sub("", part).strip("\n")
            blocks.append(f"<pre>{html.escape(inside)}</pre>")
            continue
        for line in part.strip("\n").split("\n") if part.strip() else []:
            match line.split(" ", 1):
                case ["#" | "##" | "###" as marks, title]:
                    flush()
                    blocks.append(f"<h{len(marks)}>{_inline(title, names)}</h{len(marks)}>")
                case ["-#", small]:
                    flush()
                    blocks.append(f"<small>{_inline(small, names)}</small>")
                case ["-" | "*", item]:
                    bullets.append(item)
                case [">", quoted]:
                    quote.append(quoted)
                case _:
                    flush()
                    blocks.append(f"<p>{_inline(line, names) or '&nbsp;'}</p>")
    flush()
    return "".join(blocks)


def _inline(text: str, names: Names) -> str:
    out: list[str] = []
    last = 0
    for match in _INLINE.finditer(text):
        out.append(html.escape(text[last : match.start()]))
        out.append(_span(match, names))
        last = match.end()
    return "".join([*out, html.escape(text[last:])])


def _span(match: re.Match[str], names: Names) -> str:
    found = {key: value for key, value in match.groupdict().items() if value is not None}
    key = next(iter(found))
    value = found[key]
    wrap: dict[str, tuple[str, str]] = {
        "bold": ("<strong>", "</strong>"),
        "under": ("<u>", "</u>"),
        "strike": ("<s>", "</s>"),
        "spoiler": ('<span class="spoiler">', "</span>"),
        "italic1": ("<em>", "</em>"),
        "italic2": ("<em>", "</em>"),
    }
    if key in wrap:
        return wrap[key][0] + _inline(value, names) + wrap[key][1]
    plain: dict[str, Callable[[], str]] = {
        "escaped": lambda: html.escape(value),
        "code": lambda: f"<code>{html.escape(value)}</code>",
        "user": lambda: f'<span class="mention">@{html.escape(names.users.get(int(value), "unknown-user"))}</span>',
        "role": lambda: f'<span class="mention">@{html.escape(names.roles.get(int(value), "deleted-role"))}</span>',
        "channel": lambda: f'<span class="mention">#{html.escape(names.channels.get(int(value), "unknown"))}</span>',
        "command": lambda: f'<span class="mention">/{html.escape(value)}</span>',
        "time": lambda: f'<span class="time">{_moment(int(value), found.get("style", "f"), names.now)}</span>',
        "label": lambda: _link(found["target"], _inline(value, names)),
        "url": lambda: _link(value, html.escape(value)),
    }
    return plain[key]()


def _link(target: str, label: str) -> str:
    jump = _JUMP.match(target)
    if jump is not None:  # a message of this very page
        return f'<a href="#m{jump[1]}">{label}</a>'
    return f'<a href="{html.escape(target, quote=True)}" rel="noopener noreferrer">{label}</a>'


def _moment(at: int, style: str, now: float) -> str:
    if style != "R":
        return datetime.fromtimestamp(at, UTC).strftime(_FORMATS[style])
    distance = at - now
    for seconds, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = round(abs(distance) / seconds)
        if count >= 1:
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if distance > 0 else f"{words} ago"
    return "now"
