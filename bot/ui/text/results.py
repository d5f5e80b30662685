"""Lines of the messages that bring a result: a clip, a trained LoRA, a failure."""

from __future__ import annotations

from collections.abc import Sequence

from bot.ui import format as fmt
from bot.ui.language import Words, _, later
from bot.ui.text import counts
from bot.ui.text.lines import stack, wish
from bot.ui.text.words import KINDS, both
from engine.contracts.jobs import GenerateVideo
from engine.contracts.lora import LoraKind


def clip_heading(owner_id: int) -> str:
    """Head of a finished clip; pings the owner."""
    return _("### Your clip is ready, <@{owner_id}>", owner_id=owner_id)


def clip_alt(prompt: str) -> str:
    """Alt text of a clip."""
    return _("AI-generated video: {prompt}", prompt=prompt)


def still_alt(alt: str) -> str:
    """Alt text of a picture that stands in for a clip."""
    return _("Still of: {alt}", alt=alt)


def prompt_lines(job: GenerateVideo) -> list[str]:
    """Prompt, negative prompt and LoRAs of a clip."""
    negative = _("-# without: {negative_prompt}", negative_prompt=fmt.safe(job.negative_prompt, 200)) if job.negative_prompt else ""
    return [*wish(job, 400), negative, stack(job.adapters)]


def clip_facts(seed: int, width: int, height: int, seconds: float, fps: float) -> str:
    """What it takes to make the clip again, and its size."""
    return _(
        "**Seed** {seed} · **{width} × {height}** · **{seconds} s** at {fps} fps",
        seed=fmt.code(str(seed)),
        width=width,
        height=height,
        seconds=fmt.number(seconds, 1),
        fps=fmt.number(fps),
    )


def made_with(base: str, seconds: float, price: str, *, trained: bool = False) -> str:
    """Foot of a result, with the label that it is AI-generated."""
    took = fmt.duration(seconds)
    done = _("trained in {duration}", duration=took) if trained else _("made in {duration}", duration=took)
    return _("-# AI-generated with {base} · {done} · {price}", base=fmt.safe(base), done=done, price=price)


def shared(address: str) -> list[str]:
    """A clip has a page on the web."""
    return [
        _("Your clip has a page: {address}", address=address),
        _("-# Whoever has the address sees the clip, its prompt and your name; LoRAs that only you can use are not named."),
    ]


def credit(makers: Sequence[int]) -> str:
    """Thanks to the makers of the LoRAs of a clip; the mentions ping nobody."""
    return _("-# LoRAs by {makers}", makers=both([f"<@{maker}>" for maker in makers])) if makers else ""


def remake_prices(again: int, extend: int, upscale: int | None) -> str:
    """What the buttons below cost."""
    offers = [
        _("again {units}", units=counts.units(again)),
        _("extend {extend}", extend=fmt.number(extend)),
        *([_("upscale {upscale}", upscale=fmt.number(upscale))] if upscale is not None else []),
    ]
    return _("-# Price: {offers}", offers=" · ".join(offers))


def length_choice(seconds: float, units: int) -> str:
    """A length in an autocomplete list."""
    return f"{fmt.number(seconds)} s · {counts.units(units)}"


def lora_heading(name: str, owner_id: int) -> str:
    """Head of a finished training; pings the owner."""
    return _("### {name} is trained, <@{owner_id}>", name=fmt.safe(name), owner_id=owner_id)


def lora_alt(kind: LoraKind, name: str) -> str:
    """Alt text of a LoRA's preview."""
    return _PREVIEW_ALTS[kind].format(name=name)


_PREVIEW_ALTS = Words(
    {
        LoraKind.CHARACTER: "AI-generated preview of the character {name}",
        LoraKind.STYLE: "AI-generated preview of the style {name}",
        LoraKind.MOTION: "AI-generated preview of the motion {name}",
        LoraKind.EFFECT: "AI-generated preview of the effect {name}",
    }
)

CHARACTER_PROMPT = "walking on a beach"
STYLE_PROMPT = "a boat on a lake"
"""Examples stay English in every language: it is what the model was captioned in."""


def lora_usage(name: str, kind: LoraKind, trigger: str | None) -> str:
    """A command that shows the LoRA at work."""
    scene = CHARACTER_PROMPT if kind is LoraKind.CHARACTER else STYLE_PROMPT
    prompt = f"{trigger} {scene}" if trigger and kind is not LoraKind.STYLE else scene
    return _(
        "Use it, alone or with others: {command}",
        command=fmt.code(f"/generate prompt: {prompt} loras: {name}:0.9", 150),
    )


def lora_facts(kind: LoraKind, trigger: str | None, rank: int, items: int, steps: int, loss: float | None) -> list[str]:
    """What was trained, from what."""
    word = " · " + _("**trigger** {trigger}", trigger=fmt.code(trigger)) if trigger else ""
    final = " · " + _("**loss** {loss}", loss=fmt.number(loss, 3)) if loss is not None else ""
    return [
        f"**{KINDS[kind]}**{word} · " + _("**rank** {rank}", rank=rank),
        f"**{counts.pictures(items)}** · " + _("**{steps} steps**", steps=fmt.number(steps)) + final,
    ]


def withheld_heading(owner_id: int) -> str:
    """Head of what stands in for a result nobody may see; pings the owner."""
    return _("### Your result is not shown, <@{owner_id}>", owner_id=owner_id)


def withheld(reason: str | None) -> str:
    """Why, and what to do."""
    if reason == "adult":
        return _("It looks like adult content, and this channel is not marked for it; use a marked channel, or change the prompt.")
    if reason == "unchecked":
        return _("Its file is damaged and cannot be checked, so it is not shown and its units are yours again; ask for it once more.")
    return _("The same content was taken down after a report, so it is not shown again.")


PREVIEW_DAMAGED = later("-# Its preview is damaged and cannot be shown; the LoRA itself is fine.")


def failed_heading(owner_id: int) -> str:
    """Head of a failure; pings the owner."""
    return _("### That did not work, <@{owner_id}>", owner_id=owner_id)


def failed_foot(price: str, job_id: str) -> str:
    """Foot of a failure; the id helps operators."""
    return _("-# {price} · job {job_id}", price=price, job_id=fmt.code(job_id))
