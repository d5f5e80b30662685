"""The gateway: HELLO, IDENTIFY, READY, GUILD_CREATE, heartbeats, RESUME with replay, op 7 and op 9, zlib-stream, shards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from bot.sandbox.core import Core
from bot.sandbox.payloads import guild_json, user_json

logger = logging.getLogger(__name__)

HEARTBEAT_INTERVAL_MS = 41_250
MAX_PAYLOAD_BYTES = 4096
MAX_SENDS_PER_MINUTE = 120
RESUME_WINDOW_S = 120.0
ROUND_TRIP_S = 0.03
"""Age of a heartbeat's answer: discord.py 2.7.1 misreads one that comes back before its own thread has noted the time of sending."""
RESUME_URL = "wss://gateway.discord.gg"

INTENT_GUILDS = 1 << 0
INTENT_GUILD_MEMBERS = 1 << 1
INTENT_GUILD_PRESENCES = 1 << 8
INTENT_GUILD_MESSAGES = 1 << 9
INTENT_DIRECT_MESSAGES = 1 << 12
INTENT_MESSAGE_CONTENT = 1 << 15
_PRIVILEGED = INTENT_GUILD_MEMBERS | INTENT_GUILD_PRESENCES | INTENT_MESSAGE_CONTENT


@dataclass
class Session:
    """One IDENTIFY; survives its connections until it is invalidated."""

    id: str
    intents: int
    shard: tuple[int, int]
    seq: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    connection: Connection | None = None
    lost_at: float | None = None  # time.monotonic()

    @property
    def live(self) -> bool:
        """True while a connection serves it."""
        return self.connection is not None

    @property
    def resumable(self) -> bool:
        """True while a client may still come back to it."""
        return self.live or (self.lost_at is not None and time.monotonic() - self.lost_at < RESUME_WINDOW_S)


class Connection:
    """One websocket."""

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.Transport, *, compress: bool) -> None:
        self.ws = ws
        self.transport = transport
        self._deflate = zlib.compressobj() if compress else None
        self._sends: deque[float] = deque()
        self.session: Session | None = None
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())

    def send(self, frame: dict[str, Any]) -> None:
        """Queue a frame; order is kept."""
        self._queue.put_nowait(frame)

    async def _write(self) -> None:
        while True:
            frame = await self._queue.get()
            text = json.dumps(frame)
            with contextlib.suppress(ConnectionError):
                if self._deflate is None:
                    await self.ws.send_str(text)
                else:
                    await self.ws.send_bytes(self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def too_fast(self) -> bool:
        """Count one received frame; True above Discord's 120 in 60 seconds."""
        now = time.monotonic()
        self._sends.append(now)
        while self._sends and now - self._sends[0] > 60:
            self._sends.popleft()
        return len(self._sends) > MAX_SENDS_PER_MINUTE

    async def stop(self) -> None:
        """End the writer."""
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer


class Gateway:
    """All sessions of one loopback Discord."""

    def __init__(self, core: Core, *, allowed_privileged: int = 0) -> None:
        self._core = core
        self._allowed_privileged = allowed_privileged
        self.sessions: dict[str, Session] = {}
        self.silent = False
        self.close_codes: list[int] = []
        self.resumes = 0
        self.identifies = 0

    @property
    def live_sessions(self) -> list[Session]:
        """Sessions with a connection."""
        return [s for s in self.sessions.values() if s.live]

    def dispatch(self, event: str, data: dict[str, Any], *, intent: int = 0, guild_id: int | None = None) -> bool:
        """Send an event to every session it concerns, and keep it for those that may resume; True when some session will see it."""
        concerned = False
        for session in list(self.sessions.values()):
            if not session.resumable:
                del self.sessions[session.id]
                continue
            if intent and not session.intents & intent:
                continue
            shard, shards = session.shard
            if shard != (0 if guild_id is None else (guild_id >> 22) % shards):
                continue
            concerned = True
            self._emit(session, event, data)
        return concerned

    def reaches_somebody(self, guild_id: int | None) -> bool:
        """True when a live session serves this guild."""
        return any(s.shard[0] == (0 if guild_id is None else (guild_id >> 22) % s.shard[1]) for s in self.live_sessions)

    def _emit(self, session: Session, event: str, data: dict[str, Any]) -> None:
        session.seq += 1
        frame = {"op": 0, "t": event, "s": session.seq, "d": data}
        session.events.append(frame)
        if session.connection is not None and not self.silent:
            session.connection.send(frame)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One websocket from HELLO to its end."""
        ws = web.WebSocketResponse(max_msg_size=1 << 20)
        await ws.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        connection = Connection(ws, request.transport, compress=request.query.get("compress") == "zlib-stream")
        connection.send({"op": 10, "t": None, "s": None, "d": {"heartbeat_interval": HEARTBEAT_INTERVAL_MS, "_trace": []}})
        try:
            while True:
                message = await ws.receive(timeout=HEARTBEAT_INTERVAL_MS / 1000 * 1.5)
                if message.type is not WSMsgType.TEXT:
                    break
                close_code = self._receive(connection, message.data)
                if close_code:
                    if close_code not in (4004, 4014):
                        self._core.violation("gateway", f"closed with {close_code}")
                    await ws.close(code=close_code)
                    break
        except TimeoutError:
            await ws.close(code=4009)
        finally:
            self._left(connection, ws.close_code or 1006)
            await connection.stop()
        return ws

    def _left(self, connection: Connection, code: int) -> None:
        self.close_codes.append(code)
        session = connection.session
        if session is not None and session.connection is connection:
            session.connection = None
            session.lost_at = time.monotonic()
            if code in (1000, 1001):  # a deliberate goodbye ends the session (reference, "Gateway", disconnecting)
                self.sessions.pop(session.id, None)
        self._core.bell.ring()

    def _receive(self, connection: Connection, text: str) -> int | None:
        """Handle one frame; a number is the close code it earned."""
        if connection.too_fast():
            return 4008
        if len(text.encode()) > MAX_PAYLOAD_BYTES:
            return 4002
        try:
            frame = json.loads(text)
            op, data = frame["op"], frame.get("d")
        except (ValueError, KeyError, TypeError):
            return 4002
        if op == 1:
            if not self.silent:
                ack = {"op": 11, "t": None, "s": None, "d": None}
                asyncio.get_running_loop().call_later(ROUND_TRIP_S, connection.send, ack)
            return None
        if op == 2:
            return self._identify(connection, data)
        if op == 6:
            return self._resume(connection, data)
        if connection.session is None:
            return 4003
        return None if op in (3, 4, 8) else 4001

    def _identify(self, connection: Connection, data: dict[str, Any]) -> int | None:
        if connection.session is not None:
            return 4005
        if data.get("token") != self._core.token:
            return 4004
        intents = int(data.get("intents", 0))
        if intents & _PRIVILEGED & ~self._allowed_privileged:
            return 4014
        shard, shards = data.get("shard") or (0, 1)
        session = Session(uuid4().hex, intents, (int(shard), int(shards)), connection=connection)
        self.sessions[session.id] = session
        connection.session = session
        self.identifies += 1
        core = self._core
        guilds = [g for g in core.world.guilds.values() if g.bot_inside and (g.id >> 22) % session.shard[1] == session.shard[0]]
        ready = {
            "v": 10,
            "user": user_json(core.world.bot),
            "guilds": [{"id": str(g.id), "unavailable": True} for g in guilds],
            "session_id": session.id,
            "resume_gateway_url": RESUME_URL,
            "shard": list(session.shard),
            "application": {"id": str(core.world.application_id), "flags": 0},
            "session_type": "normal",
            "private_channels": [],
            "_trace": [],
        }
        self._emit(session, "READY", ready)
        if intents & INTENT_GUILDS:
            for guild in guilds:
                self._emit(session, "GUILD_CREATE", guild_json(guild, core.world))
        core.bell.ring()
        return None

    def _resume(self, connection: Connection, data: dict[str, Any]) -> int | None:
        session = self.sessions.get(str(data.get("session_id")))
        if data.get("token") != self._core.token:
            return 4004
        if session is None or not session.resumable:
            connection.send({"op": 9, "t": None, "s": None, "d": False})
            return None
        if int(data.get("seq") or 0) > session.seq:
            return 4007
        session.connection = connection
        session.lost_at = None
        connection.session = session
        self.resumes += 1
        for frame in session.events:
            if frame["s"] > int(data.get("seq") or 0):
                connection.send(frame)
        self._emit(session, "RESUMED", {"_trace": []})
        self._core.bell.ring()
        return None

    def ask_reconnect(self) -> None:
        """Op 7 to every live session."""
        for session in self.live_sessions:
            if session.connection is not None:
                session.connection.send({"op": 7, "t": None, "s": None, "d": None})

    def invalidate(self, *, resumable: bool = False) -> None:
        """Op 9 to every live session; without `resumable` the session is forgotten."""
        for session in self.live_sessions:
            if session.connection is not None:
                session.connection.send({"op": 9, "t": None, "s": None, "d": resumable})
            if not resumable:
                self.sessions.pop(session.id, None)

    def drop(self) -> None:
        """Cut every websocket without a goodbye, as a broken network does."""
        for session in self.live_sessions:
            if session.connection is not None:
                session.connection.transport.abort()
