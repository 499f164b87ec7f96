"""Guards links between two hosts: who is told what, over real sockets."""

import asyncio

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.events import Loss
from damselfly.core.peer import HostId
from services.link_ends import EDITION, End


async def test_who_lacks_a_block_is_told_of_it_and_who_holds_it_is_not() -> None:
    ours, other = End("a", BlockSet()), End("b", BlockSet.of([1]))
    async with ours.links() as our_links, other.links() as other_links:
        our_links.open(EDITION, HostId("h-b"), other_links.address)
        assert await ours.hears() == BlockSet.of([1])
        assert await other.hears() == BlockSet()

        ours.store(our_links, 1)  # which the other held from the start
        ours.store(our_links, 2)
        assert await other.hears() == (1, 2)
        ours.store(our_links, 3)
        assert await other.hears() == (3,)
        other.store(other_links, 3)  # which it has from us
        other.store(other_links, 4)
        assert await ours.hears() == (3, 4)


async def test_in_the_end_who_holds_a_block_is_told_of_it_too() -> None:
    ours, other = End("a", BlockSet()), End("b", BlockSet.of([1]))
    async with ours.links() as our_links, other.links() as other_links:
        our_links.open(EDITION, HostId("h-b"), other_links.address)
        await ours.hears()
        await other.hears()
        ours.store(our_links, 1)
        assert other.heard.empty()

        our_links.tell_rest(EDITION)

        assert await other.hears() == (1,)


async def test_who_begins_to_listen_hears_of_a_link_that_was_open_before() -> None:
    ours, other = End("a", BlockSet()), End("b", BlockSet.of([1]))
    async with ours.links() as our_links, other.links() as other_links:
        our_links.open(EDITION, HostId("h-b"), other_links.address)
        await ours.hears()
        await other.hears()
        our_links.unlisten(EDITION)
        later = End("a", BlockSet())
        our_links.listen(EDITION, later)
        other.store(other_links, 2)
        assert await later.hears() == (2,)

        for _ in range(2):
            our_links.open(EDITION, HostId("h-b"), other_links.address)

        assert await later.hears() == BlockSet.of([1, 2])
        other.store(other_links, 3)
        assert await later.hears() == (3,)


async def test_a_link_that_opens_when_nobody_wants_it_any_more_is_closed() -> None:
    # The download that came next was granted nothing for 10 s: all went to the one before.
    ours, other = End("a", BlockSet()), End("b", BlockSet.of([1]))
    async with ours.links() as our_links, other.links() as other_links:
        our_links.open(EDITION, HostId("h-b"), other_links.address)
        our_links.close_edition(EDITION)
        our_links.unlisten(EDITION)
        async with asyncio.timeout(10):
            while our_links._opening:
                await asyncio.sleep(0.01)
        assert our_links.of(EDITION) == ()

        our_links.listen(EDITION, ours)
        our_links.open(EDITION, HostId("h-b"), other_links.address)

        while await ours.hears() is Loss.ENDED:
            pass
        other.store(other_links, 2)
        assert await ours.hears() == (2,)


async def test_a_link_is_opened_anew_beside_one_that_is_being_closed() -> None:
    ours, other = End("a", BlockSet()), End("b", BlockSet.of([1]))
    async with ours.links() as our_links, other.links() as other_links:
        our_links.open(EDITION, HostId("h-b"), other_links.address)
        await ours.hears()
        our_links.close_edition(EDITION)

        our_links.open(EDITION, HostId("h-b"), other_links.address)

        while await ours.hears() is Loss.ENDED:
            pass
        other.store(other_links, 2)
        assert await ours.hears() == (2,)


async def test_who_leaves_while_a_link_opens_waits_for_nobody() -> None:
    ours, other = End("a", BlockSet()), End("b", BlockSet.of([1]))
    async with other.links() as other_links, asyncio.timeout(20), ours.links() as our_links:
        our_links.open(EDITION, HostId("h-b"), other_links.address)
