"""Blocks on their way: requests, slots, flows, and all the ways in which they end."""

from dataclasses import dataclass
from typing import Protocol

from damselfly.core.downloading.events import Failure
from damselfly.core.peer import HostId
from damselfly.core.uploading import RETRY_AFTER_S, WAIT_S, Asked, Turn, UploadQueue
from damselfly.sim.surroundings import Surroundings

STALL_TIMEOUT_S = 2.0  # as in transport/block_connection.py
HEAD_TIMEOUT_S = 6.0  # the same


class Taker(Protocol):
    """Whoever asks for blocks.

    Attributes:
        host_id: Its id.
        rack: Its rack; None: outside of all racks.
        downlink: Links that its downloads pass, its own first.
        cpu_free_s: When its CPU has done what came so far.
        running_count: Transfers that are coming to it.
    """

    host_id: HostId
    rack: int | None
    downlink: tuple[int, ...]
    cpu_free_s: float
    running_count: int

    def on_block(self, transfer: "Transfer") -> None:
        """A block is here."""

    def on_fetch_failed(self, transfer: "Transfer", failure: Failure, retry_after_s: float) -> None:
        """There will be none."""


@dataclass(slots=True, eq=False)
class Transfer:
    """One request for one block.

    Attributes:
        running_count: Transfers that came to the taker already when it asked ...
        held_count: ... and the blocks that it held.
        flow: Its number in the network; None while it has none.
        is_waiting: It waits for a slot of the giver.
        has_slot: The giver serves it.
        is_over: It has ended for the taker, one way or the other.
    """

    giver: "Giver"
    taker: Taker
    block_index: int
    running_count: int
    held_count: int
    flow: int | None = None
    is_waiting: bool = False
    has_slot: bool = False
    is_over: bool = False

    def on_waited(self) -> None:
        """It has waited for a slot long enough."""
        self.giver.on_waited(self)


class Giver:
    """Whoever can be asked for blocks: a host, or the SuperNode.

    Attributes:
        host_id: Its id.
        is_up: It runs.
        is_silent: It was switched off, so nobody is told.
        is_stalling: It takes requests and sends nothing.
        is_corrupting: What it sends is wrong.
        uplink: Links that its uploads pass, its own first.
        rack: Its rack; None: outside of all racks.
        serving: {transfer: nothing} that have a slot; a dictionary for its order.
    """

    # Of 10,000 machines with a dictionary each, hardly anything is in the CPU's cache when needed.
    __slots__ = (
        "host_id",
        "is_corrupting",
        "is_silent",
        "is_stalling",
        "is_up",
        "queue",
        "rack",
        "serving",
        "uplink",
        "world",
    )

    def __init__(
        self,
        world: Surroundings,
        host_id: HostId,
        *,
        slots: int,
        uplink: tuple[int, ...],
        rack: int | None,
    ) -> None:
        self.world = world
        self.host_id = host_id
        self.queue: UploadQueue[Transfer] = UploadQueue(slots)
        self.is_up = False
        self.is_silent = False
        self.is_stalling = False
        self.is_corrupting = False
        self.uplink = uplink
        self.rack = rack
        self.serving: dict[Transfer, None] = {}

    def holds(self, block_index: int) -> bool:
        """Say whether it has a block."""
        raise NotImplementedError

    def asked(self, transfer: Transfer) -> Asked:
        """Return what a request says."""
        return Asked(transfer.taker.host_id, running_count=transfer.running_count)

    def on_sent(self, transfer: Transfer) -> None:
        """A transfer has left, or was given up."""

    def on_request(self, transfer: Transfer) -> None:
        """A request has arrived."""
        world = self.world
        if transfer.is_over:
            return
        if not self.is_up or not world.can_reach(self.host_id, transfer.taker.host_id):
            is_told = not self.is_silent and not self.is_up
            delay_s = world.latency_s if is_told else HEAD_TIMEOUT_S
            self._fail_later(transfer, Failure.UNREACHABLE if is_told else Failure.STALLED, delay_s)
            return
        if not self.holds(transfer.block_index):
            self._fail_later(transfer, Failure.MISSING, world.latency_s)
            return
        match self.queue.ask(transfer, self.asked(transfer)):
            case Turn.NOW:
                self._serve(transfer)
            case Turn.LATER:
                transfer.is_waiting = True
                world.wait(WAIT_S, transfer)
            case Turn.REFUSED:
                self._fail_later(transfer, Failure.BUSY, world.latency_s)

    def on_waited(self, transfer: Transfer) -> None:
        """A request has waited for a slot long enough."""
        self._forget(transfer)
        self._fail_later(transfer, Failure.BUSY, self.world.latency_s)

    def _forget(self, transfer: Transfer) -> None:
        transfer.is_waiting = False
        self.queue.forget(transfer)

    def _serve(self, transfer: Transfer) -> None:
        world, taker = self.world, transfer.taker
        transfer.has_slot, transfer.is_waiting = True, False
        taker.running_count += 1
        self.serving[transfer] = None
        assert len(self.serving) <= self.queue.slots
        if self.is_stalling or not world.can_reach(self.host_id, taker.host_id):
            self._fail_later(transfer, Failure.STALLED, STALL_TIMEOUT_S)
            return
        if world.is_breaking():
            self._fail_later(transfer, Failure.UNREACHABLE, world.scenario.block_s)
            return
        is_near = taker.rack == self.rack
        links = 1 if is_near else None
        route = self.uplink[:links] + taker.downlink[:links]
        transfer.flow = world.send(route, transfer.block_index, self._on_flow_end, transfer)

    def break_off(self, transfer: Transfer) -> None:
        """A transfer stands still on the way; the taker finds out."""
        self._drop_flow(transfer)
        self._fail_later(transfer, Failure.STALLED, STALL_TIMEOUT_S)

    def _on_flow_end(self, transfer: Transfer) -> None:
        """The last byte has left: the slot is for the next one, the block for the taker."""
        world, taker = self.world, transfer.taker
        transfer.flow = None
        self._free(transfer)
        arrives_s = world.timeline.now_s + world.latency_s
        taker.cpu_free_s = max(arrives_s, taker.cpu_free_s) + world.scenario.block_cost_s
        world.timeline.at(taker.cpu_free_s, taker.on_block, transfer)

    def on_cancel(self, transfer: Transfer) -> None:
        """The taker has closed the connection."""
        self._drop_flow(transfer)
        if transfer.has_slot:
            self._free(transfer)
        else:
            self._forget(transfer)

    def _drop_flow(self, transfer: Transfer) -> None:
        if transfer.flow is not None:
            self.world.drop(transfer.flow)
            transfer.flow = None

    def _free(self, transfer: Transfer) -> None:
        if transfer not in self.serving:
            return  # all were dropped at its death
        del self.serving[transfer]
        transfer.has_slot = False
        transfer.taker.running_count -= 1
        self.on_sent(transfer)
        for waiting in self.queue.end(transfer):
            self._serve(waiting)

    def stop_giving(self) -> None:
        """It ends: what it sends breaks off, and who waits is told, or finds out."""
        world = self.world
        failure, delay_s = Failure.UNREACHABLE, world.latency_s
        if self.is_silent:
            failure, delay_s = Failure.STALLED, STALL_TIMEOUT_S
        for transfer in [*self.serving, *self.queue.waiting()]:
            transfer.is_waiting = False
            self._drop_flow(transfer)
            self._fail_later(transfer, failure, delay_s)
        for transfer in self.serving:
            transfer.taker.running_count -= 1
        self.serving.clear()
        self.queue = UploadQueue(self.queue.slots)

    def _fail_later(self, transfer: Transfer, failure: Failure, delay_s: float) -> None:
        retry_after_s = RETRY_AFTER_S if failure is Failure.BUSY else 0.0
        taker = transfer.taker
        self.world.timeline.after(delay_s, taker.on_fetch_failed, transfer, failure, retry_after_s)
