"""A host in the imagined world: a real `Download`, and what `services/` does for it.

Each instruction of the mind becomes a message with a latency, a request, or a flow, as
`services/downloading/download_run.py` and `services/peering/links.py` would have it.
"""

import random
from collections.abc import Callable
from typing import Any, ClassVar

from damselfly.core.blocks import BlockSet, lowest_bit
from damselfly.core.downloading import events as core, instructions as todo
from damselfly.core.downloading.backoff import Backoff
from damselfly.core.downloading.download import Download
from damselfly.core.peer import SUPERNODE, Host, HostId
from damselfly.core.scheduling import events as sn
from damselfly.sim.giving import STALL_TIMEOUT_S, Transfer
from damselfly.sim.ledger import Boundary
from damselfly.sim.linking import HANDSHAKE, LinkedMachine, SuperNodeSide
from damselfly.sim.source import Source
from damselfly.sim.surroundings import SILENCE_S, Surroundings

# As in transport/session_client.py.
RECONNECT_S, RECONNECT_S_MAX = 0.5, 5.0
_TICKED = core.Ticked()

Carry = dict[type, Callable[[Any, Any], None]]


class HostMachine(LinkedMachine):
    """One host and its download.

    Attributes:
        number: Its place in the ledger.
        downlink: Links that its downloads pass, its own first.
        arrived_s: When it came.
        is_leaving: It leaves when it has everything.
        full_at_block: With so many blocks its disk is full; None: never.
        cpu_free_s: When its CPU has done what came so far.
        running_count: Transfers that are coming to it.
    """

    __slots__ = (
        "_attempt",
        "_backoff",
        "_fetches",
        "_reads_at",
        "_source",
        "_supernode",
        "arrived_s",
        "cpu_free_s",
        "downlink",
        "full_at_block",
        "is_leaving",
        "number",
        "running_count",
    )

    def __init__(  # its links and its mind come from the world
        self,
        world: Surroundings,
        number: int,
        host: Host,
        *,
        others: dict[HostId, LinkedMachine],
        supernode: SuperNodeSide,
        source: Source,
        uplink: tuple[int, ...],
        downlink: tuple[int, ...],
        rack: int | None,
        rng: random.Random,
    ) -> None:
        mind = Download(
            slots=world.scenario.slots,
            can_use_source=True,
            is_placed=rack is not None,
            host_id=host.host_id,
            rng=rng,
            now_s=world.timeline.now_s,
        )
        super().__init__(world, host, mind, others=others, uplink=uplink, rack=rack)
        self.number, self.downlink = number, downlink
        self._supernode, self._source = supernode, source
        self._backoff = Backoff(RECONNECT_S, RECONNECT_S_MAX, rng)
        self._attempt = 0
        self._fetches: dict[tuple[int, HostId], Transfer] = {}
        self.arrived_s = 0.0
        self.cpu_free_s = 0.0
        self.running_count = 0
        self.is_leaving = False
        self._reads_at = 0
        self.full_at_block: int | None = None

    def handle(self, event: core.Event) -> None:
        """Let the mind take an event in, and carry out what it wants."""
        is_done = self.finished_s is not None or self.failure  # spares most events a call
        if is_done and not isinstance(event, core.BlockGranted):
            return
        world = self.world
        for instruction in self.mind.handle(event, now_s=world.timeline.now_s):
            self._CARRY[type(instruction)](self, instruction)
        if world.is_checked:
            self.mind.check()

    # --- life

    def arrive(self) -> None:
        """It starts, and opens its session."""
        self.is_up = True
        self.arrived_s = self.world.timeline.now_s
        self.world.present_count += 1
        self.connect()

    def connect(self) -> None:
        """Open the session; try again until that works."""
        self.world.timeline.after(HANDSHAKE * self.world.latency_s, self._on_connected)

    def _on_connected(self) -> None:
        if not self.is_up or self.has_session:
            return
        supernode = self._supernode
        is_reached = self.world.can_reach(self.host_id, SUPERNODE)
        if not supernode.is_up or not is_reached:
            self._attempt += 1
            self.world.timeline.after(self._backoff.delay_s(self._attempt), self.connect)
            return
        self._attempt = 0
        self.has_session = True
        self.session += 1
        self.sent_count += 2
        if self.session > 1:
            self.handle(core.SuperNodeBack())
        supernode.on_session(self)

    def on_session_lost(self, session: int) -> None:
        """The session ended, at the other side or on the way."""
        if not self.has_session or self.session != session or not self.is_up:
            return
        self.has_session = False
        self.handle(core.SuperNodeLost())
        self.connect()

    def on_seed_link_lost(self) -> None:
        """The link with the SuperNode ended."""
        if self.has_seed_link:
            self.has_seed_link = False
            self.news.unlink(SUPERNODE)
            self.handle(core.ParentLost(host_id=SUPERNODE))

    def end(self, why: str, *, is_silent: bool = False) -> None:
        """It ends for good: dies, or leaves."""
        if not self.is_up:
            return
        self.is_up, self.is_silent = False, is_silent
        if not self.is_done:
            self.failure = why
        world = self.world
        world.present_count -= 1
        self.stop_giving()
        for transfer in self._fetches.values():
            transfer.is_over = True
            world.timeline.after(world.latency_s, transfer.giver.on_cancel, transfer)
        self._fetches.clear()
        delay_s = SILENCE_S if is_silent else world.latency_s
        for other in list(self.links.values()):
            world.timeline.after(delay_s, other.on_link_lost, self.host_id, core.Loss.ENDED)
        self.links.clear()
        if self.has_session:
            world.timeline.after(delay_s, self._supernode.on_session_lost, self, self.session)
        self.has_session = False

    def tick(self) -> None:
        """Time has passed."""
        self.handle(_TICKED)

    def give_up(self, why: str) -> None:
        """It cannot go on, and says why: leaves the swarm, and stays a host."""
        if self.is_done:
            return
        self.failure = why
        for transfer in self._fetches.values():
            transfer.is_over = True
            self.world.timeline.after(self.world.latency_s, transfer.giver.on_cancel, transfer)
        self._fetches.clear()
        self._tell(sn.PeerLeft(host_id=self.host_id, task_id=self.world.edition.task_id))
        for host_id in list(self.links):
            self.close_link(host_id)
        if self.has_seed_link:
            self.has_seed_link = False
            self.world.timeline.after(
                self.world.latency_s, self._supernode.on_link_lost, self.host_id
            )

    # --- what the SuperNode tells

    def on_edition(self, listed: BlockSet, *, is_sealed: bool) -> None:
        """The edition and its block list, as far as it is known."""
        if not self.is_up or self.is_done:
            return
        count = self.world.scenario.block_count
        if not self.is_started:
            self.is_started = True
            held = BlockSet()
            self.handle(core.EditionStarted(block_count=count, held=held, listed=held))
            if self.world.scenario.is_read:
                self.handle(core.ReaderMoved(reader=0, block_index=0))
        self.on_listed(listed, is_sealed=is_sealed)

    def on_listed(self, listed: BlockSet, *, is_sealed: bool) -> None:
        """More of the block list, and perhaps its end."""
        if not self.is_up or not self.is_started or self.is_done:
            return
        if listed:
            self.handle(core.BlocksListed(blocks=listed))
        if is_sealed:
            self.handle(core.Sealed(block_count=self.world.scenario.block_count))

    def on_offer(self, hosts: tuple[Host, ...], *, has_supernode: bool) -> None:
        """Parents were named; those without an address cannot be linked with from here."""
        if not self.is_up or not self.is_started or self.is_done:
            return
        named = tuple(host.host_id for host in hosts if host.address)
        self.handle(core.ParentsOffered(host_ids=((SUPERNODE,) if has_supernode else ()) + named))

    # --- links

    def _link(self, instruction: todo.LinkParent) -> None:
        if instruction.host_id == SUPERNODE:
            wait_s = HANDSHAKE * self.world.latency_s
            self.world.timeline.after(wait_s, self._open_seed_link)
        else:
            self.open_link(instruction.host_id)

    def _open_seed_link(self) -> None:
        if self.is_up and not self.is_done and not self._supernode.on_link(self):
            self.handle(core.ParentLost(host_id=SUPERNODE, loss=core.Loss.UNREACHABLE))

    def tell_supernode(self, indices: tuple[int, ...]) -> None:
        """Tell the SuperNode the news, too, if there is a link with it."""
        if self.has_seed_link:
            self.sent_count += 1
            world = self.world
            world.timeline.after(world.latency_s, self._supernode.on_held, self, indices)

    # --- blocks

    def _fetch(self, instruction: todo.FetchBlock) -> None:
        host_id = instruction.host_id
        world = self.world
        giver = self._supernode if host_id == SUPERNODE else self._others[host_id]
        transfer = Transfer(
            giver, self, instruction.block_index, self.running_count, len(self.mind.held)
        )
        self._fetches[instruction.block_index, host_id] = transfer
        world.timeline.after(world.latency_s, giver.on_request, transfer)

    def _cancel(self, instruction: todo.CancelFetch) -> None:
        transfer = self._fetches.pop((instruction.block_index, instruction.host_id), None)
        if transfer is not None:
            self.world.ledger.cancelled_count += 1
            self._drop(transfer)

    def _drop(self, transfer: Transfer) -> None:
        transfer.is_over = True
        self.world.timeline.after(self.world.latency_s, transfer.giver.on_cancel, transfer)

    def on_block(self, transfer: Transfer) -> None:
        """A block is here; it is verified before anything else."""
        if transfer.is_over:
            return
        transfer.is_over = True
        ledger, giver, index = self.world.ledger, transfer.giver, transfer.block_index
        del self._fetches[index, giver.host_id]
        if giver.is_corrupting:
            ledger.bad_refused_count += 1
            self._on_failure(transfer, core.Failure.CORRUPT, 0.0)
            return
        if not self.holds(index):
            boundary = (
                Boundary.SUPERNODE
                if giver.host_id == SUPERNODE
                else Boundary.NEAR
                if giver.rack == self.rack
                else Boundary.FAR
            )
            self._count(index, boundary)
        self.handle(core.BlockStored(block_index=index, host_id=giver.host_id))
        self._read_on()

    def _read_on(self) -> None:
        """Tell the mind which block the reader waits for, if there is a reader."""
        if self.world.scenario.is_read and not self.is_done:
            missing = lowest_bit(~self.mind.held.bits & (self.mind.held.bits + 1))
            if missing != self._reads_at:
                self._reads_at = missing
                self.handle(core.ReaderMoved(reader=0, block_index=missing))

    def _count(self, block_index: int, boundary: Boundary) -> None:
        world = self.world
        ledger, size = world.ledger, world.block_bytes(block_index)
        ledger.bytes_by[boundary] += size
        if self.rack is not None and boundary is not Boundary.NEAR:
            ledger.rack_bytes[self.rack] += size
        ledger.stored_s[self.number, block_index] = world.timeline.now_s
        ledger.held_count += 1
        if self.full_at_block is not None and len(self.mind.held) >= self.full_at_block:
            self.give_up("its disk is full")

    def on_fetch_failed(
        self, transfer: Transfer, failure: core.Failure, retry_after_s: float
    ) -> None:
        """A request was refused, or its connection broke or stood still."""
        if transfer.is_over:
            return
        self._drop(transfer)
        self._fetches.pop((transfer.block_index, transfer.giver.host_id), None)
        self._on_failure(transfer, failure, retry_after_s)

    def _on_failure(self, transfer: Transfer, failure: core.Failure, retry_after_s: float) -> None:
        self.world.ledger.failures[failure.value] += 1
        self.handle(
            core.FetchFailed(
                block_index=transfer.block_index,
                host_id=transfer.giver.host_id,
                failure=failure,
                retry_after_s=retry_after_s,
            )
        )

    # --- what the SuperNode is told

    def _tell(self, event: sn.Event) -> None:
        if self.has_session:
            self.sent_count += 1
            world = self.world
            world.timeline.after(
                world.latency_s, self._supernode.on_message, self, self.session, event
            )

    def _decline(self, instruction: todo.DeclineGrant) -> None:
        if self.has_seed_link:
            self.sent_count += 1
            world = self.world
            world.timeline.after(
                world.latency_s, self._supernode.on_declined, self, instruction.block_index
            )

    def _report(self, instruction: todo.ReportProgress) -> None:
        self._tell(
            sn.PeerProgressed(
                host_id=self.host_id,
                edition_id=self.world.edition.edition_id,
                held_count=instruction.held_count,
                is_hungry=instruction.is_hungry,
                is_idle=self.queue.load < self.queue.slots,
                is_whole=instruction.is_whole,
            )
        )

    def _complain(self, instruction: todo.Complain) -> None:
        self._tell(
            sn.PeerComplained(
                host_id=self.host_id,
                edition_id=self.world.edition.edition_id,
                accused=instruction.host_id,
                block_index=instruction.block_index,
                reason=instruction.reason,
            )
        )

    def _ask_source(self, _: todo.AskSource) -> None:
        self._tell(sn.SourceAsked(host_id=self.host_id, task_id=self.world.edition.task_id))

    # --- the source

    def _fetch_from_source(self, instruction: todo.FetchFromSource) -> None:
        stop = instruction.stop_index
        count = self.world.scenario.block_count if stop is None else stop
        self.world.note_fallback(self.host_id, is_at_source=True, is_asked=self.has_session)
        self._read_source(instruction.first_index, count)

    def _read_source(self, block_index: int, stop_index: int) -> None:
        if not self.is_up or self.is_done or block_index >= stop_index:
            self._end_reading(is_ok=True)
            return
        self._source.read(
            block_index,
            self.downlink[:1],
            then=lambda: self._on_source_block(block_index, stop_index),
            broke=lambda: self._end_reading(is_ok=False),
        )

    def _end_reading(self, *, is_ok: bool) -> None:
        self.world.note_fallback(self.host_id, is_at_source=False, is_asked=False)
        self.on_event(core.SourceEnded(is_ok=is_ok))

    def _on_source_block(self, block_index: int, stop_index: int) -> None:
        if self.is_up and not self.is_done and not self.holds(block_index):
            self._count(block_index, Boundary.SOURCE)
            self.handle(core.BlocksListed(blocks=BlockSet.of([block_index])))
            self.handle(core.BlockStored(block_index=block_index, host_id=None))
        self._read_source(block_index + 1, stop_index)

    # --- the end

    def _finish(self, _: todo.Finish) -> None:
        world = self.world
        assert len(self.mind.held) == world.scenario.block_count
        self.finished_s = world.timeline.now_s
        world.ledger.finished_count += 1
        self.tell_rest()
        for host_id in self.mind.whole_parents():
            if host_id in self.links:
                self.close_link(host_id)
        if self.has_seed_link:
            self.has_seed_link = False
            world.timeline.after(world.latency_s, self._supernode.on_link_lost, self.host_id)
        if self.is_leaving:
            world.timeline.after(STALL_TIMEOUT_S, self.end, "")

    def _fail(self, instruction: todo.Fail) -> None:
        self.give_up(instruction.reason.value)

    _CARRY: ClassVar[Carry] = {  # one for all hosts, so that it stays in the CPU's cache
        todo.FetchBlock: _fetch,
        todo.AnnounceBlock: LinkedMachine.announce,
        todo.ClaimBlocks: LinkedMachine.claim,
        todo.CancelFetch: _cancel,
        todo.LinkParent: _link,
        todo.DeclineGrant: _decline,
        todo.ReportProgress: _report,
        todo.Complain: _complain,
        todo.AskSource: _ask_source,
        todo.FetchFromSource: _fetch_from_source,
        todo.Finish: _finish,
        todo.Fail: _fail,
    }
