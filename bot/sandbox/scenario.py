"""The scenario format: a YAML file that says who does what in which channel, and what must come of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from bot.sandbox.errors import ScenarioError
from bot.sandbox.sources import Files, LinkOf, Part, Pick

Expect = Literal["accepted", "refused"]
Where = Literal["last_video", "last_card", "own_card", "last_reply"]
Status = Literal["queued", "dispatched", "running", "succeeded", "failed", "cancelled"]


class ChannelSpec(Part):
    """A channel and what the bot may not do there."""

    name: str
    deny: tuple[str, ...] = ()


class GuildPart(Part):
    """The server everything happens in."""

    name: str = "Studio"
    premium_tier: int = Field(default=0, ge=0, le=3)
    file_limit: int | None = None  # bytes, None for the tier's
    channels: tuple[ChannelSpec, ...] = (ChannelSpec(name="general"),)
    locale: str = "en-US"

    @field_validator("channels", mode="before")
    @classmethod
    def _names_are_channels(cls, value: Any) -> Any:
        return [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


class PersonPart(Part):
    """Somebody with more or less than the defaults. `guild`: where they are, by the server's name; the first one if left out."""

    permissions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    guild: str | None = None
    accepts_dms: bool = True
    locale: str = "en-US"  # the language of their Discord
    operator: bool = False  # one of those who run this bot


class Step(Part):
    """One thing that happens. `note` is printed above it."""

    note: str | None = None


class _Act(Step):
    who: str = Field(alias="as")
    where: str = Field(default="general", alias="in")
    expect: Expect | None = None
    says: str | None = None  # text the answer must contain


class CommandStep(_Act):
    """`command: train` with `options` and files in `attach`; more files than one command takes are sent as a person would."""

    command: str
    options: dict[str, str | int | float | bool | LinkOf | Pick] = Field(default_factory=dict)
    attach: dict[str, Files] | Files | None = None


class PressStep(_Act):
    """`press: again` on the newest video, status card or answer.

    `fill`: fields of the form it opens, by name or label; `attach`: files for the data set whose card it opens.
    """

    press: str
    on: Where = "last_reply"
    fill: dict[str, str] = Field(default_factory=dict)
    attach: Files | None = None


class AutocompleteStep(_Act):
    """`autocomplete: generate` with `option` and `text` typed so far; all of `offers` must be among the choices, none of `hides`."""

    autocomplete: str
    option: str
    text: str = ""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    offers: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()


class SayStep(_Act):
    """An ordinary message of a person."""

    say: str
    attach: Files | None = None


class VisitStep(Step):
    """`visit: maker` opens the newest link the bot gave that person, or an address `below` it; `part`: its first bytes only."""

    visit: str
    below: str = ""
    part: bool = False
    status: int = 200
    says: str | None = None  # text the page must contain
    hides: str | None = None  # text it must not contain


class WaitStep(Step):
    """`wait_for: job` (the newest of a person) or `wait_for: message` (the first that no earlier wait has taken)."""

    wait_for: Literal["job", "message"]
    of: str | None = None
    name: str | None = None  # of the LoRA a training makes
    status: Status = "succeeded"
    steps: int = Field(default=0, ge=0)  # that a checkpoint or preview has reported
    where: str = Field(default="general", alias="in")
    with_: Literal["video", "picture", "buttons"] | None = Field(default=None, alias="with")
    says: str | None = None
    within_s: float = Field(default=60.0, gt=0)


class RestartStep(Step):
    """Stop with SIGTERM and start again."""

    restart: Literal["bot", "worker"]


class KillStep(Step):
    """SIGKILL; a killed worker is started again after `again_after_s`, if given."""

    kill: Literal["bot", "worker"]
    again_after_s: float | None = 1.0


class Outage(Part):
    """How long."""

    for_s: float = Field(gt=0)


class StopRedisStep(Step):
    """Redis is gone for some seconds; the scenario goes on meanwhile when `meanwhile` has steps."""

    stop_redis: Outage
    meanwhile: tuple[AnyStep, ...] = ()


class Minutes(Part):
    """An amount of time."""

    minutes: float = Field(gt=0)


class AdvanceClockStep(Step):
    """Everybody's clock jumps forward."""

    advance_clock: Minutes


class Purchase(Part):
    """Who gets what. `ends_in`: a subscription that was cancelled already."""

    to: str
    sku: str
    for_guild: bool = False
    ends_in: Minutes | None = None


class Bought(Part):
    """What somebody has bought before. `ends_in`: with ending, when."""

    of: str
    sku: str
    ends_in: Minutes | None = None


class GrantStep(Step):
    """An entitlement."""

    grant: Purchase


class EndStep(Step):
    """Somebody cancels a subscription: it runs out now, or after a while."""

    end_purchase: Bought


class RefundStep(Step):
    """Discord gives somebody their money back."""

    refund_purchase: Bought


class DeleteChannelStep(Step):
    """A moderator deletes a channel."""

    delete_channel: str


class FaultPart(Part):
    """See `bot.sandbox.faults.Fault`."""

    route: str
    status: int = 500
    when: Literal["before", "after"] = "before"
    times: int = 1
    retry_after_s: float = 0.2


class FaultStep(Step):
    """The next matching calls go wrong."""

    fault: FaultPart


class DropStep(Step):
    """The bot's gateway connection is cut."""

    drop_gateway: Literal[True]


class TogetherStep(Step):
    """Steps that happen at the same time."""

    together: tuple[AnyStep, ...]


AnyStep = (
    CommandStep
    | PressStep
    | AutocompleteStep
    | SayStep
    | VisitStep
    | WaitStep
    | RestartStep
    | KillStep
    | StopRedisStep
    | AdvanceClockStep
    | GrantStep
    | EndStep
    | RefundStep
    | DeleteChannelStep
    | FaultStep
    | DropStep
    | TogetherStep
)

_KEYS: dict[str, type[Step]] = {
    "command": CommandStep,
    "press": PressStep,
    "autocomplete": AutocompleteStep,
    "say": SayStep,
    "visit": VisitStep,
    "wait_for": WaitStep,
    "restart": RestartStep,
    "kill": KillStep,
    "stop_redis": StopRedisStep,
    "advance_clock": AdvanceClockStep,
    "grant": GrantStep,
    "end_purchase": EndStep,
    "refund_purchase": RefundStep,
    "delete_channel": DeleteChannelStep,
    "fault": FaultStep,
    "drop_gateway": DropStep,
    "together": TogetherStep,
}

StopRedisStep.model_rebuild()
TogetherStep.model_rebuild()


class Scenario(Part):
    """A whole file. `settings` are settings of bot and worker by name; `folder` is where relative paths start."""

    title: str | None = None
    guild: GuildPart = GuildPart()
    other_guilds: tuple[GuildPart, ...] = ()
    skus: dict[str, Literal["premium", "enterprise"]] = Field(default_factory=dict)  # what is sold, by name, and the plan it grants
    people: dict[str, PersonPart] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    rate_limits: bool = False
    steps: tuple[AnyStep, ...] = Field(min_length=1)
    folder: Path = Path()

    @field_validator("steps", mode="before")
    @classmethod
    def _each_step_by_its_key(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        steps, problems = [], []
        for number, item in enumerate(value, 1):
            try:
                steps.append(_step(item, f"step {number}"))
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return steps


def _dotted(error: Any) -> str:
    return ".".join(map(str, error["loc"])) or "scenario"


def _step(item: Any, place: str) -> Step:
    if not isinstance(item, dict):
        raise ValueError(f"{place} is not a mapping")  # noqa: TRY004  pydantic collects ValueError only
    kinds = [key for key in _KEYS if key in item]
    if len(kinds) != 1:
        raise ValueError(f"{place} needs exactly one of {', '.join(_KEYS)}; it has {', '.join(kinds) or 'none'}")
    nested = {
        key: [_step(inner, f"{place}, {key} {number}") for number, inner in enumerate(item[key], 1)]
        for key in ("together", "meanwhile")
        if isinstance(item.get(key), list)
    }
    try:
        return _KEYS[kinds[0]].model_validate(item | nested)
    except ValidationError as error:
        problems = "; ".join(f"{_dotted(e)}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{place} ({kinds[0]}): {problems}") from None


class _Loader(yaml.SafeLoader):
    """Booleans as in YAML 1.2: `true` and `false` only, so that the key `on` stays a word."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), ["t", "f"])


def load_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        ScenarioError: one line per mistake.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a SafeLoader
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path} is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path} is not a scenario: it has no `steps`")
    try:
        return Scenario.model_validate({**raw, "folder": path.resolve().parent})
    except ValidationError as error:
        lines = [
            e["msg"].removeprefix("Value error, ") if e["loc"] == ("steps",) and e["type"] == "value_error" else f"{_dotted(e)}: {e['msg']}"
            for e in error.errors()
        ]
        raise ScenarioError("\n".join(lines)) from None
