"""Which child gets which seed block next: super-seeding in file order.

The SuperNode gives block 0, 1, 2, … once each, to different children, before it repeats
any; then the least given first. So its uplink carries each block about once, and the
children have something to give each other. Without it the same link carries the first
blocks many times (the study measured 1.4 to 19 times the bound). A block that just went out
is not repeated at once either: its first child is about to give it to the others, and the
SuperNode's link and CPU are for what nobody else has.

A child that got a block first must give it to all the others, so the next one goes to the
child with the fewest blocks that nobody else has yet: to each as its uplink allows. Whoever is
behind gets no preference; its uplink may be full, and would be fuller with each block
(docs/decisions/0026).

At first only a few blocks go out at a time. A block can be passed on when it is whole, and the
fewer share the link the sooner it is: a swarm that waits for all slots' first blocks together
starts that much later. With each block sent there is one slot more, up to all of them
(docs/decisions/0028).

Source: the shared scheduling study, sections 3.1, 3.2 and 10.3; BitTorrent's super-seeding.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from damselfly.core.blocks import BlockSet, iter_bits, lowest_bit
from damselfly.core.peer import HostId

SLOTS_FIRST = 2  # one under way and one ahead
CHILD_GRANTS_MAX = 4  # enough to fill a link of its own; the first child is there alone at first
REPEAT_AFTER_S = 0.5  # a block has reached its first child and one more by then


@dataclass(frozen=True, slots=True)
class Grant:
    """One seed block for one child."""

    host_id: HostId
    block_index: int


@dataclass(slots=True)
class _Child:
    """A child as the plan sees it.

    Attributes:
        held: Blocks it holds, as it said.
        given: Blocks it was granted, and got, or gets, or declined a moment ago.
        running: Blocks granted that have not been sent yet.
        rack: Where it is; hosts of one rack get each block once. Empty: in none.
        alone_count: Blocks it was the first to be granted, and that no other child holds yet.
    """

    held: BlockSet
    rack: str
    alone_count: int = 0
    given: BlockSet = field(default_factory=BlockSet)
    running: set[int] = field(default_factory=set)

    def rank(self) -> tuple[int, int, int]:
        """Return what makes it the next to be given a block: the smallest is."""
        return self.alone_count, len(self.running), len(self.held)


class SeedPlan:
    """The seed blocks of one edition and the children that get them.

    Attributes:
        seeded: Blocks that can be given.
    """

    def __init__(self, *, slots: int, seeded: BlockSet | None = None) -> None:
        self._slots = slots
        self._open_slots = min(SLOTS_FIRST, slots)
        self.seeded = seeded.copy() if seeded else BlockSet()
        self._children: dict[HostId, _Child] = {}
        # _sent_more[n] has the blocks that went out more than n times, as bits, so that the
        # least sent ones are found by a few operations on integers. Invariant: each is a
        # subset of the one before it.
        self._sent_more: list[int] = []
        # {block: the child that was granted it first}, while no other child holds it.
        self._alone: dict[int, HostId] = {}
        # {block: when it last went out}, those that may not be repeated yet, oldest first.
        self._recent: dict[int, float] = {}
        self._recent_bits = 0
        # (when, host, block) of declined grants, oldest first; not granted again at once, or
        # a child that gets the block elsewhere would be asked over and over.
        self._declined: deque[tuple[float, HostId, int]] = deque()

    @property
    def running_count(self) -> int:
        """How many grants are under way."""
        return sum(len(child.running) for child in self._children.values())

    def sent_count(self, block_index: int) -> int:
        """Return how often a block went out."""
        return sum(level >> block_index & 1 for level in self._sent_more)

    def seed(self, block_index: int, *, now_s: float) -> list[Grant]:
        """A block can be given from now on."""
        self.seeded.add(block_index)
        return self.next(now_s=now_s)

    def link(self, host_id: HostId, held: BlockSet, *, rack: str = "", now_s: float) -> list[Grant]:
        """A child is there, and holds these blocks."""
        self._forget_alone(host_id)  # a child that comes again begins anew
        self._children[host_id] = _Child(held.copy(), rack)
        self._count_as_sent(held)
        self._share(held, host_id)
        return self.next(now_s=now_s)

    def hold(self, host_id: HostId, indices: Iterable[int], *, now_s: float) -> list[Grant]:
        """A child holds more blocks now."""
        child = self._children.get(host_id)
        if child is None:
            return []
        more = BlockSet.of(indices)
        child.held.update(more)
        self._count_as_sent(more)
        self._share(more, host_id)
        return self.next(now_s=now_s)

    def end(self, host_id: HostId, block_index: int, *, now_s: float) -> list[Grant]:
        """A granted block has been sent: its slot is free, and another one opens."""
        self._open_slots = min(self._open_slots + 1, self._slots)
        return self._free(host_id, block_index, now_s)

    def _free(self, host_id: HostId, block_index: int, now_s: float) -> list[Grant]:
        child = self._children.get(host_id)
        if child is not None:
            child.running.discard(block_index)
        return self.next(now_s=now_s)

    def decline(self, host_id: HostId, block_index: int, *, now_s: float) -> list[Grant]:
        """A child did not take a block; somebody else may."""
        child = self._children.get(host_id)
        if child is not None and block_index in child.given:
            if block_index in child.running:
                self._take_back(block_index)
            if self._alone.get(block_index) == host_id:
                del self._alone[block_index]
                child.alone_count -= 1
            self._declined.append((now_s, host_id, block_index))
        return self._free(host_id, block_index, now_s)

    def unlink(self, host_id: HostId, *, now_s: float) -> list[Grant]:
        """A child is gone; what was on its way to it has not gone out."""
        child = self._children.pop(host_id, None)
        if child is not None:
            for block_index in child.running:
                self._take_back(block_index)
            self._forget_alone(host_id)
        return self.next(now_s=now_s)

    def _share(self, blocks: Iterable[int], host_id: HostId) -> None:
        """A child holds these blocks: whoever was alone with one is it no more."""
        for block_index in blocks:
            owner = self._alone.get(block_index, host_id)
            if owner != host_id:
                del self._alone[block_index]
                self._children[owner].alone_count -= 1

    def _forget_alone(self, host_id: HostId) -> None:
        self._alone = {block: host for block, host in self._alone.items() if host != host_id}

    def _count_as_sent(self, blocks: BlockSet) -> None:
        """A block that a child has got elsewhere is in the swarm: it counts as sent once."""
        if not self._sent_more:
            self._sent_more.append(0)
        self._sent_more[0] |= blocks.bits

    def _count(self, block_index: int, now_s: float) -> None:
        bit = 1 << block_index
        self._recent.pop(block_index, None)
        self._recent[block_index] = now_s
        self._recent_bits |= bit
        for level, bits in enumerate(self._sent_more):
            if not bits & bit:
                self._sent_more[level] |= bit
                return
        self._sent_more.append(bit)

    def _take_back(self, block_index: int) -> None:
        bit = 1 << block_index
        # It was counted when it was granted, so there is such a level.
        level = max(level for level, bits in enumerate(self._sent_more) if bits & bit)
        self._sent_more[level] ^= bit
        self._recent.pop(block_index, None)
        self._recent_bits &= ~bit

    def _forget_recent(self, now_s: float) -> None:
        """Let those blocks be repeated that went out, or were declined, long enough ago."""
        while self._recent:
            block_index, sent_s = next(iter(self._recent.items()))
            if now_s - sent_s < REPEAT_AFTER_S:
                break
            del self._recent[block_index]
            self._recent_bits &= ~(1 << block_index)
        while self._declined and now_s - self._declined[0][0] >= REPEAT_AFTER_S:
            _, host_id, block_index = self._declined.popleft()
            if (child := self._children.get(host_id)) is not None:
                child.given.discard(block_index)

    def due_s(self) -> float | None:
        """Return when `next` may have more to give, None if not by the passing of time."""
        pauses = [
            *islice(self._recent.values(), 1),
            *(since for since, _, _ in islice(self._declined, 1)),
        ]
        return min(pauses) + REPEAT_AFTER_S if pauses else None

    def next(self, *, now_s: float) -> list[Grant]:
        """Return the grants that the free slots allow."""
        self._forget_recent(now_s)
        grants: list[Grant] = []
        free = self._open_slots - self.running_count
        while free > 0 and (grant := self._best()) is not None:
            child = self._children[grant.host_id]
            child.running.add(grant.block_index)
            child.given.add(grant.block_index)
            if self._is_unsent(1 << grant.block_index):
                self._alone[grant.block_index] = grant.host_id
                child.alone_count += 1
            self._count(grant.block_index, now_s)
            grants.append(grant)
            free -= 1
        return grants

    def _best(self) -> Grant | None:
        racks = self._rack_bits()
        wanted = {
            host_id: bits
            for host_id, child in self._children.items()
            if (bits := self._wanted_by(child) & ~racks.get(child.rack, 0))
        }
        hungry = [(*self._children[host_id].rank(), host_id) for host_id in wanted]
        if not hungry:
            return None
        # One under way and one ahead, to hide the round trip; few children share all slots.
        # But never so many that one child's link holds up what others could pass on.
        running_max = min(max(2, -(-self._slots // len(hungry))), CHILD_GRANTS_MAX)
        fresh = self._least_sent(self.seeded.bits)
        for _, running, _, host_id in sorted(hungry):
            if running >= running_max:
                continue
            least = self._least_sent(wanted[host_id])
            # None goes out twice while another has not gone out at all.
            if self._is_unsent(fresh) and not self._is_unsent(least):
                continue
            return Grant(host_id, lowest_bit(least))
        return None

    def _wanted_by(self, child: _Child) -> int:
        """Return the blocks that could be granted to a child now."""
        return self.seeded.bits & ~(child.held.bits | child.given.bits | self._recent_bits)

    def _rack_bits(self) -> dict[str, int]:
        """Return {rack: blocks that some child there holds, or gets}."""
        racks: dict[str, int] = {}
        for child in self._children.values():
            if child.rack:
                bits = child.held.bits | child.given.bits
                racks[child.rack] = racks.get(child.rack, 0) | bits
        return racks

    def _least_sent(self, candidates: int) -> int:
        """Return those of the candidates that went out least."""
        for level in self._sent_more:
            if rest := candidates & ~level:
                return rest
        return candidates

    def _is_unsent(self, blocks: int) -> bool:
        return bool(blocks) and not (self._sent_more and blocks & self._sent_more[0])

    def check(self) -> None:
        """Assert the invariants."""
        assert self.running_count <= self._open_slots <= self._slots
        for wider, narrower in zip(self._sent_more, self._sent_more[1:], strict=False):
            assert narrower & ~wider == 0
        alone = Counter(self._alone.values())
        for host_id, child in self._children.items():
            assert child.alone_count == alone.pop(host_id, 0)
            assert all(index in child.given for index in iter_bits(BlockSet.of(child.running).bits))
        assert not alone
