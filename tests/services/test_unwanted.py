"""Guards what becomes of a reading that nobody wants any more: not to its end, and not in vain."""

import asyncio
from pathlib import Path

import pytest

from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import SourceOptions
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode

pytestmark = pytest.mark.slow

MIB = 1 << 20
DATA = random_bytes(8 * MIB, seed=8)


async def begin_and_leave(host: PeerHost, url: str) -> None:
    async with host.downloads.read(DownloadRequest(url=url)) as content:
        await anext(content.stretches())


async def read_whole(host: PeerHost, url: str) -> bytes:
    async with host.downloads.read(DownloadRequest(url=url)) as content:
        return await content.read_all(bytes_max=len(DATA))


async def until_nothing_moves(source: FakeSource) -> None:
    async with asyncio.timeout(20):
        before = -1
        while source.bytes_sent > before:
            before = source.bytes_sent
            await asyncio.sleep(0.5)


async def test_reading_stops_and_goes_on_from_there(tmp_path: Path) -> None:
    async with (
        FakeSource() as source,
        a_supernode(tmp_path, read_on_s=0.5) as supernode,
        a_host(tmp_path, "ann", supernode) as ann,
        a_host(tmp_path, "bob", supernode) as bob,
    ):
        content = source.add("/file", DATA, rate_bytes_per_s=MIB)
        await begin_and_leave(ann, source.url("/file"))
        await until_nothing_moves(source)
        assert source.bytes_sent < len(DATA)
        content.rate_bytes_per_s = 0

        assert await read_whole(bob, source.url("/file")) == DATA

    assert source.bytes_sent < len(DATA) + 2 * MIB  # what was on its way, and not all anew


async def test_who_comes_back_soon_finds_it_going_on(tmp_path: Path) -> None:
    async with (
        FakeSource() as source,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "ann", supernode) as ann,
    ):
        source.add("/file", DATA, rate_bytes_per_s=3 * MIB)
        await begin_and_leave(ann, source.url("/file"))
        await asyncio.sleep(1.2)  # it is seen that nobody wants it

        assert await read_whole(ann, source.url("/file")) == DATA

    assert source.count("GET") == 1
    assert source.bytes_sent == len(DATA)


async def test_a_supernode_that_stops_waits_for_no_source(tmp_path: Path) -> None:
    patient = SourceOptions(stall_timeout_s=600)
    async with FakeSource() as source:
        content = source.add("/file", DATA, stall_after_bytes=4 * MIB)
        async with (
            asyncio.timeout(20),
            a_supernode(tmp_path, patient) as supernode,
            a_host(tmp_path, "ann", supernode) as ann,
        ):
            await begin_and_leave(ann, source.url("/file"))
            await content.has_stalled.wait()
        content.release()
        async with a_supernode(tmp_path) as supernode, a_host(tmp_path, "bob", supernode) as bob:
            assert await read_whole(bob, source.url("/file")) == DATA

    assert source.requests[-1].range_header.startswith("bytes=")
