"""Steps and answers in one line, for the console and the transcript."""

from __future__ import annotations

from bot.sandbox.scenario import (
    AdvanceClockStep,
    AnyStep,
    AutocompleteStep,
    CommandStep,
    DeleteChannelStep,
    DropStep,
    EndStep,
    FaultStep,
    GrantStep,
    KillStep,
    PressStep,
    RefundStep,
    RestartStep,
    SayStep,
    StopRedisStep,
    TogetherStep,
    VisitStep,
    WaitStep,
)


def short(text: str, length: int = 160) -> str:
    """`text` on one line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def describe(step: AnyStep) -> str:
    """A step in one line."""
    match step:
        case CommandStep():
            given = " ".join(f"{key}:{value}" for key, value in step.options.items())
            return f"{step.who} /{step.command} {short(given, 80)}".rstrip()
        case PressStep():
            return f"{step.who} presses {step.press} on {step.on.replace('_', ' ')}"
        case AutocompleteStep():
            return f"{step.who} types /{step.autocomplete} {step.option}:{step.text}"
        case SayStep():
            return f"{step.who} says {short(step.say, 60)!r}"
        case VisitStep():
            return f"{step.visit} opens the link{f' and {step.below}' if step.below else ''}"
        case WaitStep():
            if step.wait_for == "job":
                return f"wait for {step.name or 'the newest job'}{f' of {step.of}' if step.of else ''}: {step.status}"
            return f"wait for a message{f' with {step.with_}' if step.with_ else ''} in #{step.where}{f' for {step.of}' if step.of else ''}"
        case RestartStep():
            return f"restart the {step.restart}"
        case KillStep():
            return f"kill the {step.kill}"
        case StopRedisStep():
            return f"Redis is down for {step.stop_redis.for_s:g} s"
        case AdvanceClockStep():
            return f"{step.advance_clock.minutes:g} minutes pass"
        case GrantStep():
            return f"{step.grant.to} buys {step.grant.sku}"
        case EndStep():
            return f"{step.end_purchase.of} cancels {step.end_purchase.sku}"
        case RefundStep():
            return f"{step.refund_purchase.of} gets the money for {step.refund_purchase.sku} back"
        case DeleteChannelStep():
            return f"#{step.delete_channel} is deleted"
        case FaultStep():
            return f"fault: {step.fault.route} answers {step.fault.status}"
        case DropStep():
            return "the gateway connection is cut"
        case TogetherStep():
            return " + ".join(describe(inner) for inner in step.together)
