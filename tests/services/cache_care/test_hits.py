"""Bytes that were asked for are counted: those that the cache had, and the others."""

import hashlib
from pathlib import Path

import pytest

from damselfly.services.hosting.peer_host import PeerHost
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource
from services.hosts import a_host, a_supernode
from storage.builders import a_content

pytestmark = pytest.mark.slow

DATA = a_content(700_000)


def asked(host: PeerHost) -> tuple[float, float]:
    value = host.metrics.value
    return (
        value("damselfly_cache_asked_bytes_total", outcome="hit"),
        value("damselfly_cache_asked_bytes_total", outcome="miss"),
    )


async def get(host: PeerHost, request: DownloadRequest) -> None:
    finished = await host.downloads.get(request, lambda _: None)
    host.downloads.release(finished.download_id)


async def test_the_first_download_misses_and_the_second_hits(tmp_path: Path) -> None:
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    async with (
        FakeSource() as source,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "a", supernode) as host,
    ):
        source.add("/f", DATA)
        request = DownloadRequest(url=source.url("/f"), digest=digest)

        await get(host, request)
        assert asked(host) == (0, len(DATA))

        await get(host, request)
        assert asked(host) == (len(DATA), len(DATA))


async def test_without_a_digest_the_source_is_asked_and_the_bytes_are_a_hit(tmp_path: Path) -> None:
    async with (
        FakeSource() as source,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "a", supernode) as host,
    ):
        source.add("/f", DATA)
        request = DownloadRequest(url=source.url("/f"))

        await get(host, request)
        await get(host, request)

        assert asked(host) == (len(DATA), len(DATA))
