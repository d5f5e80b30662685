"""Plays a scenario: people act on the loopback Discord, the real bot and worker answer, every step is checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bot.sandbox.attachments import FILES_PER_FORM, Attachments, fill_options, leaf_of
from bot.sandbox.errors import ClientRefusedError, SandboxError, ScenarioError
from bot.sandbox.people import Outcome, Person, Value, find_button
from bot.sandbox.processes import Stack
from bot.sandbox.records import Records, job_reached
from bot.sandbox.scenario import (
    AdvanceClockStep,
    AnyStep,
    AutocompleteStep,
    CommandStep,
    DeleteChannelStep,
    DropStep,
    EndStep,
    Expect,
    FaultStep,
    GrantStep,
    KillStep,
    PressStep,
    RefundStep,
    RestartStep,
    SayStep,
    Scenario,
    StopRedisStep,
    TogetherStep,
    VisitStep,
    WaitStep,
)
from bot.sandbox.server import LoopbackDiscord
from bot.sandbox.sources import LinkOf, Pick, Posted
from bot.sandbox.visits import Links
from bot.sandbox.wording import describe, short
from bot.sandbox.world import Attachment, Message

START_BUTTON, ADD_BUTTON, AGREE_BUTTON = "start", "add", "agree"
WARNED_STYLE = 2
"""Of a start button under a warning: grey, whatever the language of its label."""


class StepFailedError(SandboxError):
    """A step did not come out as the scenario says."""


@dataclass(frozen=True)
class Played:
    """One step that was played, for the transcript."""

    title: str
    note: str | None
    at: float
    seconds: float
    result: str
    failure: str | None


Report = Callable[[Played], None]


class Player:
    """Plays the steps of one scenario; `played` has every one with its outcome."""

    def __init__(self, scenario: Scenario, discord: LoopbackDiscord, stack: Stack, folder: Path) -> None:
        self._scenario = scenario
        self._discord = discord
        self._stack = stack
        self._records = Records(stack.database)
        self._links = Links(folder / "downloads")
        self._attachments = Attachments(scenario.folder, folder, self._clip, self._links.downloaded)
        self._replies: dict[str, Outcome] = {}  # by person
        self._taken: set[int] = set()  # messages that a wait has claimed
        self._since = 0  # message id: waits look after it
        self._waited = True
        self._acted_at = 0.0
        self.played: list[Played] = []

    async def prepare(self) -> None:
        """Make the pictures the scenario asks for.

        Raises:
            ScenarioError: one could not be made.
        """
        await self._attachments.render_all(self._scenario.steps)

    async def play(self, before: Callable[[str], None], after: Report) -> None:
        """Play everything; a failed step does not stop the rest."""
        for step in self._scenario.steps:
            title = describe(step)
            before(title)
            at, began = self._discord.clock.now(), time.monotonic()
            failure: str | None = None
            result = ""
            try:
                result = await self._play(step)
            except (SandboxError, TimeoutError) as error:
                failure = str(error)
            played = Played(title, step.note, at, time.monotonic() - began, result, failure)
            self.played.append(played)
            after(played)

    @property
    def failures(self) -> list[str]:
        """One line per step that was not met."""
        return [f"step {n} ({p.title}): {p.failure}" for n, p in enumerate(self.played, 1) if p.failure is not None]

    async def _play(self, step: AnyStep) -> str:
        match step:
            case CommandStep() | PressStep() | AutocompleteStep() | SayStep():
                return await self._act(step)
            case VisitStep():
                return await self._visit(step)
            case WaitStep():
                self._waited = True
                return await (self._wait_job(step) if step.wait_for == "job" else self._wait_message(step))
            case TogetherStep():
                return "; ".join(await asyncio.gather(*(self._play(inner) for inner in step.together)))
            case StopRedisStep():
                return await self._outage(step)
            case RestartStep() | KillStep():
                return await self._process(step)
            case AdvanceClockStep():
                self._discord.clock.advance(minutes=step.advance_clock.minutes)
                return f"it is now {self._discord.clock.iso()[11:16]} UTC"
            case GrantStep():
                ends_at = None if step.grant.ends_in is None else self._discord.clock.now() + 60 * step.grant.ends_in.minutes
                self._discord.grant(step.grant.to, step.grant.sku, for_guild=step.grant.for_guild, ends_at=ends_at)
            case EndStep():
                bought = step.end_purchase
                after_s = 60 * bought.ends_in.minutes if bought.ends_in is not None else 0.0
                self._discord.ends(self._discord.bought(bought.of, bought.sku), self._discord.clock.now() + after_s)
            case RefundStep():
                self._discord.revoke(self._discord.bought(step.refund_purchase.of, step.refund_purchase.sku))
            case DeleteChannelStep():
                self._discord.delete_channel(step.delete_channel)
            case FaultStep():
                self._discord.fault(**step.fault.model_dump())
            case DropStep():
                self._discord.gateway.drop()
        return ""

    # -- people act ---------------------------------------------------------------------------------------------------

    async def _act(self, step: CommandStep | PressStep | AutocompleteStep | SayStep) -> str:
        person = self._discord.user(step.who)
        if self._waited:  # a run of actions shares one point from which waits look for messages
            self._since, self._waited = self._discord.world.ids.next(), False
            self._acted_at = self._discord.clock.now()
        if isinstance(step, SayStep):
            person.say(step.say, await self._attachments.paths(step.attach) if step.attach else (), channel=step.where)
            return ""
        if isinstance(step, AutocompleteStep):
            outcome = await person.autocomplete(step.autocomplete, step.option, step.text, step.options, channel=step.where)
            if outcome.failed:
                raise StepFailedError("no choices within 3 s")
            offered = [str(choice["value"]) for choice in outcome.choices]
            missing = [wanted for wanted in step.offers if wanted not in offered]
            shown = [unwanted for unwanted in step.hides if unwanted in offered]
            if missing or shown:
                wrong = [f"{', '.join(missing)} not offered"] * bool(missing) + [f"{', '.join(shown)} offered"] * bool(shown)
                raise StepFailedError(f"{'; '.join(wrong)}; offered: {', '.join(offered) or 'nothing'}")
            return ", ".join(offered) or "nothing to offer"
        try:
            if isinstance(step, PressStep):
                outcome, refused = await self._press(step, person)
            else:
                outcome, refused = await self._command(step, person)
        except ClientRefusedError as error:
            if step.expect == "refused":
                return f"their client refused: {error}"
            raise StepFailedError(f"their client refused: {error}") from None
        self._replies[person.name] = outcome
        if outcome.replies or outcome.interaction.source is not None:
            self._links.note(person.name, outcome.reply)
        return self._judge(outcome, refused, step.expect, step.says)

    def _judge(self, outcome: Outcome, refused: bool, expect: Expect | None, says: str | None) -> str:
        if outcome.failed:
            raise StepFailedError("the application did not respond within 3 s")
        shown = outcome.text or (outcome.reply.text if outcome.interaction.source is not None else "")
        if refused != (expect == "refused"):
            raise StepFailedError(f"{'refused' if refused else 'accepted'}: {short(shown)}")
        if says is not None and says.casefold() not in shown.casefold():
            raise StepFailedError(f"the answer does not say {says!r}: {short(shown)}")
        ack = "" if outcome.ack_ms is None else f" · ack {outcome.ack_ms:.0f} ms"
        return f"{'refused' if refused else 'ok'}: {short(shown)}{ack}"

    async def _press(self, step: PressStep, person: Person) -> tuple[Outcome, bool]:
        """A button, with the form it opens and the files its data set gets."""
        outcome = await person.press(self._target(step, person), step.press)
        if step.fill and not outcome.failed and not outcome.refused:
            outcome = await person.submit_modal(outcome, step.fill)
        if step.attach is None or outcome.failed or outcome.refused:
            return outcome, outcome.refused
        return await self._fill_up(outcome, await self._attachments.paths(step.attach), person, step.expect)

    async def _command(self, step: CommandStep, person: Person) -> tuple[Outcome, bool]:
        """A command with its files; a data set that it opens is filled up and started as a person would."""
        command = next((c for c in self._discord.commands if c["name"] == step.command.split()[0]), {"name": step.command, "options": []})
        attach = step.attach if isinstance(step.attach, dict) else {} if step.attach is None else {"images": step.attach}
        files = {key: await self._attachments.paths(value) for key, value in attach.items()}
        filled, left = fill_options(leaf_of(command, step.command), files) if files else ({}, [])
        options = {name: await self._typed(step, person, name, value) for name, value in step.options.items()} | filled
        outcome = await person.command(step.command, options, channel=step.where)
        if outcome.refused and step.expect != "refused" and find_button(outcome.reply, AGREE_BUTTON) is not None:
            await person.press(outcome.reply, AGREE_BUTTON)  # the first time, as anybody would
            outcome = await person.command(step.command, options, channel=step.where)
        if outcome.failed or outcome.refused:
            return outcome, outcome.refused
        return await self._fill_up(outcome, left, person, step.expect)

    async def _typed(self, step: CommandStep, person: Person, option: str, value: Value | LinkOf | Pick) -> Value:
        """An option's value as the person enters it."""
        if isinstance(value, LinkOf):
            return self._links.of(value.link_of)
        if not isinstance(value, Pick):
            return value
        offered = (await person.autocomplete(step.command, option, value.pick, channel=step.where)).choices
        if not offered:
            raise StepFailedError(f"nothing is offered for {option}:{value.pick}")
        return str(offered[0]["value"])

    async def _fill_up(self, outcome: Outcome, left: list[Path], person: Person, expect: Expect | None) -> tuple[Outcome, bool]:
        """The card of a data set gets the files that are left, in tens, and is started; another card is left alone."""
        while left:
            card = outcome.reply
            if find_button(card, ADD_BUTTON) is None:
                raise ScenarioError(f"{outcome.interaction.name} has no place for {len(left)} more files")
            batch, left = left[:FILES_PER_FORM], left[FILES_PER_FORM:]
            opened = await person.press(card, ADD_BUTTON)
            if opened.modal is None:
                return opened, opened.refused
            field = next(c["component"]["custom_id"] for c in opened.modal["components"] if c.get("component", {}).get("type") == 19)
            added = await person.submit_modal(opened, {field: batch})
            if added.failed or added.refused:
                return added, added.refused
            outcome = added if find_button(added.reply, START_BUTTON) is not None else outcome
        card = outcome.reply
        if find_button(card, ADD_BUTTON) is None and find_button(card, START_BUTTON) is None:
            return outcome, False
        start = find_button(card, START_BUTTON)
        if expect == "refused":
            return outcome, start is None or bool(start.get("disabled")) or start.get("style") == WARNED_STYLE
        if start is None:
            return outcome, True
        started = await person.press(card, START_BUTTON)
        return started, started.refused

    def _target(self, step: PressStep, person: Person) -> Message:
        """The message whose button is pressed.

        Raises:
            ScenarioError: there is none.
        """
        seen = list(reversed(person.sees(step.where)))
        if step.on == "last_reply":
            outcome = self._replies.get(person.name)
            if outcome is None:
                raise ScenarioError(f"{person.name} has had no answer yet")
            return outcome.reply
        public = [m for m in seen if m.only_for is None and m.author.bot]
        if step.on == "own_card":
            found = next((m for m in seen if m.only_for == person.account.id and find_button(m, step.press)), None)
        elif step.on == "last_video":
            videos = [m for m in public if m.has_video]
            found = next((m for m in videos if find_button(m, step.press)), videos[0] if videos else None)
        else:
            cards = [m for m in public if m.buttons and not m.has_video]
            found = next((m for m in cards if find_button(m, step.press)), cards[0] if cards else None)
        if found is None:
            raise ScenarioError(f"there is no {step.on.replace('_', ' ')} in #{step.where}")
        return found

    def _clip(self, wanted: Posted) -> Attachment | None:
        """The newest clip the bot has posted anywhere, or the newest one that was deleted again."""
        messages = sorted(self._discord.world.messages.values(), key=lambda message: message.id, reverse=True)
        gone = wanted.posted == "deleted_video"
        clips = (a for m in messages if m.author.bot and (m.deleted_at is not None) is gone for a in m.attachments if a.is_video)
        return next(clips, None)

    async def _visit(self, step: VisitStep) -> str:
        answer = await self._links.visit(step.visit, below=step.below, part=step.part)
        text = answer.body.decode(errors="replace") if answer.headers.get("content-type", "").startswith("text/") else ""
        if answer.status != step.status:
            raise StepFailedError(f"{answer.status} instead of {step.status}: {short(text)}")
        if "nosniff" not in answer.headers.get("x-content-type-options", "") or "content-security-policy" not in answer.headers:
            raise StepFailedError("security headers are missing")
        if step.says is not None and step.says.casefold() not in text.casefold():
            raise StepFailedError(f"the page does not say {step.says!r}")
        if step.hides is not None and step.hides.casefold() in text.casefold():
            raise StepFailedError(f"the page says {step.hides!r}")
        return f"{answer.status}, {len(answer.body)} bytes"

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def _wait_job(self, step: WaitStep) -> str:
        owner = None if step.of is None else self._discord.user(step.of).account.id
        job = await job_reached(
            self._records, step.status, step.within_s, owner_id=owner, lora=step.name, steps=step.steps, check=self._stack.check
        )
        took = "" if not job["finished_at"] or not job["started_at"] else f" after {job['finished_at'] - job['started_at']:.1f} s"
        return f"{job['kind']} {job['status']}{took}"

    async def _wait_message(self, step: WaitStep) -> str:
        deadline = asyncio.get_running_loop().time() + step.within_s
        pinged = None if step.of is None else self._discord.user(step.of).account.id

        def look() -> Message | None:
            for message in self._discord.messages(step.where):
                new = message.id > self._since and message.id not in self._taken and message.author.bot and not message.loading
                if new and _fits(message, step) and (pinged is None or pinged in message.pinged or f"<@{pinged}>" in message.text):
                    return message
            return None

        while True:
            self._stack.check()
            if step.with_ == "video":
                self._rule_out_failure(step)
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                raise TimeoutError(f"no message with {step.with_ or 'anything'} in #{step.where} within {step.within_s:g} s")
            try:
                found: Message = await self._discord.until(look, min(1.0, left_s), "a message")
                break
            except TimeoutError:
                continue
        self._taken.add(found.id)
        return short(found.text) or "a message without text"

    def _rule_out_failure(self, step: WaitStep) -> None:
        """Stop waiting for a clip when the person's newest job has failed."""
        owner = None if step.of is None else self._discord.user(step.of).account.id
        job = self._records.newest(owner)
        if job is not None and job["status"] == "failed" and job["created_at"] > self._acted_at:
            raise StepFailedError(f"the newest job failed: {job['failure']} {job['failure_detail'] or ''}".strip())

    # -- trouble ------------------------------------------------------------------------------------------------------

    async def _process(self, step: RestartStep | KillStep) -> str:
        name = step.restart if isinstance(step, RestartStep) else step.kill
        if isinstance(step, RestartStep):
            code = await self._stack.stop(name)
        else:
            code = await self._stack.kill(name)
            if step.again_after_s is None:
                return f"exit code {code}"
            await asyncio.sleep(step.again_after_s)
        if name == "bot":
            await self._discord.until(lambda: not self._discord.gateway.live_sessions, 10, "the bot's goodbye")
        await self._stack.up(name)
        if name == "bot":
            await self._stack.bot_ready()
        return f"exit code {code}, started again"

    async def _outage(self, step: StopRedisStep) -> str:
        await self._stack.stop("valkey")
        began = time.monotonic()
        results = [await self._play(inner) for inner in step.meanwhile]
        await asyncio.sleep(max(0.0, step.stop_redis.for_s - (time.monotonic() - began)))
        await self._stack.up("valkey")
        return "; ".join(results)


def _fits(message: Message, step: WaitStep) -> bool:
    if step.says is not None and step.says.casefold() not in message.text.casefold():
        return False
    if step.with_ == "video":
        return message.has_video
    if step.with_ == "picture":
        return any(a.content_type.startswith("image/") for a in message.attachments)
    if step.with_ == "buttons":
        return bool(message.buttons)
    return True
