"""Everything the database knows of a person: one declaration drives the export, the erasure and the test that no table is forgotten.

Erasing is thorough by construction: `secure_delete` zeroes what is freed, a checkpoint empties the write-ahead log, and a VACUUM leaves no
page behind on which an older copy of a row could have survived a split or a merge of its page.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiosqlite import Connection

from bot.storage.database import Database

BATCH = 500


@dataclass(frozen=True)
class Personal:
    """Rows of a table that are about a person.

    `where` names them by `:user`; they are deleted, unless `pseudonym` names the columns that get a number nobody has (rows that must stay
    for others, or for the books). `exported` is False for rows that are somebody else's business.
    """

    table: str
    where: str
    pseudonym: tuple[str, ...] = ()
    exported: bool = True


_MY_JOBS = "job_id IN (SELECT job_id FROM jobs WHERE owner_id = :user)"
_MY_LORAS = "lora_id IN (SELECT lora_id FROM loras WHERE owner_id = :user)"

# in the order of erasure: what refers to something goes before it
PERSONAL: Sequence[Personal] = (
    Personal("shares", _MY_JOBS),
    Personal("outbox", _MY_JOBS, exported=False),
    Personal("cards", _MY_JOBS, exported=False),
    Personal("reports", _MY_JOBS, exported=False),  # what others said of them
    Personal("reports", "reporter_id = :user", pseudonym=("reporter_id",)),
    Personal("reports", "decided_by = :user", pseudonym=("decided_by",), exported=False),
    Personal("likenesses", "owner_id = :user OR person_id = :user"),
    Personal("dataset_items", "dataset_id IN (SELECT dataset_id FROM datasets WHERE owner_id = :user)"),
    Personal("datasets", "owner_id = :user"),
    Personal("datasets", "person_id = :user", pseudonym=("person_id",), exported=False),
    Personal("cast_members", "cast_id IN (SELECT cast_id FROM casts WHERE owner_id = :user)"),
    Personal("cast_members", _MY_LORAS, exported=False),
    Personal("casts", "owner_id = :user"),
    Personal("lora_versions", _MY_LORAS),
    Personal("loras", "owner_id = :user"),
    Personal("jobs", "owner_id = :user"),
    Personal("terms", "user_id = :user"),
    Personal("holdings", "user_id = :user"),
    Personal("blocks", "user_id = :user"),
    Personal("blocks", "blocked_by = :user", pseudonym=("blocked_by",), exported=False),
    Personal("prompt_rules", "created_by = :user", pseudonym=("created_by",), exported=False),
    Personal("notices", "user_id = :user OR instr(facts, CAST(:user AS TEXT)) > 0"),
    Personal("audit", "actor_id = :user", pseudonym=("actor_id",)),
    Personal("ledger", "user_id = :user", pseudonym=("user_id",)),
    Personal("balances", "user_id = :user"),  # of no use without the entries, which moved to the pseudonym and took theirs along
    Personal("users", "user_id = :user"),
)

GUILD_TABLES = ("guilds", "guild_channels", "guild_roles", "role_limits", "blocks", "prompt_rules", "casts")
"""What belongs to a server alone."""

PERSON_COLUMNS = frozenset({"user_id", "owner_id", "person_id", "reporter_id", "decided_by", "blocked_by", "created_by", "actor_id"})
"""Names of columns that hold a person's id; a test compares them with `PERSONAL`. `erasures` goes with `forget`."""


def pseudonym() -> int:
    """A number no person has: Discord's are positive."""
    return -1 - secrets.randbelow(2**62)


async def export(db: Connection, user_id: int) -> dict[str, list[dict[str, Any]]]:
    """Every row about a person, by table; JSON columns as values."""
    found: dict[str, list[dict[str, Any]]] = {}
    for part in PERSONAL:
        if part.exported:
            rows = await db.execute_fetchall(f"SELECT * FROM {part.table} WHERE {part.where}", {"user": user_id})  # noqa: S608 - constants
            found.setdefault(part.table, []).extend({key: _value(row[key]) for key in row.keys()} for row in rows)  # noqa: SIM118 - a Row
    return found


def _value(stored: Any) -> Any:
    if isinstance(stored, bytes):
        return base64.b64encode(stored).decode()
    if isinstance(stored, str) and stored[:1] in ("{", "["):
        try:
            return json.loads(stored)
        except ValueError:
            return stored
    return stored


@dataclass(frozen=True)
class Traces:
    """What a person has outside of the database."""

    job_ids: tuple[str, ...]  # and ids of data sets, which captions of their items are kept under
    lora_ids: tuple[str, ...]
    messages: tuple[tuple[int, int], ...]  # (channel, message) of their results and status cards


async def traces(db: Connection, user_id: int) -> Traces:
    """Look them up before the rows go."""
    jobs = list(
        await db.execute_fetchall(
            """SELECT jobs.job_id, channel_id, posted_channel_id, posted_message_id, message_id FROM jobs LEFT JOIN cards USING (job_id)
            WHERE owner_id = ?""",
            (user_id,),
        )
    )
    loras = await db.execute_fetchall("SELECT lora_id FROM loras WHERE owner_id = ?", (user_id,))
    posts = [(row["posted_channel_id"], row["posted_message_id"]) for row in jobs if row["posted_message_id"] is not None]
    posts += [(row["channel_id"], row["message_id"]) for row in jobs if row["message_id"] is not None]
    sets = await db.execute_fetchall("SELECT dataset_id, caption_job FROM datasets WHERE owner_id = ?", (user_id,))
    drafts = [each for row in sets for each in (row["dataset_id"], row["caption_job"]) if each]
    return Traces((*(row["job_id"] for row in jobs), *drafts), tuple(row["lora_id"] for row in loras), tuple(posts))


async def request(tx: Connection, user_id: int, now: float) -> None:
    """Somebody wants to be forgotten; kept until it is done, so that no restart forgets to."""
    await tx.execute("INSERT INTO erasures (user_id, requested_at) VALUES (?, ?) ON CONFLICT DO NOTHING", (user_id, now))


async def requested(db: Connection, user_id: int) -> bool:
    """True while somebody is being forgotten."""
    return bool(list(await db.execute_fetchall("SELECT 1 FROM erasures WHERE user_id = ?", (user_id,))))


async def pending(db: Connection) -> list[int]:
    """People to forget, who asked first comes first."""
    return [row["user_id"] for row in await db.execute_fetchall("SELECT user_id FROM erasures ORDER BY requested_at")]


async def open_jobs(db: Connection, user_id: int) -> list[str]:
    """Jobs that have not ended: theirs, and those of others that load LoRAs of theirs."""
    rows = await db.execute_fetchall(
        """SELECT job_id FROM jobs WHERE owner_id = :user AND finished_at IS NULL UNION
        SELECT job_id FROM jobs, json_each(jobs.request, '$.adapters') AS used WHERE finished_at IS NULL
            AND json_extract(used.value, '$.lora_id') IN (SELECT lora_id FROM loras WHERE owner_id = :user)""",
        {"user": user_id},
    )
    return [row["job_id"] for row in rows]


async def open_jobs_of_guild(db: Connection, guild_id: int) -> list[str]:
    """Jobs of a server that have not ended."""
    rows = await db.execute_fetchall("SELECT job_id FROM jobs WHERE guild_id = ? AND finished_at IS NULL", (guild_id,))
    return [row["job_id"] for row in rows]


async def forget_guild(tx: Connection, guild_id: int) -> None:
    """A server's settings, rules and casts go; LoRAs made there stay with their owners, who alone see them from now on."""
    for table in GUILD_TABLES:
        await tx.execute(f"DELETE FROM {table} WHERE guild_id = ?", (guild_id,))  # noqa: S608 - constants
    await tx.execute("UPDATE loras SET visibility = 'private' WHERE guild_id = ? AND visibility = 'server'", (guild_id,))
    await tx.execute("UPDATE cards SET closed = 1 WHERE job_id IN (SELECT job_id FROM jobs WHERE guild_id = ?)", (guild_id,))


async def forget(database: Database, user_id: int, found: Traces) -> None:
    """Erase a person whose jobs have all ended, and whose files are gone."""
    changes = [change async for change in _foreign_rows(database.reader, user_id, found)]
    async with database.transaction() as tx:
        nobody = {"user": user_id, "nobody": pseudonym()}
        for part in PERSONAL:
            if part.pseudonym:
                renamed = ", ".join(f"{column} = :nobody" for column in part.pseudonym)
                await tx.execute(f"UPDATE {part.table} SET {renamed} WHERE {part.where}", nobody)  # noqa: S608 - constants
            else:
                await tx.execute(f"DELETE FROM {part.table} WHERE {part.where}", {"user": user_id})  # noqa: S608 - constants
        await tx.executemany("UPDATE jobs SET request = ? WHERE job_id = ?", changes)
        await tx.execute("UPDATE audit SET subject = replace(subject, ?, '0') WHERE subject LIKE '%' || ? || '%'", (str(user_id),) * 2)
        await tx.execute("DELETE FROM erasures WHERE user_id = ?", (user_id,))
    await database.compact()


async def _foreign_rows(db: Connection, user_id: int, found: Traces) -> AsyncIterator[tuple[str, str]]:
    """Jobs of others that mention files of the person: (request without them, job id)."""
    prefixes = (f"uploads/{user_id}/", *(f"jobs/{each}/" for each in found.job_ids), *(f"loras/{each}/" for each in found.lora_ids))
    mine, last = _Mine(frozenset(prefixes), frozenset(found.lora_ids)), ""
    while True:
        rows = list(
            await db.execute_fetchall(
                "SELECT job_id, request FROM jobs WHERE job_id > ? AND owner_id <> ? ORDER BY job_id LIMIT ?", (last, user_id, BATCH)
            )
        )
        if not rows:
            return
        last = rows[-1]["job_id"]
        for row in rows:
            request = json.loads(row["request"])
            cleaned = mine.removed_from(request)
            if cleaned != request:
                yield json.dumps(cleaned, ensure_ascii=False, separators=(",", ":")), row["job_id"]


@dataclass(frozen=True)
class _Mine:
    """Recognises files and LoRAs of one person in a job's JSON."""

    prefixes: frozenset[str]  # of store keys: "loras/01J…/"
    lora_ids: frozenset[str]

    def removed_from(self, value: Any) -> Any:
        """`value` with their LoRAs left out of stacks, and their files replaced by one that is nowhere."""
        if isinstance(value, list):
            return [self.removed_from(each) for each in value if not (isinstance(each, dict) and each.get("lora_id") in self.lora_ids)]
        if not isinstance(value, Mapping):
            return value
        if self._owns(value.get("key")):
            return {"key": "erased", "sha256": "0" * 64, "size": 0, "media_type": value.get("media_type", "")}
        return {key: self.removed_from(each) for key, each in value.items()}

    def _owns(self, key: object) -> bool:
        return isinstance(key, str) and "/".join(key.split("/")[:2]) + "/" in self.prefixes


def covered() -> Iterator[tuple[str, str]]:
    """(table, column) of every personal column that `PERSONAL` names."""
    for part in PERSONAL:
        for column in PERSON_COLUMNS:
            if f"{column} = :user" in part.where:
                yield part.table, column
