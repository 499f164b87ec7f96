"""Guards what a host tells others of blocks that it reads from the source itself."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading import last_resort
from damselfly.core.peer import HostId
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode
from services.link_ends import End

pytestmark = pytest.mark.slow

MIB = 1 << 20
DATA = random_bytes(8 * MIB, seed=6)


async def test_each_block_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_resort, "LOST_S", 0.2)
    async with contextlib.AsyncExitStack() as stack:
        source = await stack.enter_async_context(FakeSource())
        file = source.add("/file", DATA, stall_after_bytes=3 * MIB)
        supernode = contextlib.AsyncExitStack()
        address = await supernode.enter_async_context(a_supernode(tmp_path))
        host = await stack.enter_async_context(a_host(tmp_path, "ann", address))
        wanted = DownloadRequest(url=source.url("/file"))
        async with host.downloads.read(wanted) as content:
            other = End("b", BlockSet(), content.edition.edition_id)
            links = await stack.enter_async_context(other.links())
            links.open(other.edition_id, HostId("h-ann"), host.address)
            held = await other.hears()
            assert isinstance(held, BlockSet)
            await supernode.aclose()  # so that Ann goes to the source for the rest
            file.release()
            assert await content.read_all(bytes_max=len(DATA)) == DATA
            told: list[int] = []
            async with asyncio.timeout(10):
                while len({*held, *told}) < content.edition.layout.block_count:
                    indices = await other.hears()
                    assert isinstance(indices, tuple)
                    told += indices

        assert content.bytes_by.source > 0
        assert len(told) == len(set(told))
