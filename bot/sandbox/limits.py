"""Documented rules that Discord's API description lacks: each check returns (dotted path, sentence) problems, empty when all is well.

Sources: Discord reference "Message Components", "Application Commands", "Receiving and Responding", "Create Message"
(figures collected in the project's reference notes, part A).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from bot.sandbox.world import walk_components

Problems = list[tuple[str, str]]
Json = dict[str, Any]

MAX_CONTENT = 2000
MAX_V2_COMPONENTS = 40
MAX_V2_TEXT = 4000
MAX_ROWS = 5
MAX_FILES = 10
MAX_MODAL_CHILDREN = 5
MAX_COMMAND_CHARACTERS = 8000
MAX_EMBED_CHARACTERS = 6000

_V1_TOP = {1}
_V2_TOP = {1, 9, 10, 12, 13, 14, 17}
_SELECTS = {3, 5, 6, 7, 8}
_FILENAME = re.compile(r"[A-Za-z0-9_.-]+")
_COMMAND_NAME = re.compile(r"^[-_'\w]{1,32}$")


def message_problems(body: Json, *, v2: bool, filenames: list[str], kept: list[str]) -> Problems:
    """A message as it would be after this request: `filenames` are uploaded with it, `kept` are already on it."""
    problems: Problems = []
    components = body.get("components") or []
    if len(body.get("content") or "") > MAX_CONTENT:
        problems.append(("content", f"Must be {MAX_CONTENT} or fewer in length."))
    if len(filenames) > MAX_FILES:
        problems.append(("attachments", f"Must be {MAX_FILES} or fewer in length."))
    embedded = sum(len(str(e.get(key) or "")) for e in body.get("embeds") or [] for key in ("title", "description"))
    if embedded > MAX_EMBED_CHARACTERS:
        problems.append(("embeds", f"Embeds hold {embedded} characters, {MAX_EMBED_CHARACTERS} are allowed."))
    if v2:
        problems += [
            (key, "The 'IS_COMPONENTS_V2' flag does not allow this field.")
            for key in ("content", "embeds", "poll", "sticker_ids")
            if body.get(key)
        ]
        problems += _v2_totals(components)
    elif len(components) > MAX_ROWS:
        problems.append(("components", f"Must be {MAX_ROWS} or fewer in length."))
    allowed = _V2_TOP if v2 else _V1_TOP
    for index, part in enumerate(components):
        if part.get("type") not in allowed:
            problems.append(
                (f"components.{index}.type", f"Type {part.get('type')} is not allowed here{'' if v2 else ' without IS_COMPONENTS_V2'}.")
            )
    for index, part in enumerate(components):
        problems += _part_problems(part, f"components.{index}", set(filenames) | set(kept))
    return problems + _unique_custom_ids(components)


def _v2_totals(components: list[Json]) -> Problems:
    problems: Problems = []
    parts = walk_components(components)
    if len(parts) > MAX_V2_COMPONENTS:
        problems.append(("components", f"{len(parts)} components, {MAX_V2_COMPONENTS} are allowed in all."))
    characters = sum(len(p.get("content") or "") for p in parts if p.get("type") == 10)
    if characters > MAX_V2_TEXT:
        problems.append(("components", f"{characters} characters of text, {MAX_V2_TEXT} are allowed in all."))
    return problems


def _part_problems(part: Json, path: str, files: set[str]) -> Problems:
    kind = part.get("type")
    problems: Problems = []
    children = [child for child in part.get("components") or [] if isinstance(child, dict)]
    if kind == 1:
        problems += _row_problems(children, path)
    elif kind == 2:
        problems += _button_problems(part, path)
    elif kind in _SELECTS:
        problems += _range_problems(part, path, most=25)
    elif kind == 9:
        if not 1 <= len(children) <= 3:
            problems.append((f"{path}.components", "A section holds 1 to 3 text displays."))
        if not isinstance(part.get("accessory"), dict):
            problems.append((f"{path}.accessory", "This field is required"))
        else:
            problems += _part_problems(part["accessory"], f"{path}.accessory", files)
    elif kind == 10 and not (part.get("content") or "").strip():
        problems.append((f"{path}.content", "This field is required"))
    elif kind == 11:
        problems += _media_problems(part.get("media"), f"{path}.media", files)
    elif kind == 12:
        items = part.get("items") or []
        if not 1 <= len(items) <= 10:
            problems.append((f"{path}.items", "Must be between 1 and 10 in length."))
        for index, item in enumerate(items):
            problems += _media_problems(item.get("media"), f"{path}.items.{index}.media", files)
    elif kind == 13:
        problems += _media_problems(part.get("file"), f"{path}.file", files, only_uploads=True)
    for index, child in enumerate(children):
        problems += _part_problems(child, f"{path}.components.{index}", files)
    return problems


def _row_problems(children: list[Json], path: str) -> Problems:
    kinds = [child.get("type") for child in children]
    if kinds and all(kind == 2 for kind in kinds):
        return [] if len(kinds) <= 5 else [(f"{path}.components", "An action row holds up to 5 buttons.")]
    if len(kinds) == 1 and kinds[0] in _SELECTS:
        return []
    return [(f"{path}.components", "An action row holds up to 5 buttons or one select.")]


def _button_problems(part: Json, path: str) -> Problems:
    style = part.get("style")
    problems: Problems = []
    wanted = {5: "url", 6: "sku_id"}.get(style or 0, "custom_id")
    given = [key for key in ("url", "sku_id", "custom_id") if part.get(key)]
    if given != [wanted]:
        problems.append((path, f"A button of style {style} has {wanted} and none of the others; got {', '.join(given) or 'nothing'}."))
    if style != 6 and not part.get("label") and not part.get("emoji"):
        problems.append((f"{path}.label", "A button needs a label or an emoji."))
    if style == 6 and (part.get("label") or part.get("emoji")):
        problems.append((f"{path}.label", "A premium button has neither label nor emoji."))
    return problems


def _media_problems(media: object, path: str, files: set[str], *, only_uploads: bool = False) -> Problems:
    url = media.get("url") if isinstance(media, dict) else None
    if not isinstance(url, str):
        return [(f"{path}.url", "This field is required")]
    if url.startswith("attachment://"):
        name = url.removeprefix("attachment://")
        if not _FILENAME.fullmatch(name):
            return [(f"{path}.url", f"attachment:// takes letters, digits, '_', '-' and '.' only: {name!r}")]
        return [] if name in files else [(f"{path}.url", f"The attachment {name!r} was not found in the message.")]
    if only_uploads and not url.startswith("https://cdn.discordapp.com/"):
        return [(f"{path}.url", "A file component takes attachment:// only.")]
    return [] if url.startswith(("https://", "http://")) else [(f"{path}.url", "Not a well formed URL.")]


def _range_problems(part: Json, path: str, *, most: int) -> Problems:
    low, high = part.get("min_values"), part.get("max_values")
    low, high = 1 if low is None else low, 1 if high is None else high
    problems: Problems = []
    if low > high or high > most:
        problems.append((f"{path}.max_values", f"min_values {low} and max_values {high} do not fit 0..{most}."))
    options = part.get("options")
    if part.get("type") == 3 and not 1 <= len(options or []) <= 25:
        problems.append((f"{path}.options", "Must be between 1 and 25 in length."))
    values = Counter(option.get("value") for option in options or [])
    problems += [(f"{path}.options", f"The value {value!r} is used twice.") for value, times in values.items() if times > 1]
    return problems


def _unique_custom_ids(components: list[Json]) -> Problems:
    used = Counter(part["custom_id"] for part in walk_components(components) if part.get("custom_id"))
    problems = [("components", f"Component custom id {name!r} is used twice.") for name, times in used.items() if times > 1]
    return problems + [
        ("components", f"custom id {name!r} has {len(name)} characters, 100 are allowed.") for name in used if len(name) > 100
    ]


def choice_problems(choices: list[Json]) -> Problems:
    """An autocomplete answer."""
    problems: Problems = []
    if len(choices) > 25:
        problems.append(("data.choices", "Must be 25 or fewer in length."))
    for index, choice in enumerate(choices):
        if not 1 <= len(choice.get("name") or "") <= 100:
            problems.append((f"data.choices.{index}.name", "Must be between 1 and 100 in length."))
        value = choice.get("value")
        if isinstance(value, str) and not 1 <= len(value) <= 100:
            problems.append((f"data.choices.{index}.value", "Must be between 1 and 100 in length."))
    return problems


def modal_problems(data: Json) -> Problems:
    """A modal answer."""
    problems: Problems = []
    children = data.get("components") or []
    if not 1 <= len(children) <= MAX_MODAL_CHILDREN:
        problems.append(("data.components", f"Must be between 1 and {MAX_MODAL_CHILDREN} in length."))
    if not 1 <= len(data.get("title") or "") <= 45:
        problems.append(("data.title", "Must be between 1 and 45 in length."))
    for index, child in enumerate(children):
        path = f"data.components.{index}"
        if child.get("type") not in (1, 10, 18):
            problems.append((f"{path}.type", "A modal holds labels, text displays or action rows."))
        inner = child.get("component")
        if not isinstance(inner, dict):
            continue
        if inner.get("type") == 19:
            low, high = inner.get("min_values"), inner.get("max_values")
            if inner.get("required", True) and low == 0:
                problems.append((f"{path}.component.min_values", "A required file upload needs min_values of at least 1."))
            if (low or 0) > (1 if high is None else high) or (high or 1) > MAX_FILES:
                problems.append((f"{path}.component.max_values", f"min_values {low} and max_values {high} do not fit 0..{MAX_FILES}."))
        elif inner.get("type") in _SELECTS:
            problems += _range_problems(inner, f"{path}.component", most=25)
    return problems + _unique_custom_ids(children)


def command_problems(commands: list[Json]) -> Problems:
    """A bulk overwrite of application commands."""
    problems: Problems = []
    for kind, most in ((1, 100), (2, 15), (3, 15)):
        if sum(1 for c in commands if (c.get("type") or 1) == kind) > most:
            problems.append(("", f"Maximum number of application commands of type {kind} reached ({most})."))
    names = Counter((c.get("type") or 1, c.get("name")) for c in commands)
    problems += [("", f"The command name {name!r} is used twice.") for (_, name), times in names.items() if times > 1]
    for index, command in enumerate(commands):
        if (command.get("type") or 1) == 1:
            problems += _named_problems(command, str(index))
            if _characters(command) > MAX_COMMAND_CHARACTERS:
                problems.append((str(index), f"Command exceeds maximum size ({_characters(command)} of {MAX_COMMAND_CHARACTERS})."))
    return problems


def _named_problems(item: Json, path: str) -> Problems:
    problems: Problems = []
    name = item.get("name") or ""
    if not _COMMAND_NAME.match(name) or name != name.lower():
        problems.append((f"{path}.name", f"{name!r} is no command or option name."))
    if not 1 <= len(item.get("description") or "") <= 100:
        problems.append((f"{path}.description", "Must be between 1 and 100 in length."))
    options = item.get("options") or []
    if len(options) > 25:
        problems.append((f"{path}.options", "Must be 25 or fewer in length."))
    seen_optional = False
    for index, option in enumerate(options):
        here = f"{path}.options.{index}"
        if option.get("required") and seen_optional:
            problems.append((here, "Required options must be placed before non-required options."))
        seen_optional = seen_optional or (option.get("type") not in (1, 2) and not option.get("required"))
        if len(option.get("choices") or []) > 25:
            problems.append((f"{here}.choices", "Must be 25 or fewer in length."))
        if option.get("autocomplete") and option.get("choices"):
            problems.append((here, "Autocomplete and choices exclude each other."))
        problems += _named_problems(option, here)
    twice = [name for name, times in Counter(o.get("name") for o in options).items() if times > 1]
    return problems + [(f"{path}.options", f"The option name {name!r} is used twice.") for name in twice]


def _characters(item: Json) -> int:
    """Names, descriptions and choice values together, the longest localisation counting for each."""
    total = 0
    for key in ("name", "description"):
        localised = (item.get(f"{key}_localizations") or {}).values()
        total += max([len(item.get(key) or ""), *map(len, localised)])
    total += sum(len(choice["name"]) + len(str(choice["value"])) for choice in item.get("choices") or [])
    return total + sum(_characters(option) for option in item.get("options") or [])


CALLBACKS_FOR = {
    2: {4, 5, 9, 12},  # command
    3: {4, 5, 6, 7, 9, 12},  # component
    4: {8},  # autocomplete
    5: {4, 5, 6, 7, 12},  # modal submit
}
"""Interaction type -> callback types Discord accepts as its answer."""
