"""What lies between us and a server, and damages what the server says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

GOOD, SPOILT = b"\xff", b"\xfe"  # of a body; no head has them


@contextlib.asynccontextmanager
async def damaging_relay(endpoint: str) -> AsyncIterator[str]:
    """Give an address by which the server at `endpoint` is reached, and its bytes come damaged."""
    parts = urlsplit(endpoint)
    relaying: set[asyncio.Task[None] | None] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relaying.add(asyncio.current_task())
        from_there, to_there = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass_on(reader, to_there))
                tasks.create_task(_pass_on(from_there, writer, is_damaged=True))
        finally:
            for end in (writer, to_there):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
    finally:
        server.close()
        for task in filter(None, relaying):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_damaged: bool = False
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data.replace(GOOD, SPOILT) if is_damaged else data)
            await writer.drain()
    writer.close()
