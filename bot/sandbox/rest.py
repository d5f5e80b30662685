"""The REST API: routing, authorisation, validation, faults, rate limits and the journal around the handlers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import BodyPartReader, web

from bot.sandbox.core import Call, Core
from bot.sandbox.errors import ApiError, invalid_form, unauthorized
from bot.sandbox.faults import Fault, RateLimits
from bot.sandbox.messages import Body, RateLimitedError, Upload
from bot.sandbox.routes import Routes

API = "/api/v10"
MAX_REQUEST_BYTES = 200 * 1024 * 1024
_FILE_FIELD = re.compile(r"^files\[(\d+)\]$")
_PUBLIC = re.compile(r"^/(interactions/\d+/[^/]+/callback|webhooks/\d+/[^/]+(/.*)?)$")


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON whose Content-Type is exactly `application/json`: discord.py keeps anything else as text."""
    if body is None:
        return web.Response(status=204, headers=headers)
    return web.Response(body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json", **(headers or {})})


class Rest:
    """Everything under `/api/v10`."""

    def __init__(self, core: Core, routes: Routes, *, rate_limits: bool) -> None:
        self._core = core
        self._routes = routes
        self._limits = RateLimits() if rate_limits else None
        self.faults: list[Fault] = []

    async def serve(self, request: web.Request) -> web.Response:
        """One call."""
        path = request.path.removeprefix(API)
        call = Call(self._core.clock.now(), request.method, path, dict(request.query), None)
        self._core.calls.append(call)
        try:
            response = await self._serve(request, path, call)
        except RateLimitedError as error:
            response = self._slow_down(error)
            call.code = error.code
        except ApiError as error:
            response = answer(error.to_json(), error.status)
            call.code = error.code
            if error.code == 50035:
                self._core.violation(_shape(call), f"refused: {json.dumps(error.errors)[:600]}")
        call.status = response.status
        self._core.bell.ring()
        return response

    async def _serve(self, request: web.Request, path: str, call: Call) -> web.Response:
        public = _PUBLIC.match(path) is not None
        fault = next((f for f in self.faults if f.matches(request.method, path)), None)
        if fault is not None:
            fault.times -= 1
            if fault.when == "before":
                await request.read()
                return _faulty(fault, request)
        if not public:
            if request.headers.get("Authorization") != f"Bot {self._core.token}":
                raise unauthorized()
            if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
                self._core.violation(_shape(call), "the User-Agent does not begin with 'DiscordBot ('")
        headers: dict[str, str] = {}
        if self._limits is not None and not path.endswith("/callback"):
            wait_s, everywhere, left = self._limits.wait_s(_bucket(call))
            if wait_s:
                return _limited(wait_s, 0, "You are being rate limited.", everywhere=everywhere)
            headers = {
                "X-RateLimit-Limit": str(RateLimits.BUCKET[0]),
                "X-RateLimit-Remaining": str(left),
                "X-RateLimit-Reset-After": str(RateLimits.BUCKET[1]),
                "X-RateLimit-Bucket": str(abs(hash(_bucket(call)))),
            }
        body, multipart = await _read(request)
        call.body = body.json
        call.files = [(u.filename, len(u.data)) for u in body.uploads]
        if self._core.openapi is not None:
            for problem in self._core.openapi.problems(call.method, path, call.query, body.json, multipart=multipart):
                self._core.violation(_shape(call), problem)
        handler, arguments = self._routes.find(call.method, path)
        if handler is None:
            self._core.violation(_shape(call), "the sandbox does not know this call")
            raise ApiError(404, 0, "404: Not Found")
        result = handler(call, body, *arguments)
        if fault is not None:
            return _faulty(fault, request)
        return answer(result, headers=headers)

    def _slow_down(self, error: RateLimitedError) -> web.Response:
        return _limited(error.retry_after_s, error.code, error.message)


async def _read(request: web.Request) -> tuple[Body, bool]:
    """The body of a request: JSON, or `payload_json` with `files[n]`."""
    if request.content_type != "multipart/form-data":
        raw = await request.read()
        if not raw:
            return Body(None), False
        try:
            return Body(json.loads(raw)), False
        except ValueError:
            raise ApiError(400, 50109, "The request body contains invalid JSON.") from None
    payload: Any = {}
    uploads: list[Upload] = []
    total = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            continue
        data = bytes(await part.read(decode=False))
        total += len(data)
        if total > MAX_REQUEST_BYTES:
            raise ApiError(413, 40005, "Request entity too large")
        match = _FILE_FIELD.match(part.name or "")
        if part.name == "payload_json":
            payload = json.loads(data)
        elif match is not None:
            uploads.append(Upload(int(match[1]), part.filename or "file", data))
        else:
            raise invalid_form([(part.name or "form", "Only payload_json and files[n] belong into the form.")])
    return Body(payload, uploads), True


def _faulty(fault: Fault, request: web.Request) -> web.Response:
    """The error a fault asks for; with status 0 the connection is cut."""
    if fault.status == 0:
        if isinstance(request.transport, asyncio.Transport):
            request.transport.abort()
        return web.Response(status=500)
    if fault.status == 429:
        return _limited(fault.retry_after_s, fault.code, "You are being rate limited.", via=fault.via)
    return answer({"message": fault.message, "code": fault.code}, fault.status, {"Via": "1.1 google"} if fault.via else None)


def _limited(retry_after_s: float, code: int, message: str, *, everywhere: bool = False, via: bool = True) -> web.Response:
    headers = {"Retry-After": f"{retry_after_s:.3f}", "X-RateLimit-Reset-After": f"{retry_after_s:.3f}", "X-RateLimit-Remaining": "0"}
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    if via:  # without it discord.py takes a 429 for a ban by Cloudflare
        headers["Via"] = "1.1 google"
    body: dict[str, Any] = {"message": message, "retry_after": round(retry_after_s, 3), "global": everywhere}
    if code:
        body["code"] = code
    return answer(body, 429, headers)


def _shape(call: Call) -> str:
    """Route of a call without tokens and with ids as `{id}`, for messages."""
    path = re.sub(r"/webhooks/\d+/[^/]+", "/webhooks/{id}/{token}", call.path)
    path = re.sub(r"/interactions/\d+/[^/]+", "/interactions/{id}/{token}", path)
    return f"{call.method} {re.sub(r'[0-9]{5,}', '{id}', path)}"


def _bucket(call: Call) -> str:
    """Rate-limit bucket: the route with its major parameters (channel, guild, webhook)."""
    major = re.match(r"^/(channels|guilds|webhooks)/\d+", call.path)
    return f"{_shape(call)} {major[0] if major else ''}"


Middleware = Callable[[web.Request], Awaitable[web.Response]]
