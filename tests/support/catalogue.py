"""Every sentence of `bot.ui` that is looked up, and every text there that is not, read from the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UI = Path(__file__).parents[2] / "bot" / "ui"
LOOKUPS = {"_", "later"}
COUNTED = {"counted", "Forms"}
UNREAD = {"cast", "TypeVar", "ContextVar", "re.compile", "fmt.code", "_line", "joinpath", "read_po", "resources.files"}
"""Calls whose literals nobody reads, and those for commands, which are typed the same everywhere."""
SENTENCE = re.compile(r"[A-Za-z]{2,}[,;:.]? [A-Za-z(]{2,}|\b[A-Z][a-z]+\b|\b[a-z]{3,}[.!?]$")
WORD = re.compile(r"[a-z]{2,}")
EXAMPLES = re.compile(r"_?[A-Z]+_(EXAMPLE|PROMPT)|_SCENES|CHANGED_[A-Z]+|LANGUAGES|__all__|_?T|Key")
"""Names of constants that are the same in every language: prompts, names of languages, what is stored with a notice."""


@dataclass(frozen=True)
class Source:
    """One sentence, with its plural if it has one."""

    one: str
    many: str | None
    where: str

    @property
    def forms(self) -> tuple[str, ...]:
        """One or both."""
        return (self.one,) if self.many is None else (self.one, self.many)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(UI.rglob("*.py")):
        if path.name != "language.py":
            yield str(path.relative_to(UI)), ast.parse(path.read_text())


def _literal(node: ast.expr, where: str) -> str:
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        raise TypeError(f"{where}: a lookup takes a literal, not {ast.unparse(node)}")
    return node.value


def _looked_up(node: ast.AST, where: str) -> list[Source]:
    """What a call looks up; nothing if it is no lookup."""
    if not isinstance(node, ast.Call):
        return []
    name = ast.unparse(node.func)
    if name in LOOKUPS:
        return [Source(_literal(node.args[0], where), None, where)]
    if name in COUNTED:
        return [Source(_literal(node.args[0], where), _literal(node.args[1], where), where)]
    if name == "Words" and isinstance(node.args[0], ast.Dict):
        return [Source(_literal(value, where), None, where) for value in node.args[0].values]
    return []


def sources() -> list[Source]:
    """Every sentence that is looked up."""
    return [
        source
        for name, module in _modules()
        for node in ast.walk(module)
        for source in _looked_up(node, f"{name}:{getattr(node, 'lineno', 0)}")
    ]


def bypasses() -> list[str]:
    """Literals with words that are shown without a lookup."""
    return [
        f"{name}:{node.lineno} {node.value!r}"
        for name, module in _modules()
        for node, parent in _shown(module, None)
        if _has_words(node.value, parent, text_module=name.startswith("text/"))
    ]


def _shown(node: ast.AST, parent: ast.AST | None) -> Iterator[tuple[ast.Constant, ast.AST | None]]:
    """String constants that are neither docstrings, keys, defaults of a lookup nor arguments of `UNREAD`."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node, parent
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        skipped = 2 if name in COUNTED else 1 if name in LOOKUPS else 0
        if name in UNREAD or name == "Words":
            return
        for child in [*node.args[skipped:], *(keyword.value for keyword in node.keywords if keyword.arg != "template")]:
            yield from _shown(child, node)
        return
    if isinstance(node, ast.Raise | ast.Assert | ast.Compare | ast.Subscript | ast.arguments | ast.AnnAssign) and not (
        isinstance(node, ast.AnnAssign) and node.value is not None
    ):
        return
    if isinstance(node, ast.Assign | ast.AnnAssign):
        target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        if EXAMPLES.fullmatch(target):
            return
        yield from _shown(node.value, node)  # type: ignore[arg-type]  # not None, see above
        return
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from _shown(value, node)
        return
    if isinstance(node, ast.ClassDef):
        for statement in node.body:
            yield from _shown(statement, node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _shown(child, node)


def _has_words(text: str, parent: ast.AST | None, *, text_module: bool) -> bool:
    if text.startswith(("/", "[")) or re.fullmatch(r"[\w.:~#/-]*[\d_:~#/][\w.:~#/-]*", text):
        return False  # commands, patterns, ids, file names, colours
    bare = re.sub(r"`[^`]*`|<[@#&:]\S*|\{\w*\}", "", text)
    if SENTENCE.search(bare):
        return True
    shown = isinstance(parent, ast.Return | ast.IfExp | ast.List | ast.BoolOp | ast.JoinedStr)
    return text_module and shown and WORD.search(bare) is not None
