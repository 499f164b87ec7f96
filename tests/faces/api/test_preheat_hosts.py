"""Guards preheats on hosts: through the swarm, behind live pulls, private content kept private."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from damselfly.clock import now_s
from damselfly.errors import SourceRefusedError
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.wire.local_messages import DownloadRequest
from faces.api.asking import Api, an_api, states
from fakes.registry import FakeRegistry
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host

LAYER = random_bytes(1_000_000, seed=1)
FILE = random_bytes(600_000, seed=3)
HOSTS: dict[str, dict[str, Any]] = {
    "ann": {"location": "eu/a/r1", "labels": ("gpu",)},
    "bob": {"location": "eu/a/r1", "labels": ()},
    "cid": {"location": "eu/a/r2", "labels": ("gpu",)},
}


@contextlib.asynccontextmanager
async def some_hosts(folder: Path, api: Api) -> AsyncIterator[dict[str, PeerHost]]:
    async with contextlib.AsyncExitStack() as stack:
        hosts = {
            name: await stack.enter_async_context(a_host(folder, name, api.address, **options))
            for name, options in HOSTS.items()
        }
        await api.sees("h-ann", "h-bob", "h-cid")
        yield hosts


def holds(host: PeerHost, url: str) -> bool:
    return any(task["url"] == url and task["is_sealed"] for task in host.tasks_seen())


@pytest.mark.parametrize(
    ("target", "warm"),
    [
        ("label:gpu", {"ann", "cid"}),
        ("location:eu/a/r1", {"ann", "bob"}),
        ("hosts:h-bob", {"bob"}),
        ("share:100%", {"ann", "bob", "cid"}),
    ],
)
async def test_hosts_of_a_target_are_warm_and_no_others(
    tmp_path: Path, target: str, warm: set[str]
) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api) as hosts:
        source.add("/file", FILE)
        url = source.url("/file")
        job = await api.ended((await api.preheat(urls=[url], target=target))["id"])

        assert (job["state"], job["error"]) == ("success", "")
        places = {"supernode", *(f"h-{name}" for name in warm)}
        assert states(job) == {url: dict.fromkeys(places, "success")}
        assert {name for name, host in hosts.items() if holds(host, url)} == warm
        assert source.count("GET") == 1
        assert job["done_bytes"] == len(FILE) * len(places)


async def test_one_host_of_each_rack_is_warm(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api) as hosts:
        source.add("/file", FILE)
        job = await api.preheat(urls=[source.url("/file")], target="racks")
        ended = await api.ended(job["id"])

        assert ended["state"] == "success"
        warm = {name for name, host in hosts.items() if holds(host, source.url("/file"))}
        assert "cid" in warm
        assert len(warm) == 2


async def test_named_host_that_is_not_here_is_said(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api):
        source.add("/file", FILE)
        asked: dict[str, Any] = {"urls": [source.url("/file")], "target": "hosts:h-ann,h-eve"}
        job = await api.ended((await api.preheat(**asked))["id"])

        assert job["state"] == "failure"
        assert "not warm at h-eve: it is not here" in job["error"]
        assert states(job)[source.url("/file")] == {
            "supernode": "success",
            "h-ann": "success",
            "h-eve": "failure",
        }


async def test_private_content_on_a_host_is_handed_to_nobody_without_right(tmp_path: Path) -> None:
    token = "Bearer of-alice"
    async with FakeRegistry() as registry, an_api(tmp_path) as api, some_hosts(tmp_path, api) as h:
        image = registry.add_image("lib/app", "v1", LAYER, accepted={token})
        asked: dict[str, Any] = {
            "images": [f"{registry.host}/lib/app:v1"],
            "headers": [f"Authorization: {token}"],
            "target": "hosts:h-ann",
        }
        job = await api.ended((await api.preheat(**asked))["id"])
        (digest,) = image.layers
        url = registry.url(image.blob_paths[0])
        stranger = DownloadRequest(url=url, digest=digest)
        alice = DownloadRequest(url=url, digest=digest, headers=(f"Authorization: {token}",))

        assert (job["state"], job["error"]) == ("success", "")
        assert h["ann"].downloads.is_held(alice)
        with pytest.raises(SourceRefusedError):
            async with h["ann"].downloads.read(stranger):
                pass
        async with h["ann"].downloads.read(alice) as content:
            assert await content.read_all(bytes_max=len(LAYER)) == LAYER
        assert registry.count("GET", image.blob_paths[0]) == 1


async def test_live_pull_takes_over_a_preheat_of_the_same_at_once(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api) as hosts:
        source.add("/file", FILE)
        url = source.url("/file")
        # So slow that only somebody who waits could get it in time.
        job = await api.preheat(urls=[url], rate=1000, target="hosts:h-ann")
        async with asyncio.timeout(10):
            async with hosts["ann"].downloads.read(DownloadRequest(url=url)) as content:
                assert await content.read_all(bytes_max=len(FILE)) == FILE
            ended = await api.ended(job["id"])

    assert ended["state"] == "success"


async def test_live_pull_of_another_host_takes_over_what_the_supernode_alone_preheats(
    tmp_path: Path,
) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api) as hosts:
        source.add("/file", FILE)
        job = await api.preheat(urls=[source.url("/file")], rate=1000)
        pull = DownloadRequest(url=source.url("/file"))
        async with asyncio.timeout(10), hosts["bob"].downloads.read(pull) as content:
            assert await content.read_all(bytes_max=len(FILE)) == FILE
            ended = await api.ended(job["id"])
        assert source.count("GET") == 1

    assert ended["state"] == "success"


async def test_live_pull_goes_on_when_the_preheat_that_it_took_over_is_cancelled(
    tmp_path: Path,
) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api) as hosts:
        content = source.add("/file", FILE, stall_after_bytes=400_000)
        job = await api.preheat(urls=[source.url("/file")], target="hosts:h-ann")
        await content.has_stalled.wait()
        pull = DownloadRequest(url=source.url("/file"))
        async with asyncio.timeout(10), hosts["ann"].downloads.read(pull) as live:
            told = await api.ask("DELETE", f"/api/v1/preheats/{job['id']}")
            content.stall_after_bytes = -1
            content.released.set()
            assert await live.read_all(bytes_max=len(FILE)) == FILE
        assert source.count("GET") == 1

    assert told.body["state"] == "cancelled"


async def test_full_cache_of_a_host_is_said_and_the_others_are_warm(tmp_path: Path) -> None:
    async with (
        FakeSource() as source,
        an_api(tmp_path) as api,
        a_host(tmp_path, "ann", api.address, quota_bytes=200_000),
        a_host(tmp_path, "bob", api.address),
    ):
        source.add("/file", FILE)
        await api.sees("h-ann", "h-bob")
        asked: dict[str, Any] = {"urls": [source.url("/file")], "target": "share:100%"}
        job = await api.ended((await api.preheat(**asked))["id"])

    warm = {"supernode": "success", "h-ann": "failure", "h-bob": "success"}
    assert (job["state"], states(job)) == ("failure", {source.url("/file"): warm})
    assert "not warm at h-ann: " in job["error"]
    assert "raise the quota" in job["error"]


@pytest.mark.parametrize("no_ranges", [False, True])
async def test_preheat_gives_way_to_a_live_pull_of_something_else(
    tmp_path: Path, *, no_ranges: bool
) -> None:
    data = random_bytes(40 << 20, seed=9)
    async with FakeSource() as source, an_api(tmp_path) as api, some_hosts(tmp_path, api) as hosts:
        live = source.add("/live", FILE, stall_after_bytes=1000)
        other = source.add("/other", data, no_ranges=no_ranges, stall_after_bytes=10 << 20)
        job_id = (await api.preheat(urls=[source.url("/other")]))["id"]
        await other.has_stalled.wait()
        pull = DownloadRequest(url=source.url("/live"))
        async with asyncio.TaskGroup() as tasks:

            async def read() -> bytes:
                async with hosts["ann"].downloads.read(pull) as content:
                    return await content.read_all(bytes_max=len(FILE))

            reading = tasks.create_task(read())
            await live.has_stalled.wait()
            other.stall_after_bytes = -1
            other.released.set()
            await asyncio.sleep(0.5)
            beside = await api.job(job_id)
            live.stall_after_bytes = -1
            live.released.set()
            assert await reading == FILE
        ended = await api.ended(job_id)
        asked = [request for request in source.requests if request.path == "/other"]

    assert beside["state"] == "running"
    assert beside["done_bytes"] < 25 << 20  # of which 10 were there, and some were on their way
    assert ended["state"] == "success"
    assert len(asked) == (1 if no_ranges else 2)


@contextlib.asynccontextmanager
async def a_live_upload(api: Api, url: str) -> AsyncIterator[None]:
    """Have the SuperNode send a block of a content to somebody who takes nothing of it yet."""
    tasks = (await api.ask("GET", "/api/v1/tasks")).body["tasks"]
    (edition_id,) = (task["edition_id"] for task in tasks if task["url"] == url)
    host, _, port = api.address.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or all of it would fit
    sock.setblocking(False)  # noqa: FBT003
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    request = f"GET /v1/editions/{edition_id}/blocks/0 HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(request.encode())
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    yield
    writer.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other kernels share the link")
async def test_blocks_of_a_preheat_trickle_beside_live_ones_until_somebody_waits_for_them(
    tmp_path: Path,
) -> None:
    large = random_bytes(8 << 20, seed=5)
    async with (
        FakeSource() as source,
        an_api(tmp_path, link_rate_bytes_per_s=16e6) as api,  # a trickle of 320 kB/s
        some_hosts(tmp_path, api) as hosts,
    ):
        for path in ("/live", "/other"):
            source.add(path, large)
            await api.ended((await api.preheat(urls=[source.url(path)]))["id"])
        async with a_live_upload(api, source.url("/live")):
            asked: dict[str, Any] = {"urls": [source.url("/other")], "target": "hosts:h-ann"}
            job_id = (await api.preheat(**asked))["id"]
            await asyncio.sleep(1)
            beside = await api.job(job_id)
            begun_s = now_s()
            pull = DownloadRequest(url=source.url("/other"))
            async with hosts["ann"].downloads.read(pull) as content:
                assert await content.read_all(bytes_max=len(large)) == large
            took_s = now_s() - begun_s
            ended = await api.ended(job_id)

    assert beside["state"] == "running"
    assert beside["done_bytes"] - len(large) < 3 << 20
    assert took_s < 10  # it would trickle for twenty seconds more
    assert ended["state"] == "success"
