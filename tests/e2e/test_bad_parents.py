"""Parents that send wrong bytes, stall, close midway or die: nothing wrong is ever placed."""

import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from e2e.processes import Running, Site, damselfly, dfget
from fakes.bad_parent import BadParent, Fault
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

DATA = random.Random(7).randbytes(4 << 20)


@pytest.fixture
async def source() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        source.add("/f", DATA)
        yield source


async def encrypting(site: Site) -> tuple[str, str]:
    """Return flags of a SuperNode that encrypts everything."""
    keys, config = site.path("keys.toml"), site.path("encrypting.toml")
    assert (await damselfly("keys", "add", str(keys), "k1")).code == 0
    config.write_text(f'[supernode.encryption]\nkeys = "{keys}"\n[[supernode.encrypt]]\n')
    return "--config", str(config)


async def a_parent(
    site: Site, source: FakeSource, relay: BadParent, *flags: str
) -> tuple[Running, Running]:
    """Return SuperNode and a daemon behind the relay that has all of the file.

    The SuperNode is another one by then, and sends so slowly that whoever comes next asks the
    parent as well.
    """
    supernode = await site.supernode(*flags)
    parent = await site.daemon("parent", supernode.address, "--advertise", relay.address)
    relay.target = parent.address
    first = await dfget(source.url("/f"), "-O", site.path("first"), "--socket", parent.socket)
    assert first.code == 0, first.err
    await supernode.stop()
    supernode = await site.supernode("--upload-rate", "1MiB", *flags, listen=supernode.address)
    async with asyncio.timeout(20), aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"http://{supernode.address}/api/v1/hosts") as answer:
                if (await answer.json())["hosts"]:
                    return supernode, parent
            await asyncio.sleep(0.05)


FAULTS = [
    *((fault, False) for fault in Fault if fault is not Fault.NONE),
    *((fault, True) for fault in (Fault.FLIP, Fault.LIE, Fault.SWAP, Fault.RENAME)),
]


@pytest.mark.parametrize(("fault", "is_encrypted"), FAULTS)
async def test_blocks_of_a_bad_parent_come_from_elsewhere(
    site: Site, source: FakeSource, fault: Fault, *, is_encrypted: bool
) -> None:
    async with BadParent(fault) as relay:
        flags = await encrypting(site) if is_encrypted else ()
        supernode, _ = await a_parent(site, source, relay, *flags)
        child = await site.daemon("child", supernode.address)

        ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", child.socket)

        assert ended.code == 0, ended.err
        assert site.path("out").read_bytes() == DATA
        assert relay.spoiled_count
        assert ended.json["retries"] >= 1
        assert source.count() == 1


async def test_parent_that_sent_wrong_bytes_is_not_asked_again(
    site: Site, source: FakeSource
) -> None:
    async with BadParent(Fault.LIE) as relay:
        supernode, _ = await a_parent(site, source, relay)
        child = await site.daemon("child", supernode.address)

        ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", child.socket)

        assert ended.code == 0, ended.err
        assert ended.json["bytes_by"]["peers"] == 0
        assert relay.spoiled_count == 1


async def test_parent_is_killed_midway(site: Site, source: FakeSource) -> None:
    async with BadParent(Fault.NONE) as relay:
        supernode, parent = await a_parent(site, source, relay)
        relay.on_block = parent.kill
        child = await site.daemon("child", supernode.address)

        ended = await dfget(source.url("/f"), "-O", site.path("out"), "--socket", child.socket)

        assert ended.code == 0, ended.err
        assert not parent.is_running
        assert site.path("out").read_bytes() == DATA
