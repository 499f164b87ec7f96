"""Guards the way of a compressed content into a file: laid as it comes, once for each who asks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import CompressionMode, CompressionOptions
from damselfly.wire.local_messages import DownloadFinished, DownloadRequest
from fakes.source import FakeSource
from services.hosts import a_host, a_supernode

pytestmark = pytest.mark.slow

DATA = b"".join(b"%d: a line of a log\n" % n for n in range(100_000))


@asynccontextmanager
async def a_log_and_a_host(tmp_path: Path) -> AsyncIterator[tuple[FakeSource, PeerHost]]:
    """Give a source of a log, and a host of a swarm that compresses."""
    compression = CompressionOptions(mode=CompressionMode.ON)
    async with (
        FakeSource() as source,
        a_supernode(tmp_path, compression=compression) as address,
        a_host(tmp_path, "ann", address) as ann,
    ):
        source.add("/log", DATA)
        yield source, ann


async def get(host: PeerHost, url: str, *, is_placed: bool = True) -> DownloadFinished:
    wanted = DownloadRequest(url=url, is_placed=is_placed)
    return await host.downloads.get(wanted, lambda _: None)


async def test_a_compressed_content_comes_as_a_file_and_the_next_one_is_read(
    tmp_path: Path,
) -> None:
    async with a_log_and_a_host(tmp_path) as (source, ann):
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(get(ann, source.url("/log"))) for _ in range(2)]
        finished = [task.result() for task in both]

        (path,) = [each.content_path for each in finished if each.content_path]
        assert Path(path).read_bytes() == DATA
        (entry,) = ann._store.entries()
        assert entry.stored_bytes < len(DATA) // 4
        cpu_s = ann.metrics.value("damselfly_codec_cpu_seconds_total", what="decode")
        assert finished[0].codec_cpu_s == pytest.approx(cpu_s, abs=1e-3)  # each block once

        for each in finished:
            ann.downloads.release(each.download_id)
        async with asyncio.timeout(10):
            while entry.is_pinned:
                await asyncio.sleep(0.01)
        assert not Path(path).exists()
        again = await get(ann, source.url("/log"))  # from the cache
        assert Path(again.content_path).read_bytes() == DATA


async def test_nothing_is_laid_in_plain_for_who_only_reads(tmp_path: Path) -> None:
    async with a_log_and_a_host(tmp_path) as (source, ann):
        for _ in range(2):  # as it comes, and from the cache
            finished = await get(ann, source.url("/log"), is_placed=False)
            assert (finished.size_bytes, finished.content_path) == (len(DATA), "")
            ann.downloads.release(finished.download_id)
        assert list(tmp_path.glob("ann/**/plain")) == []

        placed = await get(ann, source.url("/log"))
        assert Path(placed.content_path).parent == next(tmp_path.glob("ann/**/plain"))
