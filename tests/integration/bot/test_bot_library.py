"""The LoRA library on a real database and store: who sees what, versions, deleting, casts, a shelf of 10,000."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from ulid import ULID

from bot.errors import Refusal, RefusalCode
from bot.services.library import Filters, Scope
from bot.services.loras import Lora
from bot.services.values import Actor
from bot.storage import library as table
from bot.storage.loras import LoraState, Visibility, Withheld
from engine.contracts.jobs import TrainLora
from engine.contracts.lora import LoraKind
from engine.contracts.selection import CheckpointScore, KeptCheckpoint
from engine.contracts.status import Lane
from tests.support.bot_core import GUILD, Core, PlayedWorker, actor, place
from tests.support.bot_core import trained as trained_result
from tests.support.contracts import selection, stored
from tests.support.lora_files import write_lora

OTHER_GUILD = 11


async def trained(core: Core, worker: PlayedWorker, name: str = "zoko", who: Actor | None = None) -> Lora:
    """A LoRA whose training succeeded, with its file in the store."""
    await core.train(who, name=name)
    await finish(core, worker)
    return await core.services.loras.named(name, who or actor())


async def finish(core: Core, worker: PlayedWorker) -> None:
    """The waiting training succeeds."""
    await core.dispatcher.dispatch()
    job = await worker.claim(Lane.TRAIN)
    await core.store.put_bytes(f"loras/{job.lora_id}/{job.job_id}.safetensors", b"weights", "application/x-safetensors")  # type: ignore[union-attr]
    await worker.succeed(job)
    await core.consume()


async def refusal(awaitable: object) -> Refusal:
    """The refusal that comes."""
    with pytest.raises(Refusal) as refused:
        await awaitable  # type: ignore[misc]
    return refused.value


async def seen(core: Core, who: Actor, **filters: object) -> list[str]:
    """Names on the first page."""
    return [lora.name for lora in (await core.services.library.page(who, Filters(**filters), 1)).loras]  # type: ignore[arg-type]


async def test_private_lora_looks_like_a_missing_one_to_everybody_else(core: Core, played_worker: PlayedWorker) -> None:
    """By name, by id, in lists, in autocomplete and as a taken name: nothing tells a foreign private LoRA from none."""
    lora = await trained(core, played_worker)
    mate, library = actor(2, name="mate"), core.services.library
    assert await seen(core, mate) == ["zoko"]
    await library.edit(lora.lora_id, actor(), name="zoko", visibility=Visibility.PRIVATE, examples=[])
    assert await seen(core, mate) == []
    assert await seen(core, actor()) == ["zoko"]
    hidden, missing = await refusal(core.generate(mate, loras="zoko")), await refusal(core.generate(mate, loras="zok0"))
    assert (hidden.code, hidden.facts) == (missing.code, missing.facts | {"name": "zoko"})
    by_id, never = await refusal(library.show(lora.lora_id, mate)), await refusal(library.show(str(ULID()), mate))
    assert (by_id.code, by_id.facts) == (never.code, never.facts)
    for forbidden in (library.delete, library.download, library.owned):
        assert (await refusal(forbidden(lora.lora_id, mate))).code is RefusalCode.LORA_GONE
    assert await core.services.loras.complete("zo", mate) == []
    await core.train(mate, name="zoko")  # the name is free for others


async def test_public_lora_is_used_from_another_server_by_name(core: Core, played_worker: PlayedWorker) -> None:
    """Elsewhere a server's LoRA is unknown; a public one works, is credited, and its name is taken among public ones only."""
    lora = await trained(core, played_worker)
    stranger = actor(3, name="stranger", guild_id=OTHER_GUILD)
    assert (await refusal(core.generate(stranger, loras="zoko"))).code is RefusalCode.LORA_UNKNOWN
    await core.services.library.edit(lora.lora_id, actor(), name="zoko", visibility=Visibility.PUBLIC, examples=[])
    clip = (await core.generate(stranger, loras="zoko:0.7")).view.record.job
    assert await core.services.loras.makers(clip.adapters, but=3) == (1,)  # type: ignore[union-attr]
    assert await seen(core, stranger, scope=Scope.PUBLIC) == ["zoko"]
    assert await seen(core, stranger, scope=Scope.SERVER) == []
    mine = await trained(core, played_worker, "zoko", stranger)
    assert (await core.services.loras.named("zoko", stranger)).lora_id == mine.lora_id, "one's own comes first"
    publish = core.services.library.edit(mine.lora_id, stranger, name="zoko", visibility=Visibility.PUBLIC, examples=[])
    assert (await refusal(publish)).facts["by_self"] is False


async def test_imported_lora_is_used_like_a_trained_one(core: Core, tmp_path: Path) -> None:
    """A file is taken once it was checked; its own download link brings it back under another name; nothing foreign is fetched."""
    imports, style = core.services.imports, LoraKind.STYLE
    data = tmp_path / "any.safetensors"
    write_lora(data)
    done = await imports.from_file(core.file("any.safetensors", data.read_bytes()), actor(), name="ink", kind=style, trigger="inky")
    assert (done.lora.state, done.lora.job_id, done.lora.trigger, done.facts.rank) == (LoraState.READY, None, "inky", 4)
    job = (await core.generate(loras="ink")).view.record.job
    assert await core.store.exists(job.adapters[0].file.key)  # type: ignore[union-attr]
    _, link = await core.services.library.download(done.lora.lora_id, actor())
    again = await imports.from_link(link, actor(2), name="ink2", kind=style, trigger=None)
    assert again.lora.owner_id == 2
    tampered = (link[:-3], link.replace("/d/", "/d/A"))
    for foreign in ("https://example.org/d/x/y", "http://127.0.0.1:1/healthz", "file:///etc/passwd", *tampered):
        taken = imports.from_link(foreign, actor(), name="ink3", kind=style, trigger=None)
        assert (await refusal(taken)).code is RefusalCode.LINK_NOT_OURS
    core.clock.now += core.settings.link_expires_s + 1
    assert (await refusal(imports.from_link(link, actor(), name="ink3", kind=style, trigger=None))).code is RefusalCode.LINK_EXPIRED


async def test_import_refuses_what_is_no_lora_of_this_model(core: Core) -> None:
    """A refused file leaves nothing: no row, no object; a taken name is said before the file is read."""
    imports, style = core.services.imports, LoraKind.STYLE
    for data in (b"", b"not a lora", b"\x80\x02pickle"):
        refused = await refusal(imports.from_file(core.file("x.safetensors", data), actor(), name="ink", kind=style, trigger=None))
        assert refused.code is RefusalCode.LORA_FILE
    assert await core.rows("loras") == []
    assert await core.store.list("") == []


async def test_content_that_was_taken_down_is_not_imported_again(core: Core, tmp_path: Path) -> None:
    """The same weights under another name are still the same weights."""
    data = tmp_path / "any.safetensors"
    write_lora(data)
    imports, style = core.services.imports, LoraKind.STYLE
    done = await imports.from_file(core.file("a.safetensors", data.read_bytes()), actor(), name="ink", kind=style, trigger=None)
    assert done.lora.manifest is not None
    assert done.lora.file is not None
    source = done.lora.file.model_copy(update={"sha256": done.lora.manifest.data_sha256})
    async with core.database.transaction() as tx:
        await core.services.takedowns.add(tx, [source], "report")
    copy = imports.from_file(core.file("b.safetensors", data.read_bytes()), actor(2), name="fresh", kind=style, trigger=None)
    assert (await refusal(copy)).code is RefusalCode.TAKEN_DOWN
    assert len(await core.store.list("loras")) == 1


async def test_copies_share_the_fate_of_the_lora_they_were_made_of(core: Core, tmp_path: Path) -> None:
    """A copy, and a copy of that copy, are known as such; while one of them is withheld no new one is made."""
    data = tmp_path / "any.safetensors"
    write_lora(data)
    imports, style, library = core.services.imports, LoraKind.STYLE, core.services.library
    taken = {"kind": style, "trigger": None}
    first = (await imports.from_file(core.file("a.safetensors", data.read_bytes()), actor(), name="ink", **taken)).lora
    _, link = await library.download(first.lora_id, actor())
    second = (await imports.from_link(link, actor(2), name="ink2", **taken)).lora
    _, further = await library.download(second.lora_id, actor(2))
    third = (await imports.from_link(further, actor(3), name="ink3", **taken)).lora
    async with core.database.transaction() as tx:
        assert await table.copies(tx, first.lora_id) == sorted([second.lora_id, third.lora_id])
        assert await table.copies(tx, third.lora_id) == sorted([first.lora_id, second.lora_id])
        await table.withhold(tx, second.lora_id, Withheld.LIKENESS)
    assert (await refusal(imports.from_link(further, actor(4), name="ink4", **taken))).code is RefusalCode.LINK_EXPIRED
    assert third.file is not None
    saved = core.file("saved.safetensors", await core.store.get_bytes(third.file))
    refused = await refusal(imports.from_file(saved, actor(4), name="ink4", **taken))
    assert (refused.code, refused.facts["reason"]) == (RefusalCode.LORA_WITHHELD, Withheld.LIKENESS)
    assert len(await core.store.list("loras")) == 3


async def test_only_the_owner_changes_a_lora(core: Core, played_worker: PlayedWorker) -> None:
    """Others of the server are refused; bad names and examples are refused with their limits."""
    lora, library = await trained(core, played_worker), core.services.library
    for attempt in (
        library.delete(lora.lora_id, actor(2)),
        library.roll_back(lora.lora_id, actor(2), 1),
        library.owned(lora.lora_id, actor(2)),
    ):
        assert (await refusal(attempt)).code is RefusalCode.NOT_OWNER
    server = {"visibility": Visibility.SERVER}
    for name in ("../x", "a'; DROP TABLE loras;--", "zo\u200bko", "\u202ezoko", "@everyone", "**b**", "x"):
        assert (await refusal(library.edit(lora.lora_id, actor(), name=name, examples=[], **server))).code is RefusalCode.NAME_INVALID
    assert (
        await refusal(library.edit(lora.lora_id, actor(), name="zoko", examples=["x" * 201], **server))
    ).code is RefusalCode.EXAMPLES_TOO_LONG
    renamed = await library.edit(lora.lora_id, actor(), name="Zed", examples=["zed sings", " "], **server)
    assert (renamed.name, renamed.examples, renamed.trigger) == ("zed", ("zed sings",), "zoko")
    assert [choice.value for choice in await core.services.loras.complete("z", actor())] == ["zed"]


async def test_deleted_lora_keeps_its_file_until_no_open_job_loads_it(core: Core, played_worker: PlayedWorker) -> None:
    """Nobody can choose it any more at once; the queued clip still renders; then file, versions and preview go."""
    lora = await trained(core, played_worker)
    key = f"loras/{lora.lora_id}/{lora.job_id}.safetensors"
    await core.generate(loras="zoko")
    done = await core.services.library.delete(lora.lora_id, actor())
    assert done.still_used_by == 1
    assert await core.store.exists(key)
    assert (await refusal(core.generate(loras="zoko"))).code is RefusalCode.LORA_UNKNOWN
    assert (await refusal(core.services.library.show(lora.lora_id, actor()))).code is RefusalCode.LORA_GONE
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.RENDER))
    await core.consume()
    assert await core.services.library.purge() == 1
    assert not await core.store.exists(key)
    assert await core.rows("lora_versions") == []
    assert await core.services.library.purge() == 0


async def test_new_version_is_used_at_once_and_rolled_back(core: Core, played_worker: PlayedWorker) -> None:
    """A second training of the same LoRA keeps its id and name; each version keeps its file."""
    lora, library = await trained(core, played_worker), core.services.library
    report = await core.services.datasets.open_version(actor(), await library.owned(lora.lora_id, actor()))
    await core.services.datasets.add(report.dataset.dataset_id, actor(), core.pictures(5, start=50))
    await core.services.jobs.submit_training(report.dataset.dataset_id, actor(), place(), 77)
    assert (await core.services.loras.named("zoko", actor())).file == lora.file, "the old one serves meanwhile"
    await finish(core, played_worker)
    renewed = await library.show(lora.lora_id, actor())
    assert [version.version for version in renewed.versions] == [2, 1]
    assert renewed.lora.version == 2
    assert renewed.lora.file != lora.file
    back = await library.roll_back(lora.lora_id, actor(), 1)
    assert (back.version, back.file) == (1, lora.file)
    assert (await refusal(library.roll_back(lora.lora_id, actor(), 3))).code is RefusalCode.VERSION_UNKNOWN


async def test_checkpoints_that_were_kept_can_be_picked_instead(core: Core, played_worker: PlayedWorker) -> None:
    """Each is a version under the chosen one, with its own file and step; a training that stopped early costs what ran."""
    await core.train()
    await core.dispatcher.dispatch()
    job = await played_worker.claim(Lane.TRAIN)
    assert isinstance(job, TrainLora)
    kept = KeptCheckpoint(step=300, file=stored(f"loras/{job.lora_id}/{job.job_id}-1-step-000300.safetensors", size=7))
    chosen = trained_result(job)
    manifest = chosen.manifest.model_copy(update={"steps": 210})
    choice = selection(stopped_early=True, scores=(selection().best, CheckpointScore(step=300, effect=0.3)))
    await played_worker.succeed(job, chosen.model_copy(update={"manifest": manifest, "selection": choice, "kept": (kept,)}))
    await core.consume()
    lora = await core.services.loras.named("zoko", actor())
    details = await core.services.library.show(lora.lora_id, actor())
    assert [version.manifest.steps for version in details.versions] == [210, 300]
    assert (lora.version, lora.file) == (2, chosen.file)
    assert (await core.services.library.roll_back(lora.lora_id, actor(), 1)).file == kept.file
    record = (await core.services.jobs.get(job.job_id)).record
    assert record.units_charged == math.ceil(record.units * 300 / job.steps)


async def test_training_post_deleted_leaves_the_lora(core: Core, played_worker: PlayedWorker) -> None:
    """Deleting the message of a training takes neither the LoRA nor its pictures."""
    lora = await trained(core, played_worker)
    assert lora.job_id is not None
    await core.services.jobs.delete_result(lora.job_id, actor())
    assert (await core.services.library.show(lora.lora_id, actor())).lora.file == lora.file
    assert (await core.generate(loras="zoko")).duplicate is False


async def test_withheld_lora_is_refused_with_its_reason(core: Core, played_worker: PlayedWorker) -> None:
    """Typed, called by a cast, or asked for again: a withheld LoRA does not load, and others do not see it."""
    lora = await trained(core, played_worker)
    clip = await core.generate(loras="zoko")
    await core.services.casts.save("pilot", "zoko:0.5", actor())
    async with core.database.transaction() as tx:
        await table.withhold(tx, lora.lora_id, Withheld.LIKENESS)
    for attempt in (
        core.generate(loras="zoko"),
        core.generate(loras="@pilot"),
        core.services.clips.again(clip.view.record.job_id, actor(), place(), 5),
        core.services.library.download(lora.lora_id, actor()),
    ):
        assert (await refusal(attempt)).code is RefusalCode.LORA_WITHHELD
    assert await seen(core, actor(2)) == []
    assert await seen(core, actor()) == ["zoko"]
    assert await core.services.loras.complete("z", actor()) == []


async def test_cast_brings_its_members_with_their_weights(core: Core, played_worker: PlayedWorker) -> None:
    """A cast is called with @, scaled by a weight, shared with the server, and leaves out what the caller may not see."""
    casts = core.services.casts
    zoko = await trained(core, played_worker)
    await trained(core, played_worker, "ink")
    await casts.save("@Pilot", "zoko:0.8, ink", actor())
    job = (await core.generate(actor(2), loras="@pilot:0.5")).view.record.job
    assert [(use.name, use.weight) for use in job.adapters] == [("zoko", 0.4), ("ink", 0.5)]  # type: ignore[union-attr]
    assert (await refusal(core.generate(loras="@pilot, zoko"))).code is RefusalCode.LORA_DUPLICATE
    assert (await refusal(core.generate(loras="@nobody"))).code is RefusalCode.CAST_UNKNOWN
    await core.services.library.edit(zoko.lora_id, actor(), name="zoko", visibility=Visibility.PRIVATE, examples=[])
    job = (await core.generate(actor(2), loras="@pilot")).view.record.job
    assert [use.name for use in job.adapters] == ["ink"]  # type: ignore[union-attr]
    assert [[lora.name for lora, _ in cast.members] for cast in await casts.listed(actor(2))] == [["ink"]]
    assert (await refusal(casts.delete("pilot", actor(2)))).code is RefusalCode.CAST_UNKNOWN
    assert (await refusal(core.generate(actor(2, guild_id=OTHER_GUILD), loras="@pilot"))).code is RefusalCode.CAST_UNKNOWN
    await casts.delete("pilot", actor())
    assert await casts.listed(actor()) == []


async def test_library_finds_by_kind_maker_and_text(core: Core, played_worker: PlayedWorker) -> None:
    """Filters combine; text that means something to SQL is only text."""
    await trained(core, played_worker)
    await trained(core, played_worker, "ink_wash", actor(2, name="mate"))
    assert await seen(core, actor(), text="ink_") == ["ink_wash"]
    assert await seen(core, actor(), text="MATE") == ["ink_wash"]
    assert await seen(core, actor(), owner_id=1) == ["zoko"]
    assert await seen(core, actor(), scope=Scope.MINE) == ["zoko"]
    assert await seen(core, actor(), kind=LoraKind.STYLE) == []
    for text in ("%", "_%", "' OR 1=1 --", "\\"):
        assert await seen(core, actor(), text=text) == []


async def test_ten_thousand_loras_in_one_server_answer_fast(core: Core) -> None:
    """Every page is reachable, search finds the needle, and autocomplete offers 25 at once, from memory after the first time."""
    row = (
        "INSERT INTO loras (lora_id, owner_id, owner_name, guild_id, name, kind, trigger_word, base, state, file, created_at) "
        "VALUES (?, ?, 'somebody', ?, ?, 'style', ?, 'tiny', 'ready', '{}', 0)"
    )
    async with core.database.transaction() as tx:
        rows = [(f"01JD{n:022d}", 1000 + n % 500, GUILD, f"style-{n:05d}", f"style-{n:05d}") for n in range(10_000)]
        await tx.executemany(row, rows)
        file = '{"key": "loras/a/b.safetensors", "sha256": "' + "0" * 64 + '", "size": 1, "media_type": "application/x-safetensors"}'
        await tx.execute("UPDATE loras SET file = ?", (file,))
    library, who = core.services.library, actor()
    first, last = await library.page(who, Filters(), 1), await library.page(who, Filters(), 99_999)
    assert (first.found, first.whole, first.pages) == (66, False, 11), "no page walks through everything"
    assert (last.found, last.whole, last.number, last.pages, len(last.loras)) == (10_000, True, 1667, 1667, 4)
    near = await library.page(who, Filters(), 1657)
    assert (near.found, near.whole, near.pages) == (10_000, True, 1667)
    found = await library.page(who, Filters(text="tyle-07777"), 1)
    assert [lora.name for lora in found.loras] == ["style-07777"]
    assert len(await core.services.loras.complete("", who)) == 25
    began = time.perf_counter()
    assert [choice.value for choice in await core.services.loras.complete("-0777", who)] == [f"style-0777{n}" for n in range(10)]
    assert time.perf_counter() - began < 1.0  # Discord waits three seconds
    nearest = (await refusal(core.generate(loras="style-0777"))).facts["nearest"]
    assert nearest


async def test_download_link_lives_as_long_as_its_reader_may_have_the_file(core: Core, played_worker: PlayedWorker) -> None:
    """Once the LoRA is private again, the owner's link works and everybody else's does not, not even to import it."""
    lora, library = await trained(core, played_worker), core.services.library
    await library.edit(lora.lora_id, actor(), name="zoko", visibility=Visibility.PUBLIC, examples=[])
    links = [(await library.download(lora.lora_id, actor(number)))[1] for number in (1, 2)]
    opened = [core.services.files.signer.open(*link.rsplit("/", 2)[1:]) for link in links]

    async def working() -> list[bool]:
        return [await core.services.takedowns.allows(each.obj, each.reader_id) for each in opened if each is not None]

    assert await working() == [True, True]
    await library.edit(lora.lora_id, actor(), name="zoko", visibility=Visibility.PRIVATE, examples=[])
    assert await working() == [True, False]
    taken = core.services.imports.from_link(links[1], actor(2), name="mine", kind=LoraKind.STYLE, trigger=None)
    assert (await refusal(taken)).code is RefusalCode.LINK_EXPIRED
    await library.delete(lora.lora_id, actor())
    assert await working() == [False, False]


async def test_share_honours_what_may_be_seen(core: Core, played_worker: PlayedWorker) -> None:
    """A page exists while its clip does, is closed by its owner, a delete, a withheld LoRA; private LoRAs are not named."""
    zoko = await trained(core, played_worker)
    clip = await core.generate(actor(2, name="mate"), loras="zoko:0.9")
    job_id, mate, shares = clip.view.record.job_id, actor(2), core.services.shares
    assert (await refusal(shares.share(job_id, mate))).code is RefusalCode.NOT_SHAREABLE
    await core.dispatcher.dispatch()
    await played_worker.succeed(await played_worker.claim(Lane.RENDER))
    await core.consume()
    assert (await refusal(shares.share(job_id, actor()))).code is RefusalCode.NOT_OWNER
    address = await shares.share(job_id, mate)
    assert await shares.share(job_id, mate) == address
    share_id = address.rsplit("/", 1)[1]
    shown = await shares.open(share_id)
    assert shown is not None
    assert [(each.name, each.maker) for each in shown.ingredients] == [("zoko", "maker")]
    await core.services.library.edit(zoko.lora_id, actor(), name="zoko", visibility=Visibility.PRIVATE, examples=[])
    hidden = await shares.open(share_id)
    assert hidden is not None
    assert [(each.name, each.maker) for each in hidden.ingredients] == [(None, None)]
    async with core.database.transaction() as tx:
        await table.withhold(tx, zoko.lora_id, Withheld.LIKENESS)
    assert await shares.open(share_id) is None
    async with core.database.transaction() as tx:
        await table.withhold(tx, zoko.lora_id, None)
    assert await shares.open(share_id) is not None
    await shares.unshare(job_id, mate)
    assert await shares.open(share_id) is None
    again = (await shares.share(job_id, mate)).rsplit("/", 1)[1]
    assert again != share_id
    await core.services.jobs.delete_result(job_id, mate)
    assert await shares.open(again) is None
    assert await shares.open("'; --") is None
