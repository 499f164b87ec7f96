"""What all machines of the imagined world share: time, network, books, and who reaches whom."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from damselfly.core.peer import HostId
from damselfly.core.task import Edition, EditionId, TaskId, Validators
from damselfly.sim.ledger import Ledger
from damselfly.sim.network import Network
from damselfly.sim.scenario import Scenario
from damselfly.sim.timeline import Timeline

OVERHEAD = 1.01  # bytes on the wire for each of content: TCP, IP, Ethernet, HTTP (bench/arena.py)
SILENCE_S = 7.5  # a host that was switched off is missed: 1.5 times the heartbeat


class Waiting(Protocol):
    """Whoever waits for something, but not for ever.

    Attributes:
        is_waiting: It still does.
    """

    is_waiting: bool

    def on_waited(self) -> None:
        """It has waited long enough."""


class Surroundings:
    """The part of a run that machines know.

    Attributes:
        scenario: What is imagined.
        is_checked: All invariants of all machines are asserted after each event; slow.
        timeline: What is to come.
        network: Links and flows.
        ledger: What has happened.
        edition: The content.
        block_count: Of the content.
        latency_s: From any to any.
        present_count: Hosts that have come and not ended.
        cut_off: Hosts that only reach each other.
    """

    def __init__(self, scenario: Scenario, network: Network, *, is_checked: bool) -> None:
        self.scenario = scenario
        self.is_checked = is_checked
        self.latency_s = scenario.latency_s
        self.timeline = Timeline()
        self.network = network
        self.ledger = Ledger.of(scenario.hosts, scenario.block_count)
        self.edition = Edition(
            edition_id=EditionId("e" * 32),
            task_id=TaskId("f" * 64),
            block_bytes=scenario.cut_bytes,
            size_bytes=scenario.size_bytes,
            validators=Validators(etag='"imagined"'),
        )
        self.block_count = scenario.block_count
        self.present_count = 0
        self.cut_off: frozenset[HostId] = frozenset()
        # {flow: what to do, and with what, when its last byte has left}.
        self._flows: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = {}
        self._waits: deque[tuple[float, Waiting]] = deque()
        self._fallbacks: set[HostId] = set()
        self._breaks = random.Random(scenario.seed)

    @property
    def overhead(self) -> float:
        """Bytes on the wire for each of content."""
        return OVERHEAD

    def block_bytes(self, block_index: int) -> int:
        """Length of a block."""
        cut = self.edition.block_bytes
        return min(cut, self.scenario.size_bytes - block_index * cut)

    def can_reach(self, one: HostId, other: HostId) -> bool:
        """Say whether the network carries anything between two machines now."""
        cut_off = self.cut_off
        return not cut_off or (one in cut_off) == (other in cut_off)

    def is_breaking(self) -> bool:
        """Draw whether the transfer that begins now breaks in its middle."""
        share = self.scenario.faults.breaking_share
        return share > 0 and self._breaks.random() < share

    def send(
        self,
        route: tuple[int, ...],
        block_index: int,
        then: Callable[..., None],
        *arguments: Any,  # noqa: ANN401
    ) -> int:
        """Let a block flow over links; call something when its last byte has left."""
        size = self.block_bytes(block_index) * OVERHEAD
        flow = self.network.start(route, size, now_s=self.timeline.now_s)
        self._flows[flow] = (then, arguments)
        return flow

    def drop(self, flow: int) -> None:
        """End a flow before its time."""
        self.network.cancel(flow)
        del self._flows[flow]

    def on_flow_end(self, flow: int) -> None:
        """The last byte of a flow has left, unless it was dropped in the same step."""
        if self.network.end(flow):
            then, arguments = self._flows.pop(flow)
            then(*arguments)

    def wait(self, wait_s: float, waiting: Waiting) -> None:
        """Let something wait; all waits are equally long, and most end before they are over."""
        self._waits.append((self.timeline.now_s + wait_s, waiting))

    def end_waits(self) -> None:
        """Tell those who have waited long enough, and forget those who wait no more."""
        now_s, waits = self.timeline.now_s, self._waits
        while waits and (waits[0][0] <= now_s or not waits[0][1].is_waiting):
            _, waiting = waits.popleft()
            if waiting.is_waiting:
                waiting.on_waited()

    @property
    def source_link(self) -> int:
        """The link of the source."""
        return 2 * self.scenario.hosts + 1

    def note_fallback(self, host_id: HostId, *, is_at_source: bool, is_asked: bool) -> None:
        """Write down that a host goes to the source itself, or comes back from it.

        Args:
            host_id: The host.
            is_at_source: It goes.
            is_asked: There is a SuperNode, which allowed it.
        """
        if not is_at_source:
            self._fallbacks.discard(host_id)
        elif is_asked:
            self._fallbacks.add(host_id)
            self.ledger.fallback_max = max(self.ledger.fallback_max, len(self._fallbacks))
