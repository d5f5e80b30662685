"""Lines of cards. Names and prompts come in as people typed them and are made safe here."""

from __future__ import annotations

from collections.abc import Sequence

from bot.errors import Refusal
from bot.ui import format as fmt
from bot.ui.language import Forms, Words, _, later
from bot.ui.text import counts
from bot.ui.text.problems import problem
from bot.ui.text.refusals import refusal
from bot.ui.text.words import KIND_ARTICLE, KINDS, quoted
from engine.contracts.generation import GenerationMode
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.lora import AdapterUse, LoraKind
from engine.contracts.media import MediaProblem
from engine.contracts.stack import StackNote, notes_on

# ---- data sets ------------------------------------------------------------------------------------------------------------------


def dataset_heading(name: str, kind: LoraKind) -> str:
    """`zoko · character`."""
    return f"### {fmt.safe(name)} · {KINDS[kind]}"


def trigger_hint(kind: LoraKind, trigger: str | None) -> str:
    """What the trigger word does."""
    if trigger is None:
        return _("-# No trigger word: it acts whenever it is in the list.")
    return _TRIGGER_HINTS[kind].format(trigger=fmt.code(trigger))


_TRIGGER_HINTS = Words(
    {
        LoraKind.CHARACTER: "-# It appears when the prompt has the word {trigger}; a missing one is added for you.",
        LoraKind.STYLE: "-# It is applied when the prompt has the word {trigger}; a missing one is added for you.",
        LoraKind.MOTION: "-# It happens when the prompt has the word {trigger}; a missing one is added for you.",
        LoraKind.EFFECT: "-# It happens when the prompt has the word {trigger}; a missing one is added for you.",
    }
)


def fill_level(items: int, advised: int, enough: int) -> str:
    """How full the data set is."""
    return _(
        "{bar} **{pictures}** · {advised} advised, {enough} is plenty",
        bar=fmt.bar(items, max(advised, 1)),
        pictures=counts.pictures(items),
        advised=advised,
        enough=enough,
    )


def left_out(files: int) -> str:
    """Heading of the refused files."""
    return f"**{_LEFT_OUT(files)}**"


def refused_file(filename: str, code: MediaProblem) -> str:
    """One of them."""
    return f"- {fmt.code(filename, 40)} {problem(code)}"


def and_more(number: int) -> str:
    """End of a list that was cut."""
    return _("- and {number} more", number=number)


_LEFT_OUT = Forms("{number} file left out", "{number} files left out")


def captions_taken(number: int) -> str:
    """Captions that came along."""
    return _CAPTIONS_TAKEN(number)


_CAPTIONS_TAKEN = Forms("-# {number} caption taken from your .txt files", "-# {number} captions taken from your .txt files")


def below_minimum(kind: LoraKind, minimum: int, missing: int, advised: int) -> str:
    """Too few to start."""
    return _(
        "⚠️ {kind} needs at least **{minimum}** pictures: add {missing} more to start, {advised} for a good result.",
        kind=KIND_ARTICLE[kind],
        minimum=minimum,
        missing=missing,
        advised=advised,
    )


def below_advised(kind: LoraKind, advised: int, items: int) -> str:
    """Enough to start, too few to be good."""
    return _(
        "⚠️ {kind} learns well from **{advised}** pictures; with {items} it may come out rough. Add more, or train anyway.",
        kind=KIND_ARTICLE[kind],
        advised=advised,
        items=items,
    )


def not_affordable(refused: Refusal) -> str:
    """The day's units do not reach, and when they return."""
    return f"⚠️ {refusal(refused)}"


def training_price(units: int, left: int, seconds: float, steps: int) -> str:
    """What pressing start costs."""
    return _(
        "**{units}** (you have {left}) · about **{seconds}** · {steps} steps",
        units=counts.units(units),
        left=fmt.number(left),
        seconds=fmt.duration(seconds),
        steps=fmt.number(steps),
    )


def dataset_dropped(name: str, items: int) -> str:
    """Answer to "Discard"."""
    return _(
        "Dropped the data set **{name}** and its {pictures}; nothing was charged.", name=fmt.safe(name), pictures=counts.pictures(items)
    )


# ---- jobs -----------------------------------------------------------------------------------------------------------------------

STOPPING = later("Stopping after the current step…")
MACHINE_CHANGED = later("-# The machine changed; the work goes on from where it was saved.")
JOBS_HEADING = later("### Your jobs")
NO_JOBS = later("Nothing yet. `/generate` makes a clip, `/train` teaches a character, a style, a motion or an effect.")


def job_title(job: GenerateVideo | TrainLora) -> str:
    """The job in a few words."""
    if isinstance(job, TrainLora):
        return _("training **{name}** ({kind})", name=fmt.safe(job.name), kind=KINDS[job.lora_kind])
    return f"{_MODE_NAMES[job.mode]} {quoted(fmt.safe(job.prompt, 60))}"


_MODE_NAMES = Words(
    {
        GenerationMode.TEXT: "clip",
        GenerationMode.IMAGE: "clip",
        GenerationMode.CONTROL: "clip",
        GenerationMode.VIDEO: "clip",
        GenerationMode.EXTEND: "continuation of",
        GenerationMode.UPSCALE: "upscale of",
        GenerationMode.STORYBOARD: "storyboard",
    }
)


def queued(title: str) -> str:
    """Head of the receipt."""
    return _("**Queued:** {title}", title=title)


def receipt_price(units: int, left: int | None) -> str:
    """Foot of the receipt."""
    facts = [counts.units(units), *([_("{left} left today", left=fmt.number(left))] if left is not None else [])]
    return small(" · ".join([*facts, _("the card in the channel follows along")]))


def capital(words: str) -> str:
    """`words` as the beginning of a line."""
    return words[:1].upper() + words[1:]


def small(words: str) -> str:
    """`words` in small print."""
    return f"-# {words}"


def waiting(position: int | None, eta: float | None) -> str:
    """Place in line, and when the job should be done."""
    place = _("Next in line") if position == 1 else _("Position **{position}** in line", position=position) if position else _("Starting")
    return f"{place} · {ready(eta) if eta is not None else _('no GPU worker is up right now, it begins as soon as one is')}"


def ready(eta: float) -> str:
    """`ready in 4 minutes`."""
    return _("ready {eta}", eta=fmt.relative(eta))


def step_line(phase: str, step: int, total: int, eta: float | None) -> str:
    """`training, step 160 of 400 · ready in 2 minutes`."""
    line = _("{phase}, step {step} of {total}", phase=capital(phase), step=fmt.number(step), total=fmt.number(total))
    return f"{line} · {ready(eta)}" if eta is not None else line


def phase_line(phase: str, eta: float | None) -> str:
    """A phase without countable steps."""
    line = capital(phase)
    return f"{line} · {ready(eta)}" if eta is not None else line


def share(step: int, total: int) -> str:
    """Bar and percentage."""
    return f"{fmt.bar(step, total)} **{int(100 * min(step, total) / total)} %**"


def rendering_heading(job: GenerateVideo) -> list[str]:
    """Head of a clip's status card."""
    return [f"### {_MODE_HEADINGS[job.mode]}", *wish(job, 200), stack(job.adapters), *stack_notes(job)]


_MODE_HEADINGS = Words(
    {
        GenerationMode.TEXT: "Rendering a clip",
        GenerationMode.IMAGE: "Animating a picture",
        GenerationMode.CONTROL: "Rendering along a guide",
        GenerationMode.VIDEO: "Restyling a clip",
        GenerationMode.EXTEND: "Going on with a clip",
        GenerationMode.UPSCALE: "Upscaling a clip",
        GenerationMode.STORYBOARD: "Filming a storyboard",
    }
)


def wish(job: GenerateVideo, limit: int) -> list[str]:
    """The prompt, or the scenes one by one, as quotes of `limit` characters at most."""
    if job.storyboard is None:
        return [f"> {fmt.safe(job.prompt, limit)}"]
    scenes = job.storyboard.scenes
    return [f"> {number}. {fmt.safe(scene.prompt, max(40, limit // len(scenes)))}" for number, scene in enumerate(scenes, 1)]


def stack_notes(job: GenerateVideo) -> list[str]:
    """What to expect of LoRAs that get into each other's way."""
    return [f"-# ⚠️ {_STACK_NOTES[note]}" for note in notes_on((use.kind, use.weight) for use in job.adapters)]


_STACK_NOTES = Words(
    {
        StackNote.TWO_CHARACTERS: "Two characters in one clip tend to lend each other their features; one per clip comes out clearest.",
        StackNote.TWO_STYLES: "Two styles blend into one; a weight below 0.5 lets one of them lead.",
    }
)


def training_heading(job: TrainLora) -> list[str]:
    """Head of a training's status card."""
    return [_("### Training {name}", name=fmt.safe(job.name)), f"{KINDS[job.lora_kind]} · {counts.pictures(len(job.items))}"]


def stack(uses: Sequence[AdapterUse]) -> str:
    """LoRAs with their weights, or nothing."""
    return "**LoRAs** " + " · ".join(f"{fmt.safe(use.name)} {fmt.weight(use.weight)}" for use in uses) if uses else ""


def owned_by(owner_id: int, price: str) -> str:
    """Foot of a public card; the mention pings nobody there."""
    return _("-# For <@{owner_id}> · {price}", owner_id=owner_id, price=price)


def charge(reserved: int, charged: int | None) -> str:
    """What a job costs, and what of its reservation came back."""
    spent = reserved if charged is None else charged
    return counts.units(spent) + (_(", {returned} given back", returned=fmt.number(reserved - spent)) if reserved > spent else "")


def ended(word: str, title: str, seconds: float | None = None, link: str | None = None) -> str:
    """`Done in 8 s: clip “…” · show it`."""
    took = _("**{word}** in {duration}", word=word, duration=fmt.duration(seconds)) if seconds is not None else f"**{word}**"
    return f"{took}: {title}" + (" · " + show_it(link) if link is not None else "")


def finished_entry(word: str, at: float | None, price: str, *, deleted: bool, link: str | None) -> str:
    """Second line of a finished job in a list."""
    facts = [word, *([fmt.relative(at)] if at is not None else []), price]
    if deleted:
        facts.append(_("deleted"))
    elif link is not None:
        facts.append(show_it(link))
    return "-# " + " · ".join(facts)


def show_it(link: str) -> str:
    """A link to a message."""
    return _("[show it]({link})", link=link)


def preview_alt(job: GenerateVideo | TrainLora, steps: int) -> str:
    """Alt text of the picture of what is being made."""
    if isinstance(job, GenerateVideo):
        return _("First, middle and last frame on the way, AI-generated")
    return _("Preview of the LoRA in training after {steps} steps, AI-generated", steps=steps)
