"""A daemon's port for programs, inside the test's process, and what an engine asks there."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from damselfly.faces.proxy.server import serving_programs
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import DaemonOptions, ProxyOptions


class Told(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Engine:
    """A client of the mirror that means one registry."""

    def __init__(self, client: aiohttp.ClientSession, address: str, registry: str) -> None:
        self._client = client
        self._address = address
        self._registry = registry

    def url(self, path: str) -> URL:
        named = f"?ns={self._registry.replace(':', '%3A')}" if self._registry else ""
        return URL(f"http://{self._address}{path}{named}", encoded=True)

    async def ask(self, path: str, method: str = "GET", *, token: str = "", **headers: str) -> Told:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        async with self._client.request(method, self.url(path), headers=given) as response:
            return Told(response.status, response.headers, await response.read())


@contextlib.asynccontextmanager
async def an_engine(host: PeerHost, registry: str, **options: Any) -> AsyncIterator[Engine]:  # noqa: ANN401
    """Serve a host's programs inside the block; the options are those of the daemon."""
    with tempfile.TemporaryDirectory() as data:
        daemon = DaemonOptions(data=data, proxy=ProxyOptions(listen="127.0.0.1:0"), **options)
        async with (
            serving_programs(daemon, host) as address,
            aiohttp.ClientSession(auto_decompress=False) as client,
        ):
            yield Engine(client, address, registry)
