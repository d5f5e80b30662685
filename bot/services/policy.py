"""Who may do what: one rule per command, button, form and autocomplete, and the one function that applies it.

Actions are named as people meet them: `/admin grant` a command, `/generate:loras` the autocomplete of an option, `job:again` a button
(the first two parts of its `custom_id`), `form:files` a form. An action without a rule does not exist: the client refuses to start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import Refusal, RefusalCode
from bot.services.plans import Feature, Standing, plan_needed
from bot.services.servers import ServerSettings
from bot.services.values import Actor
from bot.storage.blocks import EVERYWHERE, Block


class Who(StrEnum):
    """Whom an action is for. The operator, who runs this bot, counts as an admin of every server."""

    ANYONE = "anyone"
    OWNER = "owner"  # of the job, data set, … the button acts on
    OWNER_OR_ADMIN = "owner_or_admin"  # …, or who manages the server it belongs to
    ADMIN = "admin"  # who manages the server
    OPERATOR = "operator"


@dataclass(frozen=True)
class Rule:
    """What an action asks of a person and a place."""

    who: Who = Who.ANYONE
    feature: Feature | None = None  # of their plan
    works: bool = False  # makes or shows something: only in the server's channels, only for its roles
    agreed: bool = False  # only for people who agreed to the terms
    blocked_may: bool = False  # open to people who are blocked: what they need to see, stop or delete what is theirs


_OWN = Rule(blocked_may=True)
_MINE = Rule(Who.OWNER, blocked_may=True)
_WORK = Rule(works=True)
_TRAINING = Rule(works=True, feature=Feature.TRAINING, agreed=True)
_MAKING = Rule(works=True, agreed=True)
_AGAIN = Rule(Who.OWNER, works=True, agreed=True)
_ADMIN = Rule(Who.ADMIN)

POLICY: Mapping[str, Rule] = {
    "/train": _TRAINING,
    "/generate": _MAKING,
    "/generate:loras": _WORK,
    "/Make a clip of this": _MAKING,
    "/storyboard": _MAKING,
    "/generate:seconds": _WORK,
    "/storyboard:loras": _WORK,
    "/verify": _OWN,
    "/loras browse": _WORK,
    "/loras show": _WORK,
    "/loras show:name": _WORK,
    "/loras import": _TRAINING,
    "/cast save": _WORK,
    "/cast save:loras": _WORK,
    "/cast list": _WORK,
    "/cast forget": _OWN,
    "/jobs": _OWN,
    "/quota": _OWN,
    "/privacy about": _OWN,
    "/privacy export": _OWN,
    "/privacy delete": _OWN,
    "/privacy likeness": _OWN,
    "me:forget": _OWN,
    "/settings show": _ADMIN,
    "/settings channels": _ADMIN,
    "/settings roles": _ADMIN,
    "/settings limits": _ADMIN,
    "/settings server": _ADMIN,
    "/settings defaults": _ADMIN,
    "/settings defaults:loras": _ADMIN,
    "/settings content": _ADMIN,
    "/settings language": _ADMIN,
    "/settings log": _ADMIN,
    "/admin usage": _ADMIN,
    "/admin grant": Rule(Who.OPERATOR),
    "/admin block": _ADMIN,
    "/admin unblock": _ADMIN,
    "/admin refund": _ADMIN,
    "/admin refund:job": _ADMIN,
    "/admin cancel": _ADMIN,
    "/admin cancel:job": _ADMIN,
    "/admin takedown": _ADMIN,
    "/admin takedown:job": _ADMIN,
    "/help": _OWN,
    "terms:agree": _OWN,
    "/report": _OWN,
    "/reports open": _ADMIN,
    "/reports log": _ADMIN,
    "/rules add": _ADMIN,
    "/rules list": _ADMIN,
    "report:uphold": _ADMIN,  # of which server is the service's to say
    "report:dismiss": _ADMIN,
    "rule:remove": _ADMIN,
    "likeness:grant": _OWN,  # whose likeness it is, too
    "likeness:refuse": _OWN,
    "likeness:revoke": _OWN,
    "job:report": _OWN,
    "form:report": _OWN,
    "job:again": _AGAIN,
    "job:vary": _AGAIN,
    "job:extend": _AGAIN,
    "job:upscale": _AGAIN,
    "job:animate": _AGAIN,
    "job:cancel": Rule(Who.OWNER_OR_ADMIN, blocked_may=True),
    "job:delete": Rule(Who.OWNER_OR_ADMIN, blocked_may=True),
    "job:share": Rule(Who.OWNER, works=True),
    "job:unshare": _MINE,
    "set:add": Rule(Who.OWNER, Feature.TRAINING, works=True),
    "set:start": Rule(Who.OWNER, Feature.TRAINING, works=True, agreed=True),
    "set:discard": _MINE,
    "set:show": _MINE,
    "set:captions": _MINE,
    "set:caption": _MINE,
    "shelf:page": _WORK,
    "shelf:back": _WORK,
    "shelf:next": _WORK,
    "lora:show": _WORK,  # who sees which LoRA is the library's to say, so for its download too
    "lora:download": _OWN,
    "lora:edit": _MINE,
    "lora:versions": _MINE,
    "lora:delete": _MINE,
    "lora:erase": _MINE,
    "lora:renew": Rule(Who.OWNER, Feature.TRAINING, works=True),
    "version:use": _MINE,
    "form:files": Rule(Who.OWNER, Feature.TRAINING, works=True),
    "form:captions": _MINE,
    "form:remix": _MAKING,
    "form:edit": _MINE,
}


@dataclass(frozen=True)
class Subject:
    """What a button acts on."""

    owner_id: int
    guild_id: int | None


@dataclass(frozen=True)
class Situation:
    """Everything a rule may ask about."""

    actor: Actor
    channels: tuple[int, ...]  # the channel, and its parent when it is a thread
    settings: ServerSettings
    block: Block | None = None
    standing: Standing | None = None  # None: the rule asks for no feature
    subject: Subject | None = None
    unknown: RefusalCode = RefusalCode.JOB_UNKNOWN  # what is said of a subject that is not there
    operator: bool = False

    @property
    def admin(self) -> bool:
        """True for who manages this server, and for the operator."""
        return self.operator or self.actor.is_admin


def verdict(rule: Rule, situation: Situation) -> Refusal | None:
    """Why the action is refused; None when it is not."""
    return _blocked(rule, situation) or _elsewhere(rule, situation) or _not_entitled(rule, situation) or _beyond_plan(rule, situation)


def _blocked(rule: Rule, situation: Situation) -> Refusal | None:
    block = situation.block
    if block is None or rule.blocked_may:
        return None
    return Refusal(RefusalCode.BLOCKED, reason=block.reason, everywhere=block.guild_id == EVERYWHERE)


def _elsewhere(rule: Rule, situation: Situation) -> Refusal | None:
    """The server's channels bind everybody, its roles everybody but those who manage it."""
    settings = situation.settings
    if not rule.works:
        return None
    if settings.channels and not settings.channels.intersection(situation.channels):
        return Refusal(RefusalCode.CHANNEL_CLOSED, channels=sorted(settings.channels))
    if settings.roles and not situation.admin and not settings.roles.intersection(situation.actor.role_ids):
        return Refusal(RefusalCode.ROLE_NEEDED)
    return None


def _not_entitled(rule: Rule, situation: Situation) -> Refusal | None:
    match rule.who:
        case Who.ANYONE:
            return None
        case Who.ADMIN:
            if situation.actor.guild_id is None:
                return Refusal(RefusalCode.NOT_IN_GUILD)
            return None if situation.admin else Refusal(RefusalCode.NOT_ADMIN)
        case Who.OPERATOR:
            return None if situation.operator else Refusal(RefusalCode.NOT_OPERATOR)
    subject, actor = situation.subject, situation.actor
    if subject is None:
        return Refusal(situation.unknown)
    if subject.owner_id == actor.user_id:
        return None
    if subject.guild_id is None or subject.guild_id != actor.guild_id:
        return Refusal(situation.unknown)  # a guessed id of another server tells nothing, not even that it exists
    return None if rule.who is Who.OWNER_OR_ADMIN and situation.admin else Refusal(RefusalCode.NOT_OWNER)


def _beyond_plan(rule: Rule, situation: Situation) -> Refusal | None:
    standing = situation.standing
    if rule.feature is None or standing is None or standing.terms.has(rule.feature):
        return None
    return plan_needed(rule.feature, standing)
