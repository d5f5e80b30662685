"""Reaching the loopback Discord: one address stands in for every host of Discord's, so that discord.py runs unpatched."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult


class _FixedResolver(AbstractResolver):
    """Answers every name with one address and port."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def resolve(  # the base class gives the names of arguments that one address has no use for
        self,
        host: str,
        port: int = 0,  # noqa: ARG002
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """The one address, whatever is asked."""
        return [ResolveResult(hostname=host, host=self._host, port=self._port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


def loopback_connector(endpoint: str, ca_file: Path) -> aiohttp.TCPConnector:
    """A connector to `endpoint` ("127.0.0.1:PORT") for every host, trusting only the authority in `ca_file`. Needs a running loop."""
    host, port = endpoint.rsplit(":", 1)
    context = ssl.create_default_context(cafile=str(ca_file))
    return aiohttp.TCPConnector(limit=0, resolver=_FixedResolver(host, int(port)), ssl=context, use_dns_cache=False)
