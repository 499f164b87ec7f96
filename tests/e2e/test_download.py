"""The straight way, with real processes: a source, a SuperNode, daemons, dfget."""

import asyncio
import os
import random
from pathlib import Path

import blake3
import pytest

from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadRequest
from e2e.processes import Ended, Running, Site, dfget
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

MIB = 1 << 20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def gets(source: FakeSource) -> list[str]:
    return [request.range_header for request in source.requests if request.method == "GET"]


async def through(daemon: Running, url: str, output: Path, *flags: str) -> Ended:
    return await dfget(url, "-O", output, "--socket", daemon.socket, *flags)


async def test_swarm_reads_the_source_once_and_all_get_the_same_bytes(
    site: Site, source: FakeSource
) -> None:
    data = content(20 * MIB)
    source.add("/model", data)
    supernode = await site.supernode()
    daemons = [await site.daemon(f"host-{i}", supernode.address) for i in range(4)]
    outputs = [site.path(f"out-{i}") for i in range(4)]

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(through(daemon, source.url("/model"), output))
            for daemon, output in zip(daemons, outputs, strict=True)
        ]

    assert [task.result().code for task in running] == [0] * 4
    assert all(output.read_bytes() == data for output in outputs)
    assert gets(source) == [""]
    assert source.bytes_sent == len(data)
    found = running[0].result().json
    assert found["digest"] == f"blake3:{blake3.blake3(data).hexdigest()}"
    from_peers = sum(task.result().json["bytes_by"]["peers"] for task in running)
    assert from_peers > len(data)


SIZES = (0, 1, 10_000, 128 << 10, (128 << 10) + 1, 3 * MIB + 7)


@pytest.mark.parametrize("kind", ["plain", "chunked"])
async def test_each_size_and_length_is_read_once(site: Site, source: FakeSource, kind: str) -> None:
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    for size in SIZES:
        data = content(size)
        source.add(f"/{size}", data, chunked=kind == "chunked", no_ranges=True, no_head=True)
        url, one, two = source.url(f"/{size}"), site.path("one"), site.path("two")

        ended = await through(daemon, url, one)
        again = await dfget(url, "-O", two, "--supernode", supernode.address)

        assert (ended.code, again.code) == (0, 0), (size, ended.err + again.err)
        assert one.read_bytes() == two.read_bytes() == data, size
        assert source.count("GET", f"/{size}") == 1, size


async def test_ephemeral_and_direct_downloads_leave_nothing_but_the_output(
    site: Site, source: FakeSource
) -> None:
    data = content(5 * MIB)
    source.add("/f", data)
    supernode = await site.supernode()

    peer = await dfget(source.url("/f"), "-O", site.path("a/x"), "--supernode", supernode.address)
    site.path("b").mkdir()
    direct = await dfget(source.url("/f"), "-O", site.path("b"))

    assert peer.code == 3, "there is no folder a"
    assert direct.code == 0, direct.err
    assert [path.name for path in site.path("b").iterdir()] == ["f"]
    assert site.path("b/f").read_bytes() == data
    assert direct.json["bytes_by"]["source"] == len(data)


async def test_second_download_is_served_from_the_cache_and_validated(
    site: Site, source: FakeSource
) -> None:
    data = content(2 * MIB)
    source.add("/f", data)
    config = site.path("config.toml")
    config.write_text('[supernode.source]\nfreshness_window = "0s"\n')
    supernode = await site.supernode("--config", str(config))
    daemon = await site.daemon("host", supernode.address)
    await through(daemon, source.url("/f"), site.path("one"))

    warm = await through(daemon, source.url("/f"), site.path("two"))
    source.contents["/f"].change(content(2 * MIB, seed=2))
    changed = await through(daemon, source.url("/f"), site.path("two"))

    assert warm.json["bytes_by"]["cache"] == len(data)
    assert changed.json["bytes_by"]["cache"] == 0
    assert site.path("one").read_bytes() == data
    assert site.path("two").read_bytes() == content(2 * MIB, seed=2)
    assert [request.method for request in source.requests] == ["GET", "HEAD", "HEAD", "GET"]


async def test_source_without_head_is_validated_by_a_get_without_body(
    site: Site, source: FakeSource
) -> None:
    data = content(2 * MIB)
    source.add("/f", data, no_head=True)
    config = site.path("config.toml")
    config.write_text('[supernode.source]\nfreshness_window = "0s"\n')
    supernode = await site.supernode("--config", str(config))
    daemon = await site.daemon("host", supernode.address)
    await through(daemon, source.url("/f"), site.path("one"))

    warm = await through(daemon, source.url("/f"), site.path("two"))

    assert warm.json["bytes_by"]["cache"] == len(data)
    asked = [(request.method, request.status) for request in source.requests]
    assert asked == [("GET", 200), ("HEAD", 405), ("GET", 304)]


async def test_many_dfgets_at_once_read_a_cold_file_once(site: Site, source: FakeSource) -> None:
    data = content(MIB)
    source.add("/f", data)
    supernode = await site.supernode()
    url = source.url("/f")

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(
                dfget(url, "-O", site.path(f"out-{i}"), "--supernode", supernode.address)
            )
            for i in range(12)
        ]

    assert [task.result().code for task in running] == [0] * 12
    assert all(site.path(f"out-{i}").read_bytes() == data for i in range(12))
    assert source.bytes_sent == len(data)


async def test_private_source_gets_the_headers_and_no_log_has_them(
    site: Site, source: FakeSource
) -> None:
    source.add("/f", content(MIB), required_header=("Authorization", "Bearer s3cret"))
    supernode = await site.supernode("--log-level", "debug")
    daemon = await site.daemon("host", supernode.address, "--log-level", "debug")
    header = ("--header", "Authorization: Bearer s3cret")

    refused = await through(daemon, source.url("/f?token=t0ken"), site.path("no"))
    ended = await through(daemon, source.url("/f?token=t0ken"), site.path("out"), *header)

    assert (refused.code, ended.code) == (12, 0)
    logs = supernode.log.read_text() + daemon.log.read_text() + refused.err
    assert "s3cret" not in logs
    assert "t0ken" not in logs


async def test_a_client_is_told_of_a_file_by_its_whole_path(site: Site, source: FakeSource) -> None:
    source.add("/f", content(MIB))
    relative = os.path.relpath(site.path("host"))
    daemon = await site.daemon("host", "127.0.0.1:1", "--data", relative)

    request = DownloadRequest(url=source.url("/f"))
    finished = await asyncio.to_thread(LocalClient(daemon.socket).download, request, lambda _: None)

    assert Path(finished.content_path).is_absolute()
