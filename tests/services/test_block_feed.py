"""Guards the block list's way to hosts: each hears all of it once, in turns, encoded once."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import pytest

from damselfly.core.peer import HostId
from damselfly.services.supernode.block_feed import GROUP_HOSTS_MAX, BlockFeed
from damselfly.storage.memory import MemoryStore
from damselfly.storage.store import StoredEdition
from damselfly.wire.session_messages import BlocksListed, Sealed, supernode_codec
from storage.builders import HandClock, a_block, a_content, an_edition, fill, seal

ANN = HostId("ann")


class Hosts:
    """Who is told: {host: the encoded messages}."""

    def __init__(self) -> None:
        self.told: dict[HostId, list[bytes]] = defaultdict(list)

    def post(self, host_id: HostId, data: bytes) -> None:
        self.told[host_id].append(data)

    def listed(self, host_id: HostId) -> list[int]:
        indices: list[int] = []
        for data in self.told[host_id]:
            message = supernode_codec.decode(data)
            if isinstance(message, BlocksListed):
                first = message.first_index
                indices += range(first, first + len(message.digests) // 32)
        return indices

    def seals(self, host_id: HostId) -> int:
        decoded = [supernode_codec.decode(data) for data in self.told[host_id]]
        return sum(isinstance(message, Sealed) for message in decoded)


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def entry() -> Iterator[StoredEdition]:
    store = MemoryStore(now_wall_s=HandClock())
    yield store.open(an_edition())
    store.close()


def grow(entry: StoredEdition, feed: BlockFeed, block_index: int) -> None:
    entry.write_block(a_block(a_content(), block_index))
    feed.add(block_index)


async def settle(hosts: Hosts, count: int, host_id: HostId = ANN) -> None:
    while len(hosts.listed(host_id)) < count:
        await asyncio.sleep(0)


async def test_a_host_is_told_what_is_there_and_what_comes(
    hosts: Hosts, entry: StoredEdition
) -> None:
    feed = BlockFeed(entry, post=hosts.post)
    grow(entry, feed, 1)
    feed.subscribe(ANN)
    assert hosts.listed(ANN) == [1]

    grow(entry, feed, 0)
    grow(entry, feed, 2)
    await settle(hosts, 3)

    assert hosts.listed(ANN) == [1, 0, 2]
    feed.end()


async def test_who_comes_between_two_turns_hears_each_block_once(
    hosts: Hosts, entry: StoredEdition
) -> None:
    feed = BlockFeed(entry, post=hosts.post)
    feed.subscribe(ANN)
    grow(entry, feed, 0)
    feed.subscribe(HostId("bob"))
    await settle(hosts, 1)
    grow(entry, feed, 1)
    feed.subscribe(HostId("cid"))
    await settle(hosts, 2)

    assert [hosts.listed(HostId(name)) for name in ("ann", "bob", "cid")] == [[0, 1]] * 3
    feed.end()


async def test_a_complete_list_is_told_at_once_and_its_end_once(
    hosts: Hosts, entry: StoredEdition
) -> None:
    feed = BlockFeed(entry, post=hosts.post)
    feed.subscribe(ANN)
    fill(entry, a_content())
    seal(entry, a_content())

    feed.seal()
    feed.subscribe(HostId("bob"))
    feed.seal()

    count = entry.edition.layout.block_count
    assert [hosts.listed(host) for host in (ANN, HostId("bob"))] == [list(range(count))] * 2
    assert [hosts.seals(host) for host in (ANN, HostId("bob"))] == [1, 1]
    feed.end()


async def test_many_hosts_are_told_in_turns_and_each_message_is_encoded_once(
    hosts: Hosts, entry: StoredEdition
) -> None:
    feed = BlockFeed(entry, post=hosts.post)
    names = [HostId(f"h-{number}") for number in range(2 * GROUP_HOSTS_MAX + 1)]
    for name in names:
        feed.subscribe(name)
    grow(entry, feed, 0)
    await settle(hosts, 1, names[0])
    told_first = [name for name in names if hosts.told[name]]
    await settle(hosts, 1, names[-1])

    assert told_first == names[:GROUP_HOSTS_MAX]
    assert all(hosts.listed(name) == [0] for name in names)
    assert len({id(hosts.told[name][0]) for name in names}) == 3
    feed.end()


async def test_who_has_left_is_told_nothing(hosts: Hosts, entry: StoredEdition) -> None:
    feed = BlockFeed(entry, post=hosts.post)
    feed.subscribe(ANN)
    feed.subscribe(HostId("bob"))
    feed.unsubscribe(ANN)
    feed.unsubscribe(HostId("nobody"))
    grow(entry, feed, 0)
    await settle(hosts, 1, HostId("bob"))

    assert hosts.told[ANN] == []
    feed.end()
