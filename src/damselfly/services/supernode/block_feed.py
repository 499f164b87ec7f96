"""The block list of one edition, told to its hosts as it grows.

The list is a log of blocks in the order in which they came. Hosts are told it in groups that
take turns, one group every `TURN_S`: a swarm that fits into one group hears of a block within
that time, one of 10,000 hosts within a second, and however many there are, telling them takes
the same share of the CPU. What a group is told is encoded once for all of it. A host that
joins a group is told what the group knows; from then on it hears what the others hear.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from damselfly.core.blocks import BlockSet, iter_bits
from damselfly.core.peer import HostId
from damselfly.storage.store import StoredEdition
from damselfly.wire.session_messages import (
    BlocksListed,
    Sealed,
    SuperNodeMessage,
    supernode_codec,
)

TURN_S: Final = 0.02  # a block of 1 MiB takes 8 ms at 1 Gb/s; grants carry their own digest
GROUP_HOSTS_MAX: Final = 256  # to tell them takes 5 ms, a quarter of a turn (bench/joins.py)

Post = Callable[[HostId, bytes], None]


@dataclass(slots=True)
class _Group:
    """Hosts that are told the same.

    Attributes:
        hosts: {host: None}, in the order in which they came.
        told_count: So much of the log was told.
        is_told_all: That the list is complete was told, too.
        summary: What a host is told that joins now, encoded; None when it must be made anew.
    """

    told_count: int = 0
    is_told_all: bool = False
    hosts: dict[HostId, None] = field(default_factory=dict)
    summary: list[bytes] | None = None


class BlockFeed:
    """Tells subscribers the digests of all blocks, now and as they come.

    Args:
        entry: The edition.
        post: Sends an encoded message to a host.
    """

    def __init__(self, entry: StoredEdition, *, post: Post) -> None:
        self._entry = entry
        self._post = post
        self._log: list[int] = []
        self._logged = BlockSet()
        self._is_complete = entry.is_sealed
        # Each host is in one of them; none is empty, and none has more than GROUP_HOSTS_MAX.
        # The first one's turn is next.
        self._groups: list[_Group] = []
        self._group_of: dict[HostId, _Group] = {}
        self._newest = _Group()
        self._timer: asyncio.TimerHandle | None = None
        self._catch_up()

    def subscribe(self, host_id: HostId) -> None:
        """Tell a host everything that is known, and all that follows."""
        self.unsubscribe(host_id)
        self._catch_up()
        if not self._newest.hosts or len(self._newest.hosts) >= GROUP_HOSTS_MAX:
            self._newest = _Group(len(self._log), self._is_complete)
            self._groups.append(self._newest)
        group = self._newest
        group.hosts[host_id] = None
        self._group_of[host_id] = group
        if group.summary is None:
            group.summary = self._encoded(self._log[: group.told_count], group.is_told_all)
        for data in group.summary:
            self._post(host_id, data)
        self._wake()

    def unsubscribe(self, host_id: HostId) -> None:
        """Tell a host nothing more; unknown ones are fine."""
        if (group := self._group_of.pop(host_id, None)) is not None:
            del group.hosts[host_id]
            if not group.hosts:
                self._groups.remove(group)

    def add(self, block_index: int) -> None:
        """A block can be had; tells it with others of the moment."""
        self._log_block(block_index)
        self._wake()

    def end(self) -> None:
        """Tell nothing more: what comes next may be another reading of the same edition."""
        if self._timer is not None:
            self._timer.cancel()
        self._groups.clear()
        self._group_of.clear()
        self._newest = _Group()

    def seal(self) -> None:
        """The list is complete and the whole has been checked."""
        self._is_complete = True
        self._catch_up()
        if self._timer is not None:
            self._timer.cancel()
        self._take_turn()  # nobody waits for the end of a list that fits into one turn

    def _log_block(self, block_index: int) -> None:
        if block_index not in self._logged:
            self._logged.add(block_index)
            self._log.append(block_index)

    def _catch_up(self) -> None:
        """Log what the store holds and nobody added: it was there before."""
        for block_index in iter_bits(self._entry.held.bits & ~self._logged.bits):
            if self._entry.digest_of(block_index):
                self._log_block(block_index)

    def _wake(self) -> None:
        if self._timer is None and any(self._is_behind(group) for group in self._groups):
            self._timer = asyncio.get_running_loop().call_later(TURN_S, self._take_turn)

    def _is_behind(self, group: _Group) -> bool:
        is_told_all = group.is_told_all or not self._is_complete
        return group.told_count < len(self._log) or not is_told_all

    def _take_turn(self) -> None:
        """Tell one group what it does not know yet."""
        self._timer = None
        for _ in range(len(self._groups)):
            group = self._groups.pop(0)
            self._groups.append(group)
            if self._is_behind(group):
                self._tell(group)
                break
        self._wake()

    def _tell(self, group: _Group) -> None:
        news = islice(self._log, group.told_count, None)
        messages = self._encoded(news, self._is_complete and not group.is_told_all)
        group.told_count, group.is_told_all = len(self._log), self._is_complete
        group.summary = None
        for data in messages:
            for host_id in group.hosts:
                self._post(host_id, data)

    def _encoded(self, blocks: Iterable[int], is_complete: bool) -> list[bytes]:  # noqa: FBT001
        messages: list[SuperNodeMessage] = list(self._listed(blocks))
        if is_complete:
            messages.append(self._sealed())
        return [supernode_codec.encode(message) for message in messages]

    def _listed(self, blocks: Iterable[int]) -> Iterator[BlocksListed]:
        """Yield the messages that list these blocks: one for each run of indices."""
        edition = self._entry.edition
        first, digests = 0, bytearray()
        count = 0

        def message() -> BlocksListed:
            return BlocksListed(
                task_id=edition.task_id,
                edition_id=edition.edition_id,
                first_index=first,
                digests=bytes(digests),
            )

        for index in sorted(blocks):
            digest = self._entry.digest_of(index)
            assert digest is not None
            if count and index != first + count:
                yield message()
                count, digests = 0, bytearray()
            if not count:
                first = index
            digests += digest
            count += 1
        if count:
            yield message()

    def _sealed(self) -> Sealed:
        edition = self._entry.edition
        assert edition.size_bytes is not None
        return Sealed(
            task_id=edition.task_id,
            edition_id=edition.edition_id,
            size_bytes=edition.size_bytes,
            digest=str(edition.digest or ""),
        )
