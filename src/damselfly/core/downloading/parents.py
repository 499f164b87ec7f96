"""The parents of one download: what they hold, how loaded they are, whether to ask them now."""

from dataclasses import dataclass

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.events import Failure
from damselfly.core.downloading.importing import Rack
from damselfly.core.downloading.picking import Rarity
from damselfly.core.peer import SUPERNODE, HostId

PAUSE_S = 1.0  # after the first failure; doubles with each further one
PAUSE_S_MAX = 30.0
PAUSE_CORRUPT_S = 60.0  # whoever sent wrong bytes is asked again only when nobody else is left


@dataclass(slots=True)
class Parent:
    """A peer we are linked with.

    Attributes:
        host_id: Its id.
        held_bits: Blocks it holds, as bits.
        load: Uploads it has, as it last said, and those we gave it since.
        can_give: Blocks can be asked for; the SuperNode is never asked, it grants.
        asked: The block we are asking it for; one at a time per pair.
        paused_until_s: Not asked before.
        failure_count: Failures in a row.
        is_far: It is outside of our rack.
        claimed_bits: Blocks that it is fetching from outside of the rack.
        is_importer: It has claimed some.
    """

    host_id: HostId
    held_bits: int = 0
    load: int = 0
    can_give: bool = True
    asked: int | None = None
    paused_until_s: float = 0.0
    failure_count: int = 0
    is_far: bool = False
    claimed_bits: int = 0
    is_importer: bool = False


class Parents:
    """{host id: parent} of one download; owned by its mind.

    Attributes:
        rarity: Of the blocks that they hold, the SuperNode's not counted.
        rack: How many of them are in our rack, and outside of it.
    """

    __slots__ = (
        "_banned",
        "_linked",
        "_paused_until_s",
        "rack",
        "rarity",
    )

    def __init__(self) -> None:
        self.rarity = Rarity()
        self.rack = Rack()
        self._linked: dict[HostId, Parent] = {}
        # Pauses outlive the link, or a bad parent would come back clean by linking anew.
        self._paused_until_s: dict[HostId, float] = {}
        self._banned: set[HostId] = set()

    def __contains__(self, host_id: HostId) -> bool:
        return host_id in self._linked

    def __len__(self) -> int:
        return len(self._linked)

    def link(
        self,
        host_id: HostId,
        held: BlockSet,
        *,
        load: int,
        can_give: bool,
        asked: int | None = None,
        is_far: bool = False,
    ) -> None:
        """A link is open; `asked` is the block that it was asked for before."""
        self.lose(host_id)  # a second link of a pair begins anew with what is held
        self._linked[host_id] = Parent(
            host_id,
            held.bits,
            load,
            can_give=can_give and host_id != SUPERNODE and host_id not in self._banned,
            asked=asked,
            is_far=is_far,
            paused_until_s=self._paused_until_s.get(host_id, 0.0),
        )
        if host_id != SUPERNODE:
            self.rarity.add(held.bits)
            self._count(is_far=is_far, change=1)

    def _count(self, *, is_far: bool, change: int) -> None:
        if is_far:
            self.rack.far_count += change
        else:
            self.rack.near_count += change

    def hold(self, host_id: HostId, blocks: BlockSet, *, load: int, claimed_bits: int = 0) -> bool:
        """A linked parent told news; say whether it could be asked for blocks."""
        parent = self._linked.get(host_id)
        if parent is None:
            return False
        if host_id != SUPERNODE:
            self.rarity.add(blocks.bits & ~parent.held_bits)
        parent.held_bits |= blocks.bits
        parent.load, parent.claimed_bits = load, claimed_bits
        parent.is_importer |= claimed_bits != 0
        return parent.can_give and parent.asked is None

    def lose(self, host_id: HostId) -> None:
        """A link is gone."""
        parent = self._linked.pop(host_id, None)
        if parent is not None and host_id != SUPERNODE:
            self.rarity.remove(parent.held_bits)
            self._count(is_far=parent.is_far, change=-1)

    def holding(self, blocks: BlockSet) -> list[HostId]:
        """Return the linked parents that hold all of these blocks, and the SuperNode."""
        return [
            host_id
            for host_id, parent in self._linked.items()
            if host_id == SUPERNODE or not blocks.bits & ~parent.held_bits
        ]

    def ban(self, host_id: HostId) -> None:
        """Never ask this one again."""
        self._banned.add(host_id)
        if (parent := self._linked.get(host_id)) is not None:
            parent.can_give = False

    def ask(self, host_id: HostId, block_index: int) -> None:
        """A fetch from this parent begins."""
        parent = self._linked[host_id]
        assert parent.asked is None
        parent.asked = block_index
        parent.load += 1

    def end(self, host_id: HostId) -> None:
        """The fetch from this parent has ended."""
        if (parent := self._linked.get(host_id)) is not None and parent.asked is not None:
            parent.asked = None
            parent.load = max(parent.load - 1, 0)

    def praise(self, host_id: HostId) -> None:
        """It gave a good block."""
        if (parent := self._linked.get(host_id)) is not None:
            parent.failure_count = 0

    def blame(
        self,
        host_id: HostId,
        failure: Failure,
        *,
        block_index: int,
        retry_after_s: float,
        now_s: float,
    ) -> None:
        """It failed; see `Failure` for what becomes of it."""
        parent = self._linked.get(host_id)
        if parent is None:
            return
        match failure:
            case Failure.MISSING:
                bit = 1 << block_index & parent.held_bits
                parent.held_bits ^= bit
                self.rarity.remove(bit)
                return
            case Failure.BUSY:
                pause_s = retry_after_s
            case Failure.CORRUPT:
                pause_s = PAUSE_CORRUPT_S
            case _:  # unreachable or stalled
                pause_s = min(PAUSE_S * 2**parent.failure_count, PAUSE_S_MAX)
                parent.failure_count += 1
        parent.paused_until_s = self._paused_until_s[host_id] = now_s + pause_s

    def candidates(self, *, now_s: float, is_far: bool | None = None) -> list[Parent]:
        """Return those that could be asked now: of our rack, from outside, or (None) all."""
        return [
            parent
            for parent in self._linked.values()
            if parent.can_give
            and parent.asked is None
            and parent.paused_until_s <= now_s
            and (is_far is None or parent.is_far == is_far)
        ]

    def awaited_bits(self, *, now_s: float) -> int:
        """Return the blocks that our rack has, or is about to have."""
        bits = 0
        for parent in self._linked.values():
            if parent.can_give and not parent.is_far and parent.paused_until_s <= now_s:
                bits |= parent.held_bits | parent.claimed_bits
        return bits

    def unclaimed_bits(self, *, now_s: float) -> int:
        """Return the blocks that are held outside, and that our rack is not about to have."""
        bits = 0
        for parent in self._linked.values():
            if parent.is_far:
                bits |= parent.held_bits
        return bits & ~self.awaited_bits(now_s=now_s)

    def importers(self) -> list[HostId]:
        """Return those who import blocks into our rack."""
        return [
            host_id
            for host_id, parent in self._linked.items()
            if parent.is_importer and not parent.is_far
        ]

    def is_far(self, host_id: HostId) -> bool:
        """Say whether a linked parent is outside of our rack."""
        parent = self._linked.get(host_id)
        return parent is not None and parent.is_far

    def import_count(self) -> int:
        """Return how many blocks we are asking for outside of our rack."""
        return sum(parent.is_far and parent.asked is not None for parent in self._linked.values())
