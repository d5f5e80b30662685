"""What prompts may not say: words and patterns of a server, and of the operator for every server.

Patterns run on RE2, whose time grows linearly with the text (Cox 2007, "Regular Expression Matching Can Be Simple And Fast"): no pattern an
admin writes can hang the bot, however it is built.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import re2
from ulid import ULID

from bot.clock import Clock
from bot.errors import Refusal, RefusalCode
from bot.services.audit import Audit
from bot.services.values import Actor
from bot.storage import prompt_rules as table
from bot.storage.database import Database
from bot.storage.prompt_rules import EVERYWHERE, PromptRule, RuleKind
from engine.contracts.jobs import GenerateVideo, TrainLora

MAX_RULES = 200  # of one server
MAX_EXPRESSION_CHARS = 200
MAX_REASON_CHARS = 200
PROGRAM_BYTES = 1 << 20
"""Memory one compiled pattern may take; a larger one is refused when it is added."""


@dataclass(frozen=True)
class PromptRules:
    """Checked once for every job, at the place all of them pass (`Jobs._insert`)."""

    database: Database
    audit: Audit
    clock: Clock
    operators: frozenset[int]
    _compiled: dict[str, Any] = field(default_factory=dict)
    """By rule id; an id never changes its expression."""

    async def add(self, actor: Actor, kind: RuleKind, expression: str, reason: str, *, everywhere: bool = False) -> PromptRule:
        """Forbid a word or a pattern in the actor's server, or (operator only) everywhere.

        Raises:
            Refusal: RULE_INVALID with what is wrong, RULES_FULL, NOT_OPERATOR, NOT_IN_GUILD.
        """
        guild_id = self._scope(actor, everywhere=everywhere)
        text = _plain(expression).strip() if kind is RuleKind.PATTERN else _normal(expression)
        if not text or len(text) > MAX_EXPRESSION_CHARS or len(reason) > MAX_REASON_CHARS:
            raise Refusal(RefusalCode.RULE_INVALID, problem="length", limit=MAX_EXPRESSION_CHARS)
        rule = PromptRule(str(ULID()), guild_id, kind, text, reason.strip(), actor.user_id, self.clock())
        if _compile(rule).search(""):
            raise Refusal(RefusalCode.RULE_INVALID, problem="matches_everything", limit=MAX_EXPRESSION_CHARS)
        async with self.database.transaction() as tx:
            if len([each for each in await table.of(tx, guild_id) if each.guild_id == guild_id]) >= MAX_RULES:
                raise Refusal(RefusalCode.RULES_FULL, limit=MAX_RULES)
            await table.insert(tx, rule)
            await self.audit.note(tx, actor, "rule_added", f"{kind}: {text}")
        return rule

    async def listed(self, actor: Actor) -> list[PromptRule]:
        """Rules that hold in the actor's server."""
        return await table.of(self.database.reader, actor.guild_id or EVERYWHERE)

    async def remove(self, rule_id: str, actor: Actor) -> PromptRule:
        """Take a rule back.

        Raises:
            Refusal: RULE_UNKNOWN, also for one of another server; NOT_OPERATOR for one that holds everywhere.
        """
        rule = await table.get(self.database.reader, rule_id)
        if rule is None or rule.guild_id not in (EVERYWHERE, actor.guild_id):
            raise Refusal(RefusalCode.RULE_UNKNOWN)
        if rule.guild_id == EVERYWHERE and actor.user_id not in self.operators:
            raise Refusal(RefusalCode.NOT_OPERATOR)
        async with self.database.transaction() as tx:
            await table.delete(tx, rule_id)
            await self.audit.note(tx, actor, "rule_removed", f"{rule.kind}: {rule.expression}")
        self._compiled.pop(rule_id, None)
        return rule

    async def check(self, texts: Iterable[str], guild_id: int | None) -> None:
        """Return when nothing in `texts` breaks a rule of the server.

        Raises:
            Refusal: PROMPT_FORBIDDEN with the words that matched and the reason.
        """
        rules = await table.of(self.database.reader, guild_id or EVERYWHERE)
        if not rules:
            return
        for text in texts:
            plain = _normal(text)
            for rule in rules:
                found = self._pattern(rule).search(plain)
                if found:
                    raise Refusal(RefusalCode.PROMPT_FORBIDDEN, match=found.group(0)[:60], reason=rule.reason)

    def _pattern(self, rule: PromptRule) -> Any:
        if rule.rule_id not in self._compiled:
            self._compiled[rule.rule_id] = _compile(rule)
        return self._compiled[rule.rule_id]

    def _scope(self, actor: Actor, *, everywhere: bool) -> int:
        if everywhere:
            if actor.user_id not in self.operators:
                raise Refusal(RefusalCode.NOT_OPERATOR)
            return EVERYWHERE
        if actor.guild_id is None:
            raise Refusal(RefusalCode.NOT_IN_GUILD)
        return actor.guild_id


def spoken(job: GenerateVideo | TrainLora) -> list[str]:
    """Everything a person wrote in a job that a model will read."""
    if isinstance(job, TrainLora):
        return [job.name, job.trigger or "", job.preview_prompt, *(item.caption or "" for item in job.items)]
    scenes = job.storyboard.scenes if job.storyboard is not None else ()
    return [job.prompt, *(scene.prompt for scene in scenes)]


def _compile(rule: PromptRule) -> Any:
    """The rule as an RE2 program over normalised text.

    Raises:
        Refusal: RULE_INVALID: no pattern, one with what RE2 leaves out (look-around, back references), or too large a one.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = PROGRAM_BYTES
    options.log_errors = False
    whole = rf"(?:^|[^\pL\pN_])({re.escape(rule.expression)})(?:$|[^\pL\pN_])" if rule.kind is RuleKind.WORD else rule.expression
    try:
        return re2.compile(whole, options=options)
    except re2.error:
        raise Refusal(RefusalCode.RULE_INVALID, problem="syntax", limit=MAX_EXPRESSION_CHARS) from None


def _normal(text: str) -> str:
    """`text` as rules see it: plain, without case, single spaces."""
    return " ".join(_plain(text.casefold()).split())


def _plain(text: str) -> str:
    """Compatibility forms folded, accents and invisible characters left out: `z\u200boḱo` is `zoko`."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if unicodedata.category(char) not in ("Cf", "Mn"))
