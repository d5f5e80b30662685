"""Why something is not done: one sentence per code, each says what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bot.errors import Refusal, RefusalCode
from bot.ui import format as fmt
from bot.ui.language import Forms, Words, _
from bot.ui.text import counts, refused_files
from bot.ui.text import facts as given
from bot.ui.text.facts import Facts
from bot.ui.text.plain_refusals import PLAIN
from bot.ui.text.problems import lora_problem
from bot.ui.text.words import STATUS_WORDS, WINDOW_WORDS, both, either
from engine.contracts.lora import MAX_STACK, MAX_WEIGHT


def refusal(error: Refusal) -> str:
    """One sentence that says what to do; a fact that is missing never makes the answer fail."""
    return PLAIN[error.code] if error.code in PLAIN else _REFUSALS[error.code](error.facts)


def _name_taken(facts: Facts) -> str:
    name = given.code(facts, "name")
    if facts.get("training"):
        return _("A LoRA named {name} is being trained right now; choose another name, or wait for it in `/jobs`.", name=name)
    next_name = fmt.code(_next_name(str(facts.get("name", ""))))
    if facts.get("by_self"):
        return _(
            "You already have a LoRA named {name}: press **New version** on its card in `/loras show`, or choose another "
            "name such as {next_name}.",
            name=name,
            next_name=next_name,
        )
    return _("Somebody here already has a LoRA named {name}; choose another name such as {next_name}.", name=name, next_name=next_name)


def _next_name(name: str) -> str:
    stem = name.rstrip("0123456789") or name
    digits = name[len(stem) :]
    suffix = str(int(digits) + 1) if digits else "2"
    return f"{stem[: 16 - len(suffix)]}{suffix}"


def _lora_unknown(facts: Facts) -> str:
    nearest = [fmt.code(str(name)) for name in given.items(facts, "nearest")]
    advice = (
        _("did you mean {nearest}?", nearest=either(nearest))
        if nearest
        else _("`/loras browse` shows what you can use, and `/train` makes a new one.")
    )
    return _("There is no LoRA named {name} here; {advice}", name=given.code(facts, "name"), advice=advice)


def _lora_other_base(facts: Facts) -> str:
    return _(
        "{name} was trained for {base} and cannot run on {wanted}; leave it out, or train it again here.",
        name=given.code(facts, "name"),
        base=given.string(facts, "base"),
        wanted=given.string(facts, "wanted"),
    )


def _lora_withheld(facts: Facts) -> str:
    if facts.get("reason") == "likeness":
        return _(
            "{name} shows a real person who has not agreed, or does no longer, so nobody can use it; leave it out.",
            name=given.code(facts, "name"),
        )
    return _("{name} was taken down after a report, so nobody can use it; leave it out.", name=given.code(facts, "name"))


def _because(facts: Facts) -> str:
    reason = str(facts.get("reason") or "").strip().rstrip(".")
    return f" ({fmt.safe(reason, 120)})" if reason else ""


def _rule_invalid(facts: Facts) -> str:
    match facts.get("problem"):
        case "syntax":
            return _("This is no pattern I can use; write a regular expression without look-around and back references, such as `gr[ae]y`.")
        case "matches_everything":
            return _("This would forbid every prompt; write a narrower one.")
    return _("A rule has 1 to {limit} characters; shorten it.", limit=given.whole(facts, "limit"))


def _prompt_too_long(facts: Facts) -> str:
    length, limit = (fmt.number(given.whole(facts, key)) for key in ("length", "limit"))
    if facts.get("field") == "negative":
        return _("The negative prompt has {length} characters, at most {limit} are read; shorten it.", length=length, limit=limit)
    return _("The prompt has {length} characters, at most {limit} are read; shorten it.", length=length, limit=limit)


def _quota_exceeded(facts: Facts) -> str:
    needed, left, limit = (counts.units(given.whole(facts, key)) for key in ("needed", "left", "limit"))
    window, scope, back = str(facts.get("window")), str(facts.get("scope")), given.number(facts, "resets_at")
    if scope == "member" and given.whole(facts, "limit") == 0:
        return _(
            "This costs {needed}, and people here only have units with certain roles; ask somebody who manages the server for one.",
            needed=needed,
        )
    if given.whole(facts, "needed") > given.whole(facts, "limit"):
        per = _PER.get(window) or _PER["day"]
        if scope == "server":
            whose = _("the {limit} this whole server has {per}", limit=limit, per=per)
        else:
            whose = _("the {limit} a person has {per} here", limit=limit, per=per)
        return _("This costs {needed}, more than {whose}; ask for less, such as a shorter clip.", needed=needed, whose=whose)
    known = {"needed": needed, "left": left, "limit": limit, "window": WINDOW_WORDS.get(window) or WINDOW_WORDS["day"]}
    known |= {"when": fmt.relative(back), "clock": fmt.clock(back)}
    if scope == "server":
        return _("This costs {needed} and this server has {left} of its {limit} left {window}; they return {when} (at {clock}).", **known)
    if scope == "member":
        return _(
            "This costs {needed} and you have {left} of {limit} left {window} in this server; they return {when} (at {clock}).", **known
        )
    return _("This costs {needed} and you have {left} of {limit} left {window}; they return {when} (at {clock}).", **known)


_PER = Words({"day": "per day", "week": "per week", "month": "per month"})


def _seconds_out_of_range(facts: Facts) -> str:
    return _(
        "A clip is {minimum} to {maximum} seconds long; choose a length in between.",
        minimum=fmt.number(given.number(facts, "minimum")),
        maximum=fmt.number(given.number(facts, "maximum")),
    )


def _channel_forbidden(facts: Facts) -> str:
    missing = both([_PERMISSIONS.get(name) or fmt.safe(name) for name in map(str, given.items(facts, "missing"))]) or _(
        "the right permissions"
    )
    return _(
        "I cannot post here because I lack {missing} in this channel; use another channel, or ask a moderator to allow it.", missing=missing
    )


_PERMISSIONS = Words(
    {
        "View Channel": "View Channel",
        "Send Messages": "Send Messages",
        "Send Messages in Threads": "Send Messages in Threads",
        "Attach Files": "Attach Files",
    }
)
"""As Discord calls them in its settings."""

_FEATURES = Words(
    {
        "training": "Training a LoRA",
        "long_clips": "A clip of this length",
    }
)


def _plan_needed(facts: Facts) -> str:
    feature, needed = _FEATURES.get(str(facts.get("feature"))) or _("This"), given.string(facts, "needed", "premium")
    if facts.get("ended_at") is None:
        return _(
            "{feature} is part of the {needed} plan, yours here is {plan}; `/quota` shows what it includes.",
            feature=feature,
            needed=needed,
            plan=given.string(facts, "plan", "free"),
        )
    ended, at = given.string(facts, "ended", "premium"), fmt.relative(given.number(facts, "ended_at"))
    return _(
        "{feature} is part of the {needed} plan, and your {ended} plan ended {at}; renew it to go on, `/quota` shows your plan.",
        feature=feature,
        needed=needed,
        ended=ended,
        at=at,
    )


def _blocked(facts: Facts) -> str:
    reason = f" ({given.code(facts, 'reason', 200)})" if facts.get("reason") else ""
    if facts.get("everywhere"):
        return _("You are blocked from using this bot{reason}; ask the people who run it.", reason=reason)
    return _("You are blocked from using this bot in this server{reason}; ask somebody who manages the server.", reason=reason)


def _channel_closed(facts: Facts) -> str:
    channels = [f"<#{channel}>" for channel in given.items(facts, "channels")[:3]]
    return _("I do not work in this channel; use {channels} instead.", channels=either(channels) or _("another channel"))


def _job_over(facts: Facts) -> str:
    return _(
        "This job is over already ({status}), so there is nothing to stop; see `/jobs`.",
        status=STATUS_WORDS.get(str(facts.get("status"))) or _("ended"),
    )


def _nobody_serves(facts: Facts) -> str:
    lack, trains = str(facts.get("lack")), str(facts.get("lane")) == "train"
    if lack == "version":
        why = _("This asks for something new, and the GPU workers are still being updated")
    elif lack == "memory" and trains:
        why = _("No GPU worker that is up has enough memory for this: none trains with this model")
    elif lack == "memory":
        why = _("No GPU worker that is up has enough memory for this: none makes clips with this model")
    else:
        why = _("No GPU worker that is up trains") if trains else _("No GPU worker that is up makes clips")
    return _("{why}, so nothing was started or charged; ask the bot's operator, or try again later.", why=why)


_JOBS_OPEN = Forms(
    "You have {number} job open of {limit} at most; wait for one or cancel one in `/jobs`.",
    "You have {number} jobs open of {limit} at most; wait for one or cancel one in `/jobs`.",
)
_JOBS_HERE = Forms(
    "You have {number} job waiting here of {limit} at most; wait for one or cancel one in `/jobs`.",
    "You have {number} jobs waiting here of {limit} at most; wait for one or cancel one in `/jobs`.",
)
_REFUSALS: Mapping[RefusalCode, Callable[[Facts], str]] = {
    RefusalCode.NO_USABLE_MEDIA: refused_files.no_usable_media,
    RefusalCode.ATTACHMENT_UNAVAILABLE: lambda f: _(
        "Discord did not hand over {filename}; attach it again.", filename=given.code(f, "filename", 40)
    ),
    RefusalCode.FILE_TOO_LARGE: refused_files.file_too_large,
    RefusalCode.TOO_MANY_ITEMS: lambda f: _(
        "A data set holds at most {limit} pictures and clips, this would make {items}; send the best ones only.",
        limit=given.whole(f, "limit"),
        items=given.whole(f, "items"),
    ),
    RefusalCode.ARCHIVE_REFUSED: refused_files.archive_refused,
    RefusalCode.IMAGE_UNUSABLE: refused_files.image_unusable,
    RefusalCode.NOT_VERIFIABLE: lambda f: _(
        "{filename} is neither a picture nor a clip; attach PNG, JPEG, WebP, MP4, MOV or WebM.", filename=given.code(f, "filename", 40)
    ),
    RefusalCode.DATASET_TOO_SMALL: refused_files.dataset_too_small,
    RefusalCode.DATASET_TEACHES_NOTHING: refused_files.teaches_nothing,
    RefusalCode.CONTROL_NEEDS_EFFECT: refused_files.control_needs_effect,
    RefusalCode.DATASET_CLOSED: lambda f: (
        _("This data set was started already; follow its training in `/jobs`.")
        if "start" in str(f.get("state", "start"))
        else _("This data set was closed; start again with `/train`.")
    ),
    RefusalCode.NAME_INVALID: lambda f: _(
        "{name} cannot be a name; use 2 to 16 small letters, digits, `-` or `_`, with no sign in front, such as `zoko`.",
        name=given.code(f, "name", 40),
    ),
    RefusalCode.NAME_TAKEN: _name_taken,
    RefusalCode.TRIGGER_INVALID: lambda f: _(
        "{trigger} cannot be a trigger; use 1 to 32 plain letters, digits, spaces, `-` or `_`, such as `zoko`.",
        trigger=given.code(f, "trigger", 40),
    ),
    RefusalCode.LORA_UNKNOWN: _lora_unknown,
    RefusalCode.LORA_NOT_READY: lambda f: _(
        "{name} is still being trained; `/jobs` shows when it is ready, then try again.", name=given.code(f, "name")
    ),
    RefusalCode.LORA_WITHHELD: _lora_withheld,
    RefusalCode.LORA_BUSY: lambda f: _(
        "{name} is still being trained; wait until `/jobs` says that it is done.", name=given.code(f, "name")
    ),
    RefusalCode.LORA_FILE: lambda f: _(
        "{filename} {problem}; send a safetensors LoRA that was made for this model.",
        filename=given.code(f, "filename", 40),
        problem=lora_problem(f.get("problem")),
    ),
    RefusalCode.EXAMPLES_TOO_LONG: lambda f: _(
        "At most {limit} prompts of {max_length} characters each stand on a card; shorten them.",
        limit=given.whole(f, "limit"),
        max_length=given.whole(f, "max_length"),
    ),
    RefusalCode.CAST_UNKNOWN: lambda f: _(
        "There is no cast {name} here; `/cast list` shows those you can call.", name=given.code(f, "name")
    ),
    RefusalCode.CAST_EMPTY: lambda f: _(
        "Nothing of the cast {name} can be used here; save it anew with `/cast save`.", name=given.code(f, "name")
    ),
    RefusalCode.CASTS_FULL: lambda f: _(
        "You have {limit} casts, the most there can be; forget one with `/cast forget`.", limit=given.whole(f, "limit")
    ),
    RefusalCode.LORA_DUPLICATE: lambda f: _(
        "{name} is in the list twice; name it once and set its strength with a weight, such as `:1.2`.", name=given.code(f, "name")
    ),
    RefusalCode.LORA_OTHER_BASE: _lora_other_base,
    RefusalCode.STACK_TOO_LARGE: lambda f: _(
        "At most {limit} LoRAs go together, you named {count}; leave some out.",
        limit=given.whole(f, "limit") or MAX_STACK,
        count=given.whole(f, "count"),
    ),
    RefusalCode.STACK_SYNTAX: lambda f: _(
        "{text} is not a LoRA; write names with optional weights, such as `zoko:0.9, watercolour`.", text=given.code(f, "text", 40)
    ),
    RefusalCode.WEIGHT_INVALID: lambda f: _(
        "The weight {text} of {name} is not a number; write one from 0 to {limit}, such as `0.8`.",
        text=given.code(f, "text", 20),
        name=given.code(f, "name"),
        limit=fmt.number(MAX_WEIGHT),
    ),
    RefusalCode.WEIGHT_OUT_OF_RANGE: lambda f: _(
        "The weight {text} of {name} is out of range; choose one from 0 to {limit}, such as `0.8`.",
        text=given.code(f, "text", 20),
        name=given.code(f, "name"),
        limit=fmt.number(given.number(f, "limit", MAX_WEIGHT)),
    ),
    RefusalCode.PROMPT_TOO_LONG: _prompt_too_long,
    RefusalCode.SECONDS_OUT_OF_RANGE: _seconds_out_of_range,
    RefusalCode.ASPECT_UNKNOWN: lambda f: _(
        "{aspect} is no shape this model makes; choose {shapes}.",
        aspect=given.code(f, "aspect", 20),
        shapes=either([fmt.code(str(a)) for a in given.items(f, "known")]) or _("one from the list"),
    ),
    RefusalCode.CLIP_UNUSABLE: refused_files.clip_unusable,
    RefusalCode.SOURCES_CONFLICT: refused_files.sources_conflict,
    RefusalCode.GUIDE_MISSING: lambda f: _(
        "The effect {name} follows a video; attach one as `guide`, or leave the effect out.", name=given.code(f, "name")
    ),
    RefusalCode.STACK_WEIGHTS: lambda f: _(
        "The weights of this stack add up to {total}; between 0 and {limit} makes sense, such as 1 for one LoRA or "
        "`hero:0.9, watercolour:0.7` for two.",
        total=fmt.weight(given.number(f, "total")),
        limit=fmt.number(given.number(f, "limit", 4)),
    ),
    RefusalCode.SCENES_COUNT: lambda f: _(
        "A storyboard has {minimum} to {maximum} scenes, this one has {count}; write one scene per line.",
        minimum=given.whole(f, "minimum"),
        maximum=given.whole(f, "maximum"),
        count=given.whole(f, "count"),
    ),
    RefusalCode.SOURCE_TOO_LONG: lambda f: _(
        "This clip plays {seconds} seconds, at most {limit} can be made larger; choose a shorter one, or the clip it began with.",
        seconds=fmt.number(given.number(f, "seconds"), 1),
        limit=fmt.number(given.number(f, "limit"), 1),
    ),
    RefusalCode.SEED_OUT_OF_RANGE: lambda f: _(
        "A seed is a whole number from 0 to {limit}; choose one, or leave it out.", limit=fmt.number(given.whole(f, "limit"))
    ),
    RefusalCode.QUOTA_EXCEEDED: _quota_exceeded,
    RefusalCode.TOO_MANY_JOBS: lambda f: (_JOBS_HERE if f.get("here") else _JOBS_OPEN)(
        given.whole(f, "open"), limit=given.whole(f, "limit")
    ),
    RefusalCode.PLAN_NEEDED: _plan_needed,
    RefusalCode.LORA_FROZEN: lambda f: _(
        "{name} is frozen because the plan of its maker has ended; leave it out, or ask them to renew the plan.", name=given.code(f, "name")
    ),
    RefusalCode.STORAGE_FULL: lambda f: _(
        "Your LoRAs take {used} of {limit}; make room by deleting one in `/loras browse`.",
        used=fmt.megabytes(given.whole(f, "used")),
        limit=fmt.megabytes(given.whole(f, "limit")),
    ),
    RefusalCode.REASON_TOO_LONG: lambda f: _(
        "The reason has {length} characters, {limit} are kept; make it shorter.",
        length=fmt.number(given.whole(f, "length")),
        limit=fmt.number(given.whole(f, "limit")),
    ),
    RefusalCode.NOTHING_TO_REFUND: lambda f: (
        _("This job has not ended, so nothing was charged yet; use `/admin cancel` to stop it.")
        if f.get("open")
        else _("This job was charged nothing, or it was given back already; choose another one.")
    ),
    RefusalCode.SETTING_OUT_OF_RANGE: lambda f: _(
        "{value} is no number for {name}; choose one from {minimum} to {maximum}.",
        value=given.string(f, "value"),
        name=given.string(f, "name"),
        minimum=fmt.number(given.whole(f, "minimum")),
        maximum=fmt.number(given.whole(f, "maximum")),
    ),
    RefusalCode.TOO_MANY_PLACES: lambda f: _(
        "A list holds at most {limit}; take one off before you add another.", limit=given.whole(f, "limit")
    ),
    RefusalCode.BLOCKED: _blocked,
    RefusalCode.CHANNEL_CLOSED: _channel_closed,
    RefusalCode.JOB_OVER: _job_over,
    RefusalCode.PROMPT_FORBIDDEN: lambda f: _(
        "{match} is not allowed in prompts here{because}; leave it out and try again.", match=given.code(f, "match"), because=_because(f)
    ),
    RefusalCode.RULE_INVALID: _rule_invalid,
    RefusalCode.RULES_FULL: lambda f: _(
        "There are {limit} rules, the most a server can have; remove one with `/rules list`.", limit=given.whole(f, "limit")
    ),
    RefusalCode.UPLOAD_ADULT: lambda f: _(
        "{filename} looks like adult content, which is not allowed in this channel; leave it out and try again.",
        filename=given.code(f, "filename", 40),
    ),
    RefusalCode.CHANNEL_FORBIDDEN: _channel_forbidden,
    RefusalCode.NOBODY_SERVES: _nobody_serves,
}
