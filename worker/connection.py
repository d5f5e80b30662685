"""A Redis connection that rides out outages: bounded waits for every answer, patient retries, and a clear no to a wrong password."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, RedisError, TimeoutError  # noqa: A004 - Redis's names

from engine.contracts import wire

logger = logging.getLogger(__name__)

T = TypeVar("T")

OUTAGE: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, BusyLoadingError, OSError)
"""What a Redis that is away, restarting or out of reach raises. `OSError` (connection refused) is not on redis-py 5's own list."""

RETRIES = 120
"""With a pause of at most 1 s, one call survives about two minutes without Redis; above that the callers' own loops go on."""


class RedisRefusedError(RedisError):
    """Redis answered and turned us away (wrong password or missing rights); waiting does not help."""


class OutageRetry(Retry):
    """redis-py counts a wrong password or certificate as a connection error; retrying it would hide a rotated password for ever."""

    async def call_with_retry(self, do: Callable[[], Awaitable[T]], fail: Callable[[RedisError], Any]) -> T:
        """Run `do` until it succeeds, as `Retry` does, but give up at once when Redis refuses us."""

        async def guarded() -> T:
            try:
                return await do()
            except AuthenticationError as error:
                raise RedisRefusedError(f"Redis refuses this worker: {error}") from error
            except ssl.SSLCertVerificationError as error:
                raise RedisRefusedError(f"Redis's certificate is not to be trusted: {error.verify_message}") from error
            except ConnectionError as error:
                raise _refusal_in(error) or error from None

        return await super().call_with_retry(guarded, fail)


def _refusal_in(error: ConnectionError) -> RedisRefusedError | None:
    """Our own verdict on a connection attempt, which redis-py wraps in its error."""
    return error.__cause__ if isinstance(error.__cause__, RedisRefusedError) else None


class _Pool(ConnectionPool):
    """Lets `RedisRefusedError` out of a first connection attempt."""

    async def get_connection(self, *args: Any, **kwargs: Any) -> AbstractConnection:
        try:
            connection: AbstractConnection = await super().get_connection(*args, **kwargs)
        except ConnectionError as error:
            raise _refusal_in(error) or error from None
        return connection


async def _greet(connection: AbstractConnection) -> None:
    """Log in; this part of a connection's life is outside of its retry.

    A new connection is not asked about its health: redis-py 5 would connect anew from within, again and again and ever deeper, when a
    proxy accepts connections for a Redis that is gone.
    """
    connection.next_health_check = asyncio.get_running_loop().time() + connection.health_check_interval
    try:
        await connection.on_connect()
    except AuthenticationError as error:
        raise RedisRefusedError(f"Redis refuses this worker: {error}") from error


def open_redis(url: str, *, retries: int = RETRIES) -> ArqRedis:
    """A client that connects on first use; close it with `await redis.aclose()`.

    Args:
        url: `redis://`, `rediss://` or `unix://`; user name and password may be percent-encoded. TLS takes `?ssl_ca_certs=FILE` for an
            authority of one's own, and `&ssl_certfile=FILE&ssl_keyfile=FILE` for a client's certificate.
        retries: Tries of one call after its first failure.
    """
    options: dict[str, Any] = {}
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    if url.startswith("rediss:"):
        options["ssl_check_hostname"] = True  # redis-py's default accepts any certificate of a known authority
    pool = _Pool.from_url(
        url,
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        health_check_interval=15,
        retry=OutageRetry(ExponentialBackoff(cap=1.0, base=0.05), retries),
        retry_on_error=list(OUTAGE),
        redis_connect_func=_greet,
        **options,
    )
    redis = ArqRedis(pool, job_serializer=wire.dumps, job_deserializer=wire.loads, expires_extra_ms=wire.JOB_EXPIRES_S * 1000)
    redis.auto_close_connection_pool = True
    return redis


async def patiently(call: Callable[[], Awaitable[T]], what: str, pause_s: float = 1.0) -> T:
    """Repeat a call that may be repeated until Redis answers it, however long that takes; `what` is for the log."""
    while True:
        try:
            return await call()
        except OUTAGE as error:
            logger.warning("redis is away, %s waits: %s", what, error)
            await asyncio.sleep(pause_s)


async def stop_tasks(*tasks: asyncio.Task[Any], again_s: float = 0.2) -> None:
    """Cancel tasks until they have ended; their exceptions are not looked at.

    Once is not enough: redis-py writes under `asyncio.wait_for`, which before Python 3.12 swallows a cancel that arrives together
    with the end of the write.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_s)
