"""What `/verify` says about a file: who signed it, whether it changed since, what made it."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.services.origins import Origin
from bot.ui import format as fmt
from bot.ui.language import Words, _, later
from engine.contracts.bases import BASES
from engine.contracts.provenance import ClipParameters, Finding

HEADINGS = Words(
    {
        Finding.OWN: "### ✅ Made here",
        Finding.FOREIGN: "### ℹ️ Not made here",
        Finding.TAMPERED: "### ⚠️ Changed after it was signed",
        Finding.UNSIGNED: "### ❔ No signature",
        Finding.UNREADABLE: "### ❔ No signature",
    }
)
EXACT_HEADING = later("### ✅ Made here")


def heading(origin: Origin) -> str:
    """The answer in a few words."""
    return EXACT_HEADING() if origin.posted_at is not None else HEADINGS[origin.report.finding]


def sentence(origin: Origin) -> str:
    """What is proved, and what is not."""
    report = origin.report
    if origin.posted_at is not None:
        return _("It is the file that was made here {when}, byte for byte.", when=_when(origin.posted_at))
    match report.finding:
        case Finding.OWN:
            made = _when(_seconds(report.parameters))
            if not made:
                return _("It carries our signature, and nothing that is signed has changed: pictures, sound, words.")
            return _("It carries our signature of {made}, and nothing that is signed has changed: pictures, sound, words.", made=made)
        case Finding.FOREIGN:
            signer = fmt.safe(report.signer or _("Somebody else"), 80)
            generator = _(" with {generator}", generator=fmt.safe(report.generator, 60)) if report.generator else ""
            return _(
                "{signer} signed it{generator}, and it is unchanged since. {ai}",
                signer=signer,
                generator=generator,
                ai=_ai(report.ai_generated),
            )
        case Finding.TAMPERED:
            return _("It carries a signature that does not fit its content, so whatever it says about itself proves nothing.")
        case _ if report.parameters is not None:
            return _("It says that Callsheet made it, but another program has written the file since, so nothing proves it.")
        case _:
            return _("Nothing in it tells where it comes from; a clip that was made here and not re-saved carries our signature.")


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
        _("**LoRAs** {stack}", stack=stack) if stack else "",
        _(
            "**Seed** {seed} · **{width} × {height}**, {num_frames} frames · **Base** {base}",
            seed=fmt.code(str(made.seed)),
            width=size.width,
            height=size.height,
            num_frames=size.num_frames,
            base=fmt.safe(base),
        ),
        _("-# AI-generated with Callsheet {version}", version=fmt.safe(made.version, 20)),
    ]


def _when(at: float | None) -> str:
    return fmt.moment(at) if at else ""


def _seconds(parameters: ClipParameters | None) -> float | None:
    try:
        made = datetime.fromisoformat(parameters.made_at) if parameters is not None else None
    except ValueError:
        return None
    return made.replace(tzinfo=made.tzinfo or UTC).timestamp() if made is not None else None


def _ai(said: bool | None) -> str:
    if said is None:
        return _("It does not say whether it is AI-generated.")
    return _("It says that it is AI-generated.") if said else _("It says that it is not AI-generated.")
