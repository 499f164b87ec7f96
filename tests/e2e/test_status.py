"""`damselfly status` against real daemons: what it tells is what happened."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from e2e.processes import BIN, Site, damselfly, dfget, run
from fakes.source import FakeSource, random_bytes

pytestmark = pytest.mark.slow

MIB = 1 << 20


async def status_of(socket: str) -> dict[str, Any]:
    ended = await damselfly("status", "--json", "--socket", socket)
    assert ended.code == 0, ended.err
    return ended.json


async def test_status_tells_what_came_from_whom(site: Site) -> None:
    async with FakeSource() as source:
        source.add("/file", random_bytes(9 * MIB, 1))
        supernode = await site.supernode()
        ann = await site.daemon("ann", supernode.address)
        bob = await site.daemon("bob", supernode.address, "--location", "eu/a")
        url = source.url("/file")
        for host in (ann, bob):
            ended = await dfget(url, "-O", site.path("out"), "--socket", host.socket)
            assert ended.code == 0, ended.err
        again = await dfget(url, "-O", site.path("again"), "--socket", ann.socket)
        assert again.code == 0, again.err
        missing = await dfget(source.url("/none"), "-O", site.path("x"), "--socket", bob.socket)
        assert missing.code == 12

        told = await status_of(bob.socket)
        given = await status_of(ann.socket)

    failed, finished = told["ended_downloads"]
    assert (finished["state"], finished["url"], finished["size_bytes"]) == (
        "finished",
        url,
        9 * MIB,
    )
    assert sum(finished["bytes_by"].values()) == 9 * MIB
    assert finished["bytes_by"] == told["received_bytes_by"]
    assert given["cache"]["hit_bytes"] == 9 * MIB
    assert given["sent_bytes"] == told["received_bytes_by"]["peers"]
    assert (failed["state"], "404" in failed["error"]) == ("failed", True)
    assert (told["pid"], told["address"], told["location"]) == (bob.pid, bob.address, "eu/a")
    assert (told["supernode"], told["is_connected"]) == (supernode.address, True)
    assert told["cache"]["used_bytes"] >= 9 * MIB
    assert told["downloads"] == []


async def test_download_under_way_is_seen_and_then_its_end(site: Site) -> None:
    async with FakeSource() as source:
        content = source.add("/file", random_bytes(4 * MIB, 1), stall_after_bytes=2 * MIB)
        supernode = await site.supernode()
        daemon = await site.daemon("ann", supernode.address)
        getting = asyncio.ensure_future(
            dfget(source.url("/file"), "-O", site.path("out"), "--socket", daemon.socket)
        )
        async with asyncio.timeout(20):
            while not (seen := (await status_of(daemon.socket))["downloads"]):
                await asyncio.sleep(0.05)
        assert seen[0]["state"] in ("waiting", "fetching")
        text = (await damselfly("status", "--socket", daemon.socket)).out
        assert source.url("/file").removeprefix("http://") in text

        content.release()
        assert (await getting).code == 0
        told = await status_of(daemon.socket)

    assert told["downloads"] == []
    assert [seen["state"] for seen in told["ended_downloads"]] == ["finished"]


async def test_download_that_nobody_waits_for_any_more_was_cancelled(site: Site) -> None:
    async with FakeSource() as source:
        content = source.add("/file", random_bytes(4 * MIB, 1), is_stalled_at_head=True)
        daemon = await site.daemon("ann", (await site.supernode()).address)
        getting = asyncio.ensure_future(
            dfget(source.url("/file"), "-O", site.path("out"), "--socket", daemon.socket)
        )
        await content.has_stalled.wait()
        getting.cancel()  # which kills it
        await asyncio.wait([getting])

        async with asyncio.timeout(20):
            while not (seen := (await status_of(daemon.socket))["ended_downloads"]):
                await asyncio.sleep(0.05)

    assert [each["state"] for each in seen] == ["cancelled"]


async def test_watching_prints_one_object_a_second_when_nobody_looks(site: Site) -> None:
    supernode = await site.supernode()
    daemon = await site.daemon("ann", supernode.address)
    command = f"{BIN}/damselfly status --json --watch --socket {daemon.socket} | head -n 2"

    ended = await run("sh", "-c", command, timeout_s=20)

    assert ended.err == ""
    first, second = (json.loads(line) for line in ended.out.splitlines())
    assert second["seconds"] > first["seconds"]


async def test_daemon_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = await damselfly("status", "--socket", str(tmp_path / "no.sock"))

    assert (ended.code, ended.out) == (33, "")
    assert f"{tmp_path}/no.sock" in ended.err
    assert "damselfly daemon" in ended.err
