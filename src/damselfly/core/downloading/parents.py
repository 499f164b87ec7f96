"""The parents of one download: what they hold, how loaded they are, whether to ask them now."""

from collections.abc import Iterator
from dataclasses import dataclass

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.events import Failure
from damselfly.core.downloading.picking import Candidate
from damselfly.core.peer import SUPERNODE, HostId

PAUSE_S = 1.0  # after the first failure; doubles with each further one
PAUSE_S_MAX = 30.0
PAUSE_CORRUPT_S = 60.0  # whoever sent wrong bytes is asked again only when nobody else is left


@dataclass(slots=True)
class Parent:
    """A peer we are linked with.

    Attributes:
        held: Blocks it holds.
        load: Uploads it has, as it last said, and those we gave it since.
        can_give: Blocks can be asked for; the SuperNode is never asked, it grants.
        asked: The block we are asking it for; one at a time per pair.
        paused_until_s: Not asked before.
        failure_count: Failures in a row.
    """

    held: BlockSet
    load: int = 0
    can_give: bool = True
    asked: int | None = None
    paused_until_s: float = 0.0
    failure_count: int = 0


class Parents:
    """{host id: parent} of one download; owned by its mind."""

    def __init__(self) -> None:
        self._linked: dict[HostId, Parent] = {}
        # Pauses outlive the link, or a bad parent would come back clean by linking anew.
        self._paused_until_s: dict[HostId, float] = {}
        self._banned: set[HostId] = set()

    def __contains__(self, host_id: HostId) -> bool:
        return host_id in self._linked

    def __len__(self) -> int:
        return len(self._linked)

    def link(self, host_id: HostId, held: BlockSet, *, load: int, can_give: bool) -> None:
        """A link is open."""
        parent = self._linked.setdefault(host_id, Parent(held.copy()))
        parent.held, parent.load = held.copy(), load
        parent.can_give = can_give and host_id != SUPERNODE and host_id not in self._banned
        parent.paused_until_s = self._paused_until_s.get(host_id, 0.0)

    def hold(self, host_id: HostId, blocks: BlockSet, *, load: int) -> None:
        """A linked parent told news."""
        if (parent := self._linked.get(host_id)) is not None:
            parent.held.update(blocks)
            parent.load = load

    def lose(self, host_id: HostId) -> None:
        """A link is gone."""
        self._linked.pop(host_id, None)

    def holding(self, blocks: BlockSet) -> list[HostId]:
        """Return the linked parents that hold all of these blocks, and the SuperNode."""
        return [
            host_id
            for host_id, parent in self._linked.items()
            if host_id == SUPERNODE or not blocks - parent.held
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
                parent.held.discard(block_index)
                return
            case Failure.BUSY:
                pause_s = retry_after_s
            case Failure.CORRUPT:
                pause_s = PAUSE_CORRUPT_S
            case _:  # unreachable or stalled
                pause_s = min(PAUSE_S * 2**parent.failure_count, PAUSE_S_MAX)
                parent.failure_count += 1
        parent.paused_until_s = self._paused_until_s[host_id] = now_s + pause_s

    def candidates(self, *, now_s: float) -> list[Candidate]:
        """Return whom we could ask now."""
        return [
            Candidate(host_id, parent.held.bits, parent.load)
            for host_id, parent in self._linked.items()
            if parent.can_give and parent.asked is None and parent.paused_until_s <= now_s
        ]

    def holders(self) -> Iterator[int]:
        """Yield what each of them holds, as bits."""
        return (
            parent.held.bits for host_id, parent in self._linked.items() if host_id != SUPERNODE
        )

    def given_bits(self) -> int:
        """Return the blocks that some parent holds that could be asked, now or later."""
        bits = 0
        for parent in self._linked.values():
            if parent.can_give:
                bits |= parent.held.bits
        return bits
