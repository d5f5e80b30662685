"""Why something is not done: one sentence per code, each says what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bot.errors import Refusal, RefusalCode
from bot.ui import format as fmt
from bot.ui.text.findings import finding
from bot.ui.text.problems import lora_problem, problem
from bot.ui.text.words import KIND_ARTICLE, STATUS_WORDS, both, either
from engine.contracts.assessment import Assessment
from engine.contracts.lora import MAX_STACK, MAX_WEIGHT
from engine.contracts.media import MediaProblem

Facts = Mapping[str, object]


def refusal(error: Refusal) -> str:
    """One sentence that says what to do; a fact that is missing never makes the answer fail."""
    return _REFUSALS[error.code](error.facts)


def _string(facts: Facts, key: str, default: str = "?", limit: int = 80) -> str:
    value = facts.get(key)
    return default if value is None else fmt.safe(str(value), limit)


def _code(facts: Facts, key: str, limit: int = 60) -> str:
    value = facts.get(key)
    return fmt.code("?" if value is None else str(value), limit)


def _number(facts: Facts, key: str, default: float = 0) -> float:
    value = facts.get(key, default)
    return float(value) if isinstance(value, int | float) else float(default)


def _whole(facts: Facts, key: str) -> int:
    return int(_number(facts, key))


def _items(facts: Facts, key: str) -> list[object]:
    value = facts.get(key)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


FORMATS = "PNG, JPEG, WebP, MP4, MOV or WebM"


def _no_usable_media(facts: Facts) -> str:
    problems = [line for line in map(_verdict_line, _items(facts, "verdicts")) if line]
    if not problems:
        return f"None of these files can be used; attach {FORMATS} files."
    if len(problems) == 1:
        return f"This file cannot be used: {problems[0]}; attach {FORMATS} files."
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"None of these files can be used ({'; '.join(problems[:3])}{more}); attach {FORMATS} files."


def _verdict_line(verdict: object) -> str | None:
    filename, found = getattr(verdict, "filename", None), getattr(verdict, "problem", None)
    if filename is None or found is None:
        return None
    return f"{fmt.code(str(filename), 40)} {problem(found.code)}"


def _file_too_large(facts: Facts) -> str:
    size, limit = fmt.megabytes(_whole(facts, "size")), fmt.megabytes(_whole(facts, "limit"))
    return f"{_code(facts, 'filename', 40)} has {size}, the limit is {limit}; make it smaller or split it."


def _archive_refused(facts: Facts) -> str:
    return (
        f"The archive {_code(facts, 'filename', 40)} {problem(facts.get('problem'))}; "
        "send a plain zip with only pictures, clips and their .txt captions in it."
    )


def _image_unusable(facts: Facts) -> str:
    return f"The start picture {_code(facts, 'filename', 40)} {problem(facts.get('problem'))}; attach a PNG, JPEG or WebP."


_ROLES = {"image": "a start picture", "guide": "a guiding video", "clip": "a clip to change"}


def _clip_unusable(facts: Facts) -> str:
    what = "The guiding video" if facts.get("role") == "guide" else "The clip"
    code = facts.get("problem")
    advice = _CLIP_ADVICE.get(str(code), "attach an MP4, MOV or WebM")
    if code == MediaProblem.TOO_LONG:
        advice = f"shorten it to {_number(facts, 'limit'):.1f} seconds at most"
    return f"{what} {_code(facts, 'filename', 40)} {problem(code)}; {advice}."


_CLIP_ADVICE: Mapping[str, str] = {
    MediaProblem.SINGLE_FRAME: "send one that moves, or attach the picture as `image`",
    MediaProblem.VARIABLE_RATE: "save it with a constant frame rate and attach it again",
}


def _sources_conflict(facts: Facts) -> str:
    one, other = (_ROLES.get(str(facts.get(key)), "this") for key in ("one", "other"))
    return f"A clip is made from {one} or from {other}, not from both; leave one of them out."


def _teaches_nothing(facts: Facts) -> str:
    assessment = facts.get("assessment")
    reasons = [finding(found, assessment) for found in assessment.findings if found.blocks] if isinstance(assessment, Assessment) else []
    reason = "; ".join(reason.rstrip(".") for reason in reasons) or "This set would teach nothing"
    return f"{reason}; nothing was started or charged: add other files with **Add pictures**."


def _control_needs_effect(facts: Facts) -> str:
    kind = _string(facts, "lora_kind", "no effect")
    return f"Only an effect is guided, and this was to be a {kind}; leave out `control:`, or choose the kind effect."


def _dataset_too_small(facts: Facts) -> str:
    items, minimum, advised = (_whole(facts, key) for key in ("items", "minimum", "advised"))
    missing = max(1, minimum - items)
    kind = KIND_ARTICLE.get(str(facts.get("lora_kind")), "This kind")
    return (
        f"{kind} needs at least {minimum} pictures and works well from {advised}; you have {items}, so add {missing} more with "
        "**Add pictures** and start again."
    )


def _name_taken(facts: Facts) -> str:
    name = _code(facts, "name")
    if facts.get("training"):
        return f"A LoRA named {name} is being trained right now; choose another name, or wait for it in `/jobs`."
    if facts.get("by_self"):
        return (
            f"You already have a LoRA named {name}: press **New version** on its card in `/loras show`, or choose another name such as "
            f"{fmt.code(_next_name(str(facts.get('name', ''))))}."
        )
    return f"Somebody here already has a LoRA named {name}; choose another name such as {fmt.code(_next_name(str(facts.get('name', ''))))}."


def _next_name(name: str) -> str:
    stem = name.rstrip("0123456789") or name
    digits = name[len(stem) :]
    suffix = str(int(digits) + 1) if digits else "2"
    return f"{stem[: 16 - len(suffix)]}{suffix}"


def _lora_unknown(facts: Facts) -> str:
    nearest = [fmt.code(str(name)) for name in _items(facts, "nearest")]
    advice = f"did you mean {either(nearest)}?" if nearest else "`/loras browse` shows what you can use, and `/train` makes a new one."
    return f"There is no LoRA named {_code(facts, 'name')} here; {advice}"


def _lora_other_base(facts: Facts) -> str:
    return (
        f"{_code(facts, 'name')} was trained for {_string(facts, 'base')} and cannot run on {_string(facts, 'wanted')}; "
        "leave it out, or train it again here."
    )


def _lora_withheld(facts: Facts) -> str:
    if facts.get("reason") == "likeness":
        return f"{_code(facts, 'name')} shows a real person who has not agreed, or does no longer, so nobody can use it; leave it out."
    return f"{_code(facts, 'name')} was taken down after a report, so nobody can use it; leave it out."


def _because(facts: Facts) -> str:
    reason = str(facts.get("reason") or "").strip().rstrip(".")
    return f" ({fmt.safe(reason, 120)})" if reason else ""


def _rule_invalid(facts: Facts) -> str:
    match facts.get("problem"):
        case "syntax":
            return "This is no pattern I can use; write a regular expression without look-around and back references, such as `gr[ae]y`."
        case "matches_everything":
            return "This would forbid every prompt; write a narrower one."
    return f"A rule has 1 to {_whole(facts, 'limit')} characters; shorten it."


def _prompt_too_long(facts: Facts) -> str:
    field = "negative prompt" if facts.get("field") == "negative" else "prompt"
    return f"The {field} has {_whole(facts, 'length'):,} characters, at most {_whole(facts, 'limit'):,} are read; shorten it."


def _quota_exceeded(facts: Facts) -> str:
    needed, left, limit = (fmt.count(_whole(facts, key), "unit") for key in ("needed", "left", "limit"))
    window = {"day": "today", "week": "this week", "month": "this month"}.get(str(facts.get("window")), "today")
    scope, back = str(facts.get("scope")), _number(facts, "resets_at")
    if scope == "member" and _whole(facts, "limit") == 0:
        return f"This costs {needed}, and people here only have units with certain roles; ask somebody who manages the server for one."
    if _whole(facts, "needed") > _whole(facts, "limit"):
        per = f"per {facts.get('window') or 'day'}"
        whose = f"the {limit} this whole server has {per}" if scope == "server" else f"the {limit} a person has {per} here"
        return f"This costs {needed}, more than {whose}; ask for less, such as a shorter clip."
    returning = f"they return {fmt.relative(back)} (at {fmt.clock(back)})"
    if scope == "server":
        return f"This costs {needed} and this server has {left} of its {limit} left {window}; {returning}."
    where = " in this server" if scope == "member" else ""
    return f"This costs {needed} and you have {left} of {limit} left {window}{where}; {returning}."


def _seconds_out_of_range(facts: Facts) -> str:
    return f"A clip is {_number(facts, 'minimum'):g} to {_number(facts, 'maximum'):g} seconds long; choose a length in between."


def _channel_forbidden(facts: Facts) -> str:
    missing = both([fmt.safe(str(name)) for name in _items(facts, "missing")]) or "the right permissions"
    return f"I cannot post here because I lack {missing} in this channel; use another channel, or ask a moderator to allow it."


_FEATURES: Mapping[str, str] = {
    "training": "Training a LoRA",
    "long_clips": "A clip of this length",
}


def _plan_needed(facts: Facts) -> str:
    feature, needed = _FEATURES.get(str(facts.get("feature")), "This"), _string(facts, "needed", "premium")
    if facts.get("ended_at") is None:
        return f"{feature} is part of the {needed} plan, yours here is {_string(facts, 'plan', 'free')}; `/quota` shows what it includes."
    ended, at = _string(facts, "ended", "premium"), fmt.relative(_number(facts, "ended_at"))
    return f"{feature} is part of the {needed} plan, and your {ended} plan ended {at}; renew it to go on, `/quota` shows your plan."


def _blocked(facts: Facts) -> str:
    reason = f" ({_code(facts, 'reason', 200)})" if facts.get("reason") else ""
    if facts.get("everywhere"):
        return f"You are blocked from using this bot{reason}; ask the people who run it."
    return f"You are blocked from using this bot in this server{reason}; ask somebody who manages the server."


def _channel_closed(facts: Facts) -> str:
    channels = [f"<#{channel}>" for channel in _items(facts, "channels")[:3]]
    return f"I do not work in this channel; use {either(channels) or 'another channel'} instead."


def _job_over(facts: Facts) -> str:
    return f"This job is over already ({STATUS_WORDS.get(str(facts.get('status')), 'ended')}), so there is nothing to stop; see `/jobs`."


def _nobody_serves(facts: Facts) -> str:
    work = "trains" if str(facts.get("lane")) == "train" else "makes clips"
    match str(facts.get("lack")):
        case "memory":
            why = f"No GPU worker that is up has enough memory for this: none {work} with this model"
        case "version":
            why = "This asks for something new, and the GPU workers are still being updated"
        case _:
            why = f"No GPU worker that is up {work}"
    return f"{why}, so nothing was started or charged; ask the bot's operator, or try again later."


_REFUSALS: Mapping[RefusalCode, Callable[[Facts], str]] = {
    RefusalCode.NO_ATTACHMENT: lambda _: (
        f"Attach the pictures to learn from: up to ten as options, or one zip with all of them ({FORMATS})."
    ),
    RefusalCode.NO_USABLE_MEDIA: _no_usable_media,
    RefusalCode.ATTACHMENT_UNAVAILABLE: lambda f: f"Discord did not hand over {_code(f, 'filename', 40)}; attach it again.",
    RefusalCode.FILE_TOO_LARGE: _file_too_large,
    RefusalCode.TOO_MANY_ITEMS: lambda f: (
        f"A data set holds at most {_whole(f, 'limit')} pictures and clips, this would make {_whole(f, 'items')}; send the best ones only."
    ),
    RefusalCode.ARCHIVE_REFUSED: _archive_refused,
    RefusalCode.IMAGE_UNUSABLE: _image_unusable,
    RefusalCode.NOTHING_TO_REMIX: lambda _: "There is no picture or clip in this message; choose one that has one.",
    RefusalCode.FORM_STALE: lambda _: "This form is too old to be sent; use the message's menu again.",
    RefusalCode.NOT_VERIFIABLE: lambda f: f"{_code(f, 'filename', 40)} is neither a picture nor a clip; attach {FORMATS}.",
    RefusalCode.MEDIA_CHECK_FAILED: lambda _: (
        "These files could not be checked; send them again, a few at a time, and leave out unusual ones."
    ),
    RefusalCode.DATASET_TOO_SMALL: _dataset_too_small,
    RefusalCode.DATASET_TEACHES_NOTHING: _teaches_nothing,
    RefusalCode.CONTROL_NEEDS_EFFECT: _control_needs_effect,
    RefusalCode.DATASET_UNKNOWN: lambda _: "This data set is gone; start again with `/train`.",
    RefusalCode.DATASET_CLOSED: lambda f: (
        "This data set was started already; follow its training in `/jobs`."
        if "start" in str(f.get("state", "start"))
        else "This data set was closed; start again with `/train`."
    ),
    RefusalCode.NAME_INVALID: lambda f: (
        f"{_code(f, 'name', 40)} cannot be a name; use 2 to 16 small letters, digits, `-` or `_`, with no sign in front, such as `zoko`."
    ),
    RefusalCode.NAME_TAKEN: _name_taken,
    RefusalCode.TRIGGER_INVALID: lambda f: (
        f"{_code(f, 'trigger', 40)} cannot be a trigger; use 1 to 32 plain letters, digits, spaces, `-` or `_`, such as `zoko`."
    ),
    RefusalCode.LORA_UNKNOWN: _lora_unknown,
    RefusalCode.LORA_NOT_READY: lambda f: f"{_code(f, 'name')} is still being trained; `/jobs` shows when it is ready, then try again.",
    RefusalCode.LORA_GONE: lambda _: "This LoRA is not here any more; `/loras browse` shows what you can use.",
    RefusalCode.LORA_WITHHELD: _lora_withheld,
    RefusalCode.LORA_BUSY: lambda f: f"{_code(f, 'name')} is still being trained; wait until `/jobs` says that it is done.",
    RefusalCode.NO_LORA_FILE: lambda _: "Attach a safetensors file, or give a link from **Download** on a LoRA's card.",
    RefusalCode.LORA_FILE: lambda f: (
        f"{_code(f, 'filename', 40)} {lora_problem(f.get('problem'))}; send a safetensors LoRA that was made for this model."
    ),
    RefusalCode.TAKEN_DOWN: lambda _: "This content was taken down after a report, so it cannot be used here; choose something else.",
    RefusalCode.VERSION_UNKNOWN: lambda _: "This version is gone; press **Versions** on the LoRA's card again.",
    RefusalCode.EXAMPLES_TOO_LONG: lambda f: (
        f"At most {_whole(f, 'limit')} prompts of {_whole(f, 'max_length')} characters each stand on a card; shorten them."
    ),
    RefusalCode.VISIBILITY_NEEDS_GUILD: lambda _: "This LoRA belongs to no server; choose **Only me** or **Everybody, everywhere**.",
    RefusalCode.LINK_NOT_OURS: lambda _: (
        "This is no download link of mine; attach the file, or copy a link from **Download** on a LoRA's card."
    ),
    RefusalCode.LINK_EXPIRED: lambda _: "This link has expired; ask for a new one with **Download** on the LoRA's card.",
    RefusalCode.CAST_UNKNOWN: lambda f: f"There is no cast {_code(f, 'name')} here; `/cast list` shows those you can call.",
    RefusalCode.CAST_EMPTY: lambda f: f"Nothing of the cast {_code(f, 'name')} can be used here; save it anew with `/cast save`.",
    RefusalCode.CASTS_FULL: lambda f: f"You have {_whole(f, 'limit')} casts, the most there can be; forget one with `/cast forget`.",
    RefusalCode.LORA_DUPLICATE: lambda f: (
        f"{_code(f, 'name')} is in the list twice; name it once and set its strength with a weight, such as `:1.2`."
    ),
    RefusalCode.LORA_OTHER_BASE: _lora_other_base,
    RefusalCode.STACK_TOO_LARGE: lambda f: (
        f"At most {_whole(f, 'limit') or MAX_STACK} LoRAs go together, you named {_whole(f, 'count')}; leave some out."
    ),
    RefusalCode.STACK_SYNTAX: lambda f: (
        f"{_code(f, 'text', 40)} is not a LoRA; write names with optional weights, such as `zoko:0.9, watercolour`."
    ),
    RefusalCode.WEIGHT_INVALID: lambda f: (
        f"The weight {_code(f, 'text', 20)} of {_code(f, 'name')} is not a number; write one from 0 to {MAX_WEIGHT:g}, such as `0.8`."
    ),
    RefusalCode.WEIGHT_OUT_OF_RANGE: lambda f: (
        f"The weight {_code(f, 'text', 20)} of {_code(f, 'name')} is out of range; "
        f"choose one from 0 to {_number(f, 'limit', MAX_WEIGHT):g}, such as `0.8`."
    ),
    RefusalCode.PROMPT_EMPTY: lambda _: "The prompt is empty; describe what should happen, such as `zoko walking left on a beach`.",
    RefusalCode.PROMPT_TOO_LONG: _prompt_too_long,
    RefusalCode.SECONDS_OUT_OF_RANGE: _seconds_out_of_range,
    RefusalCode.ASPECT_UNKNOWN: lambda f: (
        f"{_code(f, 'aspect', 20)} is no shape this model makes; "
        f"choose {either([fmt.code(str(a)) for a in _items(f, 'known')]) or 'one from the list'}."
    ),
    RefusalCode.CLIP_UNUSABLE: _clip_unusable,
    RefusalCode.SOURCES_CONFLICT: _sources_conflict,
    RefusalCode.CONTROL_WITHOUT_GUIDE: lambda _: "There is nothing to take that from; attach a video as `guide`, or leave `control` out.",
    RefusalCode.CHANGE_WITHOUT_CLIP: lambda _: "There is no clip to change; attach one as `clip`, or leave `change` and `strength` out.",
    RefusalCode.STRENGTH_OUT_OF_RANGE: lambda _: (
        "A strength is above 0 and at most 1: 0.3 keeps most of the clip, 0.8 little; choose one, or leave it out."
    ),
    RefusalCode.GUIDE_MISSING: lambda f: f"The effect {_code(f, 'name')} follows a video; attach one as `guide`, or leave the effect out.",
    RefusalCode.EFFECT_MISSING: lambda _: (
        "A guide needs an effect LoRA that follows it; add one to `loras` (`/loras` shows them), or leave the guide out."
    ),
    RefusalCode.STACK_WEIGHTS: lambda f: (
        f"The weights of this stack add up to {fmt.weight(_number(f, 'total'))}; between 0 and {_number(f, 'limit', 4):g} makes sense, "
        "such as 1 for one LoRA or `hero:0.9, watercolour:0.7` for two."
    ),
    RefusalCode.SCENES_COUNT: lambda f: (
        f"A storyboard has {_whole(f, 'minimum')} to {_whole(f, 'maximum')} scenes, this one has {_whole(f, 'count')}; "
        "write one scene per line."
    ),
    RefusalCode.SOURCE_TOO_LONG: lambda f: (
        f"This clip plays {_number(f, 'seconds'):.1f} seconds, at most {_number(f, 'limit'):.1f} can be made larger; "
        "choose a shorter one, or the clip it began with."
    ),
    RefusalCode.ALREADY_UPSCALED: lambda _: "This clip has been upscaled already, and once is all; choose the one it was made from.",
    RefusalCode.RESULT_GONE: lambda _: "The clip itself is gone, so nothing can be made from it; press **Again** or use `/generate`.",
    RefusalCode.NOTHING_TO_ANIMATE: lambda _: "No still of this training is left; use `/generate` with a picture as `image`.",
    RefusalCode.SEED_OUT_OF_RANGE: lambda f: f"A seed is a whole number from 0 to {_whole(f, 'limit'):,}; choose one, or leave it out.",
    RefusalCode.QUOTA_EXCEEDED: _quota_exceeded,
    RefusalCode.TOO_MANY_JOBS: lambda f: (
        f"You have {fmt.count(_whole(f, 'open'), 'job')} {'waiting here' if f.get('here') else 'open'} of {_whole(f, 'limit')} at most; "
        "wait for one or cancel one in `/jobs`."
    ),
    RefusalCode.PLAN_NEEDED: _plan_needed,
    RefusalCode.LORA_FROZEN: lambda f: (
        f"{_code(f, 'name')} is frozen because the plan of its maker has ended; leave it out, or ask them to renew the plan."
    ),
    RefusalCode.STORAGE_FULL: lambda f: (
        f"Your LoRAs take {fmt.megabytes(_whole(f, 'used'))} of {fmt.megabytes(_whole(f, 'limit'))}; "
        "make room by deleting one in `/loras browse`."
    ),
    RefusalCode.REASON_TOO_LONG: lambda f: (
        f"The reason has {_whole(f, 'length'):,} characters, {_whole(f, 'limit'):,} are kept; make it shorter."
    ),
    RefusalCode.BLOCK_REFUSED: lambda _: "Neither you nor the people who run this bot can be blocked; choose somebody else.",
    RefusalCode.NOT_BLOCKED: lambda _: "This person is not blocked here; choose somebody who is.",
    RefusalCode.NOTHING_TO_REFUND: lambda f: (
        "This job has not ended, so nothing was charged yet; use `/admin cancel` to stop it."
        if f.get("open")
        else "This job was charged nothing, or it was given back already; choose another one."
    ),
    RefusalCode.NOT_GRANTED: lambda _: "There is no grant to take back; plans that were bought end where they were bought, ask there.",
    RefusalCode.SETTING_OUT_OF_RANGE: lambda f: (
        f"{_string(f, 'value')} is no number for {_string(f, 'name')}; "
        f"choose one from {_whole(f, 'minimum'):,} to {_whole(f, 'maximum'):,}."
    ),
    RefusalCode.TOO_MANY_PLACES: lambda f: f"A list holds at most {_whole(f, 'limit')}; take one off before you add another.",
    RefusalCode.BLOCKED: _blocked,
    RefusalCode.CHANNEL_CLOSED: _channel_closed,
    RefusalCode.ROLE_NEEDED: lambda _: (
        "This server lets people with certain roles use me only; ask somebody who manages it for one of them."
    ),
    RefusalCode.NOT_ADMIN: lambda _: "This is for people with the permission Manage Server; ask one of them.",
    RefusalCode.NOT_OPERATOR: lambda _: "This is for the people who run this bot; ask one of them.",
    RefusalCode.JOB_UNKNOWN: lambda _: "This job is not known any more; start a new one with `/generate` or `/train`.",
    RefusalCode.JOB_OVER: _job_over,
    RefusalCode.JOB_NOT_REPEATABLE: lambda _: "Only clips can be made again; to train once more, use `/train`.",
    RefusalCode.BEING_FORGOTTEN: lambda _: "You asked me to forget you and I am still at it; try again in a few minutes.",
    RefusalCode.TERMS_NEEDED: lambda _: "Before your first clip or training, read what you agree to, press **I agree**, and try again.",
    RefusalCode.PROMPT_FORBIDDEN: lambda f: f"{_code(f, 'match')} is not allowed in prompts here{_because(f)}; leave it out and try again.",
    RefusalCode.RULE_INVALID: _rule_invalid,
    RefusalCode.RULE_UNKNOWN: lambda _: "This rule is gone; `/rules list` shows those that hold.",
    RefusalCode.RULES_FULL: lambda f: f"There are {_whole(f, 'limit')} rules, the most a server can have; remove one with `/rules list`.",
    RefusalCode.REPORTED_ALREADY: lambda _: "You have reported this already; wait, it is looked at within 48 hours.",
    RefusalCode.REPORT_UNKNOWN: lambda _: "This report is settled; `/reports open` shows those that wait.",
    RefusalCode.UPLOAD_ADULT: lambda f: (
        f"{_code(f, 'filename', 40)} looks like adult content, which is not allowed in this channel; leave it out and try again."
    ),
    RefusalCode.CONSENT_NEEDED: lambda _: (
        "The person you named has to agree before a training with their likeness starts; "
        "ask them to press **I agree** in the channel, then start again."
    ),
    RefusalCode.CONSENT_UNKNOWN: lambda _: "This question is for somebody else, or it is settled; use `/privacy likeness` to see yours.",
    RefusalCode.NOT_SHAREABLE: lambda _: "Only clips that are still there can be shared; make one with `/generate`.",
    RefusalCode.NOT_OWNER: lambda _: "This belongs to somebody else; make your own with `/generate` or `/train`.",
    RefusalCode.NOT_IN_GUILD: lambda _: "This works in a server only; use it in a channel there.",
    RefusalCode.CHANNEL_FORBIDDEN: _channel_forbidden,
    RefusalCode.NOBODY_SERVES: _nobody_serves,
    RefusalCode.QUEUE_UNAVAILABLE: lambda _: (
        "The queue is out of reach right now, so nothing was started or charged; try again in a few minutes."
    ),
    RefusalCode.STORE_UNAVAILABLE: lambda _: (
        "The file store is out of reach right now, so nothing was started or charged; try again in a few minutes."
    ),
}
