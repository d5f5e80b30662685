"""Lines of cards. Names and prompts come in as people typed them and are made safe here."""

from __future__ import annotations

from collections.abc import Sequence

from bot.errors import Refusal
from bot.ui import format as fmt
from bot.ui.text.problems import problem
from bot.ui.text.refusals import refusal
from bot.ui.text.words import KIND_ARTICLE, both
from engine.contracts.generation import GenerationMode
from engine.contracts.jobs import GenerateVideo, TrainLora
from engine.contracts.lora import AdapterUse, LoraKind
from engine.contracts.media import MediaProblem
from engine.contracts.stack import StackNote, notes_on

AI_GENERATED = "AI-generated"

# ---- data sets ------------------------------------------------------------------------------------------------------------------


def dataset_heading(name: str, kind: LoraKind) -> str:
    """`zoko · character`."""
    return f"### {fmt.safe(name)} · {kind}"


def trigger_hint(kind: LoraKind, trigger: str | None) -> str:
    """What the trigger word does."""
    if trigger is None:
        return "-# No trigger word: it acts whenever it is in the list."
    verb = {LoraKind.CHARACTER: "appears", LoraKind.STYLE: "is applied"}.get(kind, "happens")
    return f"-# It {verb} when the prompt has the word {fmt.code(trigger)}; a missing one is added for you."


def fill_level(items: int, advised: int, enough: int) -> str:
    """How full the data set is."""
    return f"{fmt.bar(items, max(advised, 1))} **{fmt.count(items, 'picture')}** · {advised} advised, {enough} is plenty"


def left_out(files: int) -> str:
    """Heading of the refused files."""
    return f"**{fmt.count(files, 'file')} left out**"


def refused_file(filename: str, code: MediaProblem) -> str:
    """One of them."""
    return f"- {fmt.code(filename, 40)} {problem(code)}"


def and_more(number: int) -> str:
    """End of a list that was cut."""
    return f"- and {number} more"


def captions_taken(number: int) -> str:
    """Captions that came along."""
    return f"-# {fmt.count(number, 'caption')} taken from your .txt files"


def below_minimum(kind: LoraKind, minimum: int, missing: int, advised: int) -> str:
    """Too few to start."""
    return f"⚠️ {KIND_ARTICLE[kind]} needs at least **{minimum}** pictures: add {missing} more to start, {advised} for a good result."


def below_advised(kind: LoraKind, advised: int, items: int) -> str:
    """Enough to start, too few to be good."""
    return f"⚠️ {KIND_ARTICLE[kind]} learns well from **{advised}** pictures; with {items} it may come out rough. Add more, or train anyway."


def not_affordable(refused: Refusal) -> str:
    """The day's units do not reach, and when they return."""
    return f"⚠️ {refusal(refused)}"


def training_price(units: int, left: int, seconds: float, steps: int) -> str:
    """What pressing start costs."""
    return f"**{fmt.count(units, 'unit')}** (you have {left:,}) · about **{fmt.duration(seconds)}** · {steps:,} steps"


def dataset_dropped(name: str, items: int) -> str:
    """Answer to "Discard"."""
    return f"Dropped the data set **{fmt.safe(name)}** and its {fmt.count(items, 'picture')}; nothing was charged."


# ---- jobs -----------------------------------------------------------------------------------------------------------------------

STOPPING = "Stopping after the current step…"
MACHINE_CHANGED = "-# The machine changed; the work goes on from where it was saved."
JOBS_HEADING = "### Your jobs"
NO_JOBS = "Nothing yet. `/generate` makes a clip, `/train` teaches a character, a style, a motion or an effect."


def job_title(job: GenerateVideo | TrainLora) -> str:
    """The job in a few words."""
    if isinstance(job, TrainLora):
        return f"training **{fmt.safe(job.name)}** ({job.lora_kind})"
    return f"{_MODE_NAMES.get(job.mode, 'clip')} “{fmt.safe(job.prompt, 60)}”"


_MODE_NAMES = {GenerationMode.STORYBOARD: "storyboard", GenerationMode.UPSCALE: "upscale of", GenerationMode.EXTEND: "continuation of"}


def queued(title: str) -> str:
    """Head of the receipt."""
    return f"**Queued:** {title}"


def receipt_price(units: int, left: int | None) -> str:
    """Foot of the receipt."""
    remaining = f" · {left:,} left today" if left is not None else ""
    return f"-# {fmt.count(units, 'unit')}{remaining} · the card in the channel follows along"


def capital(words: str) -> str:
    """`words` as the beginning of a line."""
    return words[:1].upper() + words[1:]


def small(words: str) -> str:
    """`words` in small print."""
    return f"-# {words}"


def waiting(position: int | None, eta: float | None) -> str:
    """Place in line, and when the job should be done."""
    place = "Next in line" if position == 1 else f"Position **{position}** in line" if position else "Starting"
    return f"{place} · {ready(eta)}" if eta is not None else f"{place} · no GPU worker is up right now, it begins as soon as one is"


def ready(eta: float) -> str:
    """`ready in 4 minutes`."""
    return f"ready {fmt.relative(eta)}"


def step_line(phase: str, step: int, total: int, eta: float | None) -> str:
    """`training, step 160 of 400 · ready in 2 minutes`."""
    line = f"{capital(phase)}, step {step:,} of {total:,}"
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


_MODE_HEADINGS = {
    GenerationMode.TEXT: "Rendering a clip",
    GenerationMode.IMAGE: "Animating a picture",
    GenerationMode.CONTROL: "Rendering along a guide",
    GenerationMode.VIDEO: "Restyling a clip",
    GenerationMode.EXTEND: "Going on with a clip",
    GenerationMode.UPSCALE: "Upscaling a clip",
    GenerationMode.STORYBOARD: "Filming a storyboard",
}


def wish(job: GenerateVideo, limit: int) -> list[str]:
    """The prompt, or the scenes one by one, as quotes of `limit` characters at most."""
    if job.storyboard is None:
        return [f"> {fmt.safe(job.prompt, limit)}"]
    scenes = job.storyboard.scenes
    return [f"> {number}. {fmt.safe(scene.prompt, max(40, limit // len(scenes)))}" for number, scene in enumerate(scenes, 1)]


def stack_notes(job: GenerateVideo) -> list[str]:
    """What to expect of LoRAs that get into each other's way."""
    return [f"-# ⚠️ {_STACK_NOTES[note]}" for note in notes_on((use.kind, use.weight) for use in job.adapters)]


_STACK_NOTES = {
    StackNote.TWO_CHARACTERS: "Two characters in one clip tend to lend each other their features; one per clip comes out clearest.",
    StackNote.TWO_STYLES: "Two styles blend into one; a weight below 0.5 lets one of them lead.",
}


def training_heading(job: TrainLora) -> list[str]:
    """Head of a training's status card."""
    return [f"### Training {fmt.safe(job.name)}", f"{job.lora_kind} · {fmt.count(len(job.items), 'picture')}"]


def stack(uses: Sequence[AdapterUse]) -> str:
    """LoRAs with their weights, or nothing."""
    return "**LoRAs** " + " · ".join(f"{fmt.safe(use.name)} {fmt.weight(use.weight)}" for use in uses) if uses else ""


def owned_by(owner_id: int, price: str) -> str:
    """Foot of a public card; the mention pings nobody there."""
    return f"-# For <@{owner_id}> · {price}"


def charge(reserved: int, charged: int | None) -> str:
    """What a job costs, and what of its reservation came back."""
    spent = reserved if charged is None else charged
    return fmt.count(spent, "unit") + (f", {reserved - spent:,} given back" if reserved > spent else "")


def ended(word: str, title: str, seconds: float | None = None, link: str | None = None) -> str:
    """`Done in 8 s: clip “…” · show it`."""
    took = f"**{word}** in {fmt.duration(seconds)}" if seconds is not None else f"**{word}**"
    return f"{took}: {title}" + (f" · [show it]({link})" if link is not None else "")


def finished_entry(word: str, at: float | None, price: str, *, deleted: bool, link: str | None) -> str:
    """Second line of a finished job in a list."""
    facts = [word, *([fmt.relative(at)] if at is not None else []), price]
    if deleted:
        facts.append("deleted")
    elif link is not None:
        facts.append(f"[show it]({link})")
    return "-# " + " · ".join(facts)


def preview_alt(job: GenerateVideo | TrainLora, steps: int) -> str:
    """Alt text of the picture of what is being made."""
    if isinstance(job, GenerateVideo):
        return f"First, middle and last frame on the way, {AI_GENERATED}"
    return f"Preview of the LoRA in training after {steps} steps, {AI_GENERATED}"


# ---- results --------------------------------------------------------------------------------------------------------------------


def clip_heading(owner_id: int) -> str:
    """Head of a finished clip; pings the owner."""
    return f"### Your clip is ready, <@{owner_id}>"


def clip_alt(prompt: str) -> str:
    """Alt text of a clip."""
    return f"{AI_GENERATED} video: {prompt}"


def still_alt(alt: str) -> str:
    """Alt text of a picture that stands in for a clip."""
    return f"Still of: {alt}"


def prompt_lines(job: GenerateVideo) -> list[str]:
    """Prompt, negative prompt and LoRAs of a clip."""
    negative = f"-# without: {fmt.safe(job.negative_prompt, 200)}" if job.negative_prompt else ""
    return [*wish(job, 400), negative, stack(job.adapters)]


def clip_facts(seed: int, width: int, height: int, seconds: float, fps: float) -> str:
    """What it takes to make the clip again, and its size."""
    return f"**Seed** {fmt.code(str(seed))} · **{width} × {height}** · **{seconds:.1f} s** at {fps:g} fps"


def made_with(base: str, verb: str, seconds: float, price: str) -> str:
    """Foot of a result, with the label that it is AI-generated."""
    return f"-# {AI_GENERATED} with {fmt.safe(base)} · {verb} in {fmt.duration(seconds)} · {price}"


def shared(address: str) -> list[str]:
    """A clip has a page on the web."""
    return [
        f"Your clip has a page: {address}",
        "-# Whoever has the address sees the clip, its prompt and your name; LoRAs that only you can use are not named.",
    ]


def credit(makers: Sequence[int]) -> str:
    """Thanks to the makers of the LoRAs of a clip; the mentions ping nobody."""
    return f"-# LoRAs by {both([f'<@{maker}>' for maker in makers])}" if makers else ""


def remake_prices(again: int, extend: int, upscale: int | None) -> str:
    """What the buttons below cost."""
    offers = [f"again {fmt.count(again, 'unit')}", f"extend {extend:,}", *([f"upscale {upscale:,}"] if upscale is not None else [])]
    return f"-# Price: {' · '.join(offers)}"


def length_choice(seconds: float, units: int) -> str:
    """A length in an autocomplete list."""
    return f"{seconds:g} s · {fmt.count(units, 'unit')}"


def lora_heading(name: str, owner_id: int) -> str:
    """Head of a finished training; pings the owner."""
    return f"### {fmt.safe(name)} is trained, <@{owner_id}>"


def lora_alt(kind: LoraKind, name: str) -> str:
    """Alt text of a LoRA's preview."""
    return f"{AI_GENERATED} preview of the {kind} {name}"


def lora_usage(name: str, kind: LoraKind, trigger: str | None) -> str:
    """A command that shows the LoRA at work."""
    scene = "walking on a beach" if kind is LoraKind.CHARACTER else "a boat on a lake"
    prompt = f"{trigger} {scene}" if trigger and kind is not LoraKind.STYLE else scene
    return f"Use it, alone or with others: {fmt.code(f'/generate prompt: {prompt} loras: {name}:0.9', 150)}"


def lora_facts(kind: LoraKind, trigger: str | None, rank: int, items: int, steps: int, loss: float | None) -> list[str]:
    """What was trained, from what."""
    word = f" · **trigger** {fmt.code(trigger)}" if trigger else ""
    final = f" · **loss** {loss:.3f}" if loss is not None else ""
    return [f"**{kind}**{word} · **rank** {rank}", f"**{fmt.count(items, 'picture')}** · **{steps:,} steps**{final}"]


def withheld_heading(owner_id: int) -> str:
    """Head of what stands in for a result nobody may see; pings the owner."""
    return f"### Your result is not shown, <@{owner_id}>"


def withheld(reason: str | None) -> str:
    """Why, and what to do."""
    if reason == "adult":
        return "It looks like adult content, and this channel is not marked for it; use a marked channel, or change the prompt."
    if reason == "unchecked":
        return "Its file is damaged and cannot be checked, so it is not shown and its units are yours again; ask for it once more."
    return "The same content was taken down after a report, so it is not shown again."


PREVIEW_DAMAGED = "-# Its preview is damaged and cannot be shown; the LoRA itself is fine."


def failed_heading(owner_id: int) -> str:
    """Head of a failure; pings the owner."""
    return f"### That did not work, <@{owner_id}>"


def failed_foot(price: str, job_id: str) -> str:
    """Foot of a failure; the id helps operators."""
    return f"-# {price} · job {fmt.code(job_id)}"


# ---- lists ----------------------------------------------------------------------------------------------------------------------
