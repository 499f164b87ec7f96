"""Parents that send wrong bytes, stall, close midway or die: nothing wrong is ever placed."""

import random
from collections.abc import AsyncIterator

import pytest

from e2e.processes import Ended, Running, Site, damselfly, dfget
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
    """Return SuperNode and a daemon behind the relay that has all of the file."""
    supernode = await site.supernode(*flags)
    parent = await site.daemon("parent", supernode.address, "--advertise", relay.address)
    relay.target = parent.address
    first = await dfget(source.url("/f"), "-O", site.path("first"), "--socket", parent.socket)
    assert first.code == 0, first.err
    return supernode, parent


async def by_a_child(site: Site, supernode: Running, source: FakeSource) -> Ended:
    """Download so slowly that the SuperNode has not given all before the parent is asked."""
    child = await site.daemon("child", supernode.address)
    where = ("-O", site.path("out"), "--socket", child.socket)
    return await dfget(source.url("/f"), *where, "--rate-limit", "4MiB")


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

        ended = await by_a_child(site, supernode, source)

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

        ended = await by_a_child(site, supernode, source)

        assert ended.code == 0, ended.err
        assert ended.json["bytes_by"]["peers"] == 0
        assert relay.spoiled_count == 1


async def test_parent_is_killed_midway(site: Site, source: FakeSource) -> None:
    async with BadParent(Fault.NONE) as relay:
        supernode, parent = await a_parent(site, source, relay)
        relay.on_block = parent.kill

        ended = await by_a_child(site, supernode, source)

        assert ended.code == 0, ended.err
        assert not parent.is_running
        assert site.path("out").read_bytes() == DATA
