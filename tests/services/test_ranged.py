"""A source that gives each connection a share is read over several, each byte once."""

import asyncio
from pathlib import Path

import pytest

from damselfly.services.options import SourceOptions
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host

pytestmark = pytest.mark.slow

DATA = random_bytes(100 << 20, seed=3)
SOURCE = SourceOptions(retries_max=1, connections_max=8)


async def test_a_source_that_is_slow_for_each_connection_is_read_over_more_of_them(
    tmp_path: Path,
) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann", source=SOURCE) as host:
        source.add("/f", DATA, rate_bytes_per_s=15e6)

        finished = await host.downloads.get(DownloadRequest(url=source.url("/f")), lambda _: None)

        assert Path(finished.content_path).read_bytes() == DATA
        ranges = [request.range_header for request in source.requests]
        assert ranges[0] == ""
        assert len(ranges) > 4
        assert len(set(ranges)) == len(ranges)
        assert finished.bytes_by.source == len(DATA)
        assert source.bytes_sent < 1.1 * len(DATA)  # what is on its way when the first is cut


async def test_a_source_without_ranges_or_validators_is_read_in_one_pass(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann", source=SOURCE) as host:
        source.add("/none", DATA, rate_bytes_per_s=60e6, no_ranges=True)
        source.add("/odd", DATA, rate_bytes_per_s=60e6, etag="", last_modified="")

        for path in ("/none", "/odd"):
            await host.downloads.get(DownloadRequest(url=source.url(path)), lambda _: None)
            assert source.count("GET", path) == 1


async def test_a_range_that_breaks_is_read_again_and_the_others_go_on(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann", source=SOURCE) as host:
        source.add("/f", DATA, rate_bytes_per_s=15e6, reset_after_bytes=9 << 20, reset_count=1)

        finished = await host.downloads.get(DownloadRequest(url=source.url("/f")), lambda _: None)

        assert Path(finished.content_path).read_bytes() == DATA
        assert source.bytes_sent < 1.2 * len(DATA)  # what had been begun was not thrown away


async def test_a_download_that_is_resumed_is_read_over_several_connections(tmp_path: Path) -> None:
    async with FakeSource() as source:
        content = source.add("/f", DATA, rate_bytes_per_s=15e6, stall_after_bytes=3 << 20)
        request = DownloadRequest(url=source.url("/f"))
        async with a_host(tmp_path, "ann", source=SOURCE) as host:
            first = asyncio.ensure_future(host.downloads.get(request, lambda _: None))
            await content.has_stalled.wait()
            first.cancel()
            await asyncio.wait([first])
        content.release()
        before = len(source.requests)
        async with a_host(tmp_path, "ann", source=SOURCE) as host:
            finished = await host.downloads.get(request, lambda _: None)

            assert Path(finished.content_path).read_bytes() == DATA
        again = [each for each in source.requests[before:] if each.method == "GET"]
        assert len(again) > 4
        assert all(each.range_header for each in again)


async def test_a_short_content_waits_for_no_part_of_a_large_one(tmp_path: Path) -> None:
    few = SourceOptions(retries_max=1, connections_max=4)
    async with FakeSource() as source, a_host(tmp_path, "ann", source=few) as host:
        content = source.add("/f", DATA, rate_bytes_per_s=15e6, stall_after_bytes=9 << 20)
        source.add("/short", b"short")
        large, short = (DownloadRequest(url=source.url(path)) for path in ("/f", "/short"))
        reading = asyncio.ensure_future(host.downloads.get(large, lambda _: None))
        while source.answering_max < 3:  # each of them stalls
            await asyncio.sleep(0.01)

        async with asyncio.timeout(5):
            finished = await host.downloads.get(short, lambda _: None)

        assert Path(finished.content_path).read_bytes() == b"short"
        content.release()
        await reading
