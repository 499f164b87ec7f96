"""Guards that uploads of preheats give way to those that somebody waits for, and not for longer."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from damselfly.core.task import Edition
from damselfly.services.options import CacheOptions, UploadOptions
from damselfly.services.peering.uploads import Uploads
from damselfly.services.peering.web_server import serving
from damselfly.services.stores import open_store
from damselfly.telemetry.metrics import Metrics
from storage.builders import a_content, an_edition, fill

BLOCK_BYTES = 12 << 20  # more than the buffers of a connection hold
TRICKLE = 100_000
SOON_S = 10.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="other kernels share the link"),
]


@contextlib.asynccontextmanager
async def a_parent(folder: Path) -> AsyncIterator[tuple[str, Edition]]:
    """Give the address of a host with one upload slot, and what it holds: two large blocks."""
    store = open_store(folder, CacheOptions(reserve_bytes=0))
    edition = an_edition(size_bytes=2 * BLOCK_BYTES, block_bytes=BLOCK_BYTES)
    fill(store.open(edition), a_content(2 * BLOCK_BYTES))
    uploads = Uploads(
        store, UploadOptions(), slots=1, trickle_bytes_per_s=TRICKLE, metrics=Metrics()
    )
    app = web.Application()
    app.router.add_get("/v1/editions/{edition_id}/blocks/{block_index}", uploads.handle)
    try:
        async with serving(app, "127.0.0.1:0") as address:
            yield address, edition
    finally:
        store.close()


class Child:
    """Asks for a block, and takes of it what the test wants it to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.got_bytes = 0

    @classmethod
    async def asking(cls, address: str, edition: Edition, *, is_preheat: bool) -> "Child":
        host, _, port = address.rpartition(":")
        child = cls(*await asyncio.open_connection(host, int(port)))
        line = "Damselfly-Preheat: 1\r\n" if is_preheat else ""
        path = f"/v1/editions/{edition.edition_id}/blocks/0"
        child._writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode())
        assert b" 200 " in await child._reader.readuntil(b"\r\n\r\n")
        return child

    async def read(self, count: int = BLOCK_BYTES) -> None:
        """Read up to so many bytes in all."""
        while self.got_bytes < count:
            part = await self._reader.read(1 << 20)
            assert part
            self.got_bytes += len(part)

    def close(self) -> None:
        self._writer.close()


async def test_preheat_trickles_beside_a_live_upload_and_has_the_link_after_it(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(SOON_S), a_parent(tmp_path) as (address, edition):
        live = await Child.asking(address, edition, is_preheat=False)
        # It has a slot, though the only one is taken by what somebody waits for.
        preheat = await Child.asking(address, edition, is_preheat=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.4):
                await preheat.read()
        beside = preheat.got_bytes

        await live.read()
        live.close()
        await preheat.read()
        preheat.close()

    assert 0 < beside < 5 * TRICKLE


async def test_live_upload_is_not_in_the_way_of_a_preheat_that_came_before_it(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(SOON_S), a_parent(tmp_path) as (address, edition):
        preheat = await Child.asking(address, edition, is_preheat=True)
        live = await Child.asking(address, edition, is_preheat=False)
        await live.read(BLOCK_BYTES // 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.4):
                await preheat.read()
        beside = preheat.got_bytes

        await live.read()
        await preheat.read()
        for child in (live, preheat):
            child.close()

    assert beside < BLOCK_BYTES // 2  # what the buffers held before, and a trickle
