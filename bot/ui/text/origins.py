"""What `/verify` says about a file: who signed it, whether it changed since, what made it."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.services.origins import Origin
from bot.ui import format as fmt
from engine.contracts.bases import BASES
from engine.contracts.provenance import ClipParameters, Finding

HEADINGS = {
    Finding.OWN: "### ✅ Made here",
    Finding.FOREIGN: "### ℹ️ Not made here",
    Finding.TAMPERED: "### ⚠️ Changed after it was signed",
    Finding.UNSIGNED: "### ❔ No signature",
    Finding.UNREADABLE: "### ❔ No signature",
}
EXACT_HEADING = "### ✅ Made here"


def heading(origin: Origin) -> str:
    """The answer in a few words."""
    return EXACT_HEADING if origin.posted_at is not None else HEADINGS[origin.report.finding]


def sentence(origin: Origin) -> str:
    """What is proved, and what is not."""
    report = origin.report
    if origin.posted_at is not None:
        return f"It is the file that was made here {_when(origin.posted_at)}, byte for byte."
    match report.finding:
        case Finding.OWN:
            made = _when(_seconds(report.parameters))
            signed = f"It carries our signature{f' of {made}' if made else ''}"
            return f"{signed}, and nothing that is signed has changed: pictures, sound, words."
        case Finding.FOREIGN:
            signer = fmt.safe(report.signer or "Somebody else", 80)
            generator = f" with {fmt.safe(report.generator, 60)}" if report.generator else ""
            return f"{signer} signed it{generator}, and it is unchanged since. {_ai(report.ai_generated)}"
        case Finding.TAMPERED:
            return "It carries a signature that does not fit its content, so whatever it says about itself proves nothing."
        case _ if report.parameters is not None:
            return "It says that Callsheet made it, but another program has written the file since, so nothing proves it."
        case _:
            return "Nothing in it tells where it comes from; a clip that was made here and not re-saved carries our signature."


def details(origin: Origin) -> list[str]:
    """What made the file, when the file proves it."""
    made = origin.report.parameters
    if made is None or (origin.report.finding is not Finding.OWN and origin.posted_at is None):
        return []
    base = BASES[made.base].title if made.base in BASES else made.base
    stack = " · ".join(f"{fmt.safe(use.name)} {fmt.weight(use.weight)}" for use in made.adapters)
    size = made.geometry
    return [
        f"> {fmt.safe(made.prompt, 400)}",
        f"**LoRAs** {stack}" if stack else "",
        f"**Seed** {fmt.code(str(made.seed))} · **{size.width} × {size.height}**, {size.num_frames} frames · **Base** {fmt.safe(base)}",
        f"-# AI-generated with Callsheet {fmt.safe(made.version, 20)}",
    ]


def _when(at: float | None) -> str:
    return f"<t:{int(at)}:f>" if at else ""


def _seconds(parameters: ClipParameters | None) -> float | None:
    try:
        made = datetime.fromisoformat(parameters.made_at) if parameters is not None else None
    except ValueError:
        return None
    return made.replace(tzinfo=made.tzinfo or UTC).timestamp() if made is not None else None


def _ai(said: bool | None) -> str:
    if said is None:
        return "It does not say whether it is AI-generated."
    return "It says that it is AI-generated." if said else "It says that it is not AI-generated."
