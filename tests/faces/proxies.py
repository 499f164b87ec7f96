"""A proxy in the test's own process, and what tests say to it: by curl, and by raw bytes."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from damselfly.core.proxying.rules import ProxyRule, Verdict
from damselfly.faces.proxy.forward import ForwardProxy
from damselfly.services.ca_files import certificate_path
from damselfly.services.options import ProxyOptions, SourceOptions
from damselfly.services.own_ca import load_ca, make_ca
from damselfly.services.peering.web_server import serving
from e2e.processes import Ended, run

LOOPBACK_PEM = Path(__file__).parents[1] / "fakes" / "tls" / "loopback.pem"

Share = Callable[[web.BaseRequest, Verdict], Awaitable[web.StreamResponse | None]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def share_nothing(_: web.BaseRequest, __: Verdict) -> web.StreamResponse | None:
    return None


class RunningProxy:
    def __init__(self, port: int, ca_file: Path, ways: list[str]) -> None:
        self.port = port
        self.ca_file = ca_file
        self.ways = ways  # what became of the requests so far

    async def curl(self, *arguments: str, user: str = "") -> Ended:
        """Run curl; its output ends with a line of the status, and that of CONNECT."""
        where = ("--proxy", f"http://{user}127.0.0.1:{self.port}", "--noproxy", "")
        told = ("--write-out", "\n%{http_code} %{http_connect}")
        return await run("curl", "--silent", "--show-error", *where, *told, *arguments)

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, data: bytes) -> bytes:
        """Send bytes and return the answer, which has a length."""
        reader, writer = await self.connection()
        writer.write(data)
        try:
            return await read_message(reader)
        finally:
            writer.close()

    async def tunnel(self, authority: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a tunnel, which must succeed."""
        reader, writer = await self.connection()
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return reader, writer


@contextlib.asynccontextmanager
async def a_proxy(
    folder: Path,
    *rules: ProxyRule,
    share: Share = share_nothing,
    secret: str = "",
    source: SourceOptions | None = None,
    **options: Any,  # noqa: ANN401
) -> AsyncIterator[RunningProxy]:
    """Give a proxy with a CA in a folder, before a mirror that says hello at /v2/."""
    make_ca(str(folder))

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="mirror")

    ways: list[str] = []
    proxy = ForwardProxy(
        ProxyOptions(rules=rules, **options),
        source or SourceOptions(ca_file=str(LOOPBACK_PEM)),
        secret=secret,
        share=share,
        load_ca=lambda: load_ca(str(folder)),
        count=ways.append,
    )
    app = web.Application(middlewares=[proxy.middleware()])
    app.router.add_get("/v2/", hello)
    try:
        async with serving(app, "127.0.0.1:0", cancels=True) as address:
            port = int(address.rpartition(":")[2])
            yield RunningProxy(port, certificate_path(str(folder)), ways)
            proxy.end()
    finally:
        await proxy.close()


@contextlib.asynccontextmanager
async def a_server(talk: Talk) -> AsyncIterator[int]:
    """Give the port of a server that says what the test wants, byte by byte."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Return a request or an answer with its body, which has a length or none."""
    head = await reader.readuntil(b"\r\n\r\n")
    match = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
    return head + await reader.readexactly(int(match[1]) if match else 0)
