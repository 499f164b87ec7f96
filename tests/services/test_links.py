"""Guards links between two hosts: who is told what, over real sockets."""

from damselfly.core.blocks import BlockSet
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
