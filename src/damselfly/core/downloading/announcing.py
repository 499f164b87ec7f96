"""When the linked peers are told of blocks that are held now, each for itself.

A peer that lacks a block may want it from us: it is told at once when it was not for a while, else
with others of the moment. The study found that a batch of 2 to 4 block times costs nothing
measurable, and each message costs CPU at both ends. A peer that has told that it holds the block
never asks for it; that we hold it, too, travels with the next news that is news to it, or with
the last: of each two peers one would tell the other in vain.
"""

from damselfly.core.blocks import BlockSet
from damselfly.core.peer import SUPERNODE, HostId

BATCH_S = 0.15
BATCH_BLOCKS = 2


class _Reader:
    """A linked peer.

    Attributes:
        told_count: So much of the log it was told.
        told_s: When that was.
        held_bits: Blocks that it holds itself, as far as it told.
        wanted_bits: Of what it was not told, the blocks that it lacks.
    """

    __slots__ = ("held_bits", "told_count", "told_s", "wanted_bits")

    def __init__(self, held_bits: int, told_count: int) -> None:
        self.held_bits, self.told_count = held_bits, told_count
        self.told_s, self.wanted_bits = float("-inf"), 0


class News:
    """The blocks of one edition that came since it has links, and who was told of them.

    Attributes:
        due_s: When those are told who wait for more news; None: nobody does.
    """

    __slots__ = ("_log", "_readers", "due_s")

    def __init__(self) -> None:
        self.due_s: float | None = None
        self._log: list[int] = []
        self._readers: dict[HostId, _Reader] = {}

    def link(self, host_id: HostId, held: BlockSet) -> None:
        """A peer knows all that is held up to now, and holds these blocks itself."""
        # The SuperNode holds all, or is about to; it wants to know who else does.
        held_bits = 0 if host_id == SUPERNODE else held.bits
        self._readers[host_id] = _Reader(held_bits, len(self._log))

    def unlink(self, host_id: HostId) -> None:
        """A peer is gone."""
        self._readers.pop(host_id, None)

    def hold(self, host_id: HostId, blocks: BlockSet) -> None:
        """A peer told that it holds these blocks."""
        if (reader := self._readers.get(host_id)) is not None:
            reader.held_bits |= blocks.bits
            reader.wanted_bits &= ~blocks.bits

    def add(self, block_index: int, *, now_s: float) -> list[HostId]:
        """A block is held; return who is told now."""
        self._log.append(block_index)
        bit = 1 << block_index
        told: list[HostId] = []
        for host_id, reader in self._readers.items():
            if reader.held_bits & bit:
                continue
            reader.wanted_bits |= bit
            is_enough = reader.wanted_bits.bit_count() >= BATCH_BLOCKS
            if is_enough or reader.told_s + BATCH_S <= now_s:
                told.append(host_id)
            elif self.due_s is None:
                self.due_s = now_s + BATCH_S
        return told

    def due(self) -> list[HostId]:
        """The time of `due_s` has come: return who is told now, all with one wake-up."""
        self.due_s = None
        return [host_id for host_id, reader in self._readers.items() if reader.wanted_bits]

    def behind(self) -> list[HostId]:
        """Return who was not told all."""
        count = len(self._log)
        return [host for host, reader in self._readers.items() if reader.told_count < count]

    def take(self, host_id: HostId, *, now_s: float) -> tuple[int, ...]:
        """Return what a peer is to be told now."""
        reader = self._readers[host_id]
        indices = tuple(self._log[reader.told_count :])
        reader.told_count, reader.told_s, reader.wanted_bits = len(self._log), now_s, 0
        return indices
