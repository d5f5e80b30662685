"""Why files, and sets of them, are not taken."""

from __future__ import annotations

from bot.ui import format as fmt
from bot.ui.language import Words, _
from bot.ui.text import facts as given
from bot.ui.text.facts import Facts
from bot.ui.text.findings import finding
from bot.ui.text.problems import problem
from bot.ui.text.words import KIND_ARTICLE
from engine.contracts.assessment import Assessment
from engine.contracts.lora import LoraKind
from engine.contracts.media import MediaProblem


def no_usable_media(facts: Facts) -> str:
    """NO_USABLE_MEDIA."""
    problems = [line for line in map(_verdict_line, given.items(facts, "verdicts")) if line]
    if not problems:
        return _("None of these files can be used; attach PNG, JPEG, WebP, MP4, MOV or WebM files.")
    if len(problems) == 1:
        return _("This file cannot be used: {problem}; attach PNG, JPEG, WebP, MP4, MOV or WebM files.", problem=problems[0])
    more = _(" and {number} more", number=len(problems) - 3) if len(problems) > 3 else ""
    return _(
        "None of these files can be used ({problems}); attach PNG, JPEG, WebP, MP4, MOV or WebM files.",
        problems="; ".join(problems[:3]) + more,
    )


def _verdict_line(verdict: object) -> str | None:
    filename, found = getattr(verdict, "filename", None), getattr(verdict, "problem", None)
    if filename is None or found is None:
        return None
    return f"{fmt.code(str(filename), 40)} {problem(found.code)}"


def file_too_large(facts: Facts) -> str:
    """FILE_TOO_LARGE."""
    size, limit = fmt.megabytes(given.whole(facts, "size")), fmt.megabytes(given.whole(facts, "limit"))
    return _(
        "{filename} has {size}, the limit is {limit}; make it smaller or split it.",
        filename=given.code(facts, "filename", 40),
        size=size,
        limit=limit,
    )


def archive_refused(facts: Facts) -> str:
    """ARCHIVE_REFUSED."""
    return _(
        "The archive {filename} {problem}; send a plain zip with only pictures, clips and their .txt captions in it.",
        filename=given.code(facts, "filename", 40),
        problem=problem(facts.get("problem")),
    )


def image_unusable(facts: Facts) -> str:
    """IMAGE_UNUSABLE."""
    return _(
        "The start picture {filename} {problem}; attach a PNG, JPEG or WebP.",
        filename=given.code(facts, "filename", 40),
        problem=problem(facts.get("problem")),
    )


_ROLES = Words({"image": "a start picture", "guide": "a guiding video", "clip": "a clip to change"})


def clip_unusable(facts: Facts) -> str:
    """CLIP_UNUSABLE."""
    what = _("The guiding video {filename}") if facts.get("role") == "guide" else _("The clip {filename}")
    code = facts.get("problem")
    advice = _CLIP_ADVICE.get(str(code)) or _("attach an MP4, MOV or WebM")
    if code == MediaProblem.TOO_LONG:
        advice = _("shorten it to {limit} seconds at most", limit=fmt.number(given.number(facts, "limit"), 1))
    return f"{what.format(filename=given.code(facts, 'filename', 40))} {problem(code)}; {advice}."


_CLIP_ADVICE: Words[str] = Words(
    {
        MediaProblem.SINGLE_FRAME: "send one that moves, or attach the picture as `image`",
        MediaProblem.VARIABLE_RATE: "save it with a constant frame rate and attach it again",
    }
)


def sources_conflict(facts: Facts) -> str:
    """SOURCES_CONFLICT."""
    one, other = (_ROLES.get(str(facts.get(key))) or _("this") for key in ("one", "other"))
    return _("A clip is made from {one} or from {other}, not from both; leave one of them out.", one=one, other=other)


def teaches_nothing(facts: Facts) -> str:
    """DATASET_TEACHES_NOTHING."""
    assessment = facts.get("assessment")
    reasons = [finding(found, assessment) for found in assessment.findings if found.blocks] if isinstance(assessment, Assessment) else []
    reason = "; ".join(reason.rstrip(".") for reason in reasons) or _("This set would teach nothing")
    return _("{reason}; nothing was started or charged: add other files with **Add pictures**.", reason=reason)


def control_needs_effect(facts: Facts) -> str:
    """CONTROL_NEEDS_EFFECT."""
    return _ONLY_EFFECTS.get(str(facts.get("lora_kind"))) or _("Only an effect is guided; leave out `control:`, or choose the kind effect.")


_ONLY_EFFECTS: Words[str] = Words(
    {
        LoraKind.CHARACTER: "Only an effect is guided, and this was to be a character; leave out `control:`, or choose the kind effect.",
        LoraKind.STYLE: "Only an effect is guided, and this was to be a style; leave out `control:`, or choose the kind effect.",
        LoraKind.MOTION: "Only an effect is guided, and this was to be a motion; leave out `control:`, or choose the kind effect.",
    }
)


def dataset_too_small(facts: Facts) -> str:
    """DATASET_TOO_SMALL."""
    items, minimum, advised = (given.whole(facts, key) for key in ("items", "minimum", "advised"))
    missing = max(1, minimum - items)
    kind = KIND_ARTICLE.get(str(facts.get("lora_kind"))) or _("This kind")
    return _(
        "{kind} needs at least {minimum} pictures and works well from {advised}; you have {items}, so add {missing} more "
        "with **Add pictures** and start again.",
        kind=kind,
        minimum=minimum,
        advised=advised,
        items=items,
        missing=missing,
    )
