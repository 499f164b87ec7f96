"""The imagined world: hosts and a SuperNode on a network, faults, and the course of time."""

import math
import random

from damselfly.core.peer import SUPERNODE, Host, HostId
from damselfly.core.topology import Location
from damselfly.sim.bounds import fluid_bound_s
from damselfly.sim.faults import plan_faults
from damselfly.sim.hosts import HostMachine
from damselfly.sim.ledger import Sample
from damselfly.sim.linking import LinkedMachine
from damselfly.sim.network import Network
from damselfly.sim.scenario import Scenario
from damselfly.sim.source import Source
from damselfly.sim.supernode import SuperNodeMachine
from damselfly.sim.surroundings import SILENCE_S, Surroundings

TICK_S = 0.1  # as in services/downloading/download_run.py
TICK_GROUPS = 10  # hosts do not tick all at once
SAMPLES = 200  # of the swarm, over the expected time
STEPS = 16  # between two looks whether all is done
UNLIMITED = 1e15


class World(Surroundings):
    """One run.

    Attributes:
        rates: Each host's links, as a share of the scenario's.
        bound_s: In which the last host could have everything, at best.
        source: What the content comes from.
        supernode: The SuperNode.
        hosts: All hosts.
    """

    def __init__(self, scenario: Scenario, *, is_checked: bool = False) -> None:
        rng = random.Random(scenario.seed)
        self.rates = _draw_rates(scenario, rng)
        super().__init__(scenario, _make_network(scenario, self.rates), is_checked=is_checked)
        self.bound_s = fluid_bound_s(scenario, self.rates)
        uplink = (2 * scenario.hosts,)
        self.source = Source(self, random.Random(scenario.seed))
        self.supernode = SuperNodeMachine(
            self, source=self.source, uplink=uplink, rng=random.Random(rng.random())
        )
        self._faults = plan_faults(scenario, self.bound_s, rng)
        self._by_id: dict[HostId, LinkedMachine] = {}
        self.hosts = [self._make_host(number, rng) for number in range(scenario.hosts)]
        self._by_id.update({host.host_id: host for host in self.hosts})
        for fault in self._faults.timed:
            self.timeline.at(fault.at_s, fault.strike, self)

    def _make_host(self, number: int, rng: random.Random) -> HostMachine:
        scenario, count = self.scenario, self.scenario.hosts
        traits = self._faults.traits
        rack = number // scenario.rack_hosts if scenario.rack_hosts else None
        up: tuple[int, ...] = (number,)
        down: tuple[int, ...] = (count + number,)
        if rack is not None:
            first = 2 * count + 2
            up, down = (*up, first + rack), (*down, first + scenario.rack_count + rack)
        host = HostMachine(
            self,
            number,
            Host(
                host_id=HostId(f"host-{number}"),
                address="" if number in traits.closed else f"host-{number}:65000",
                location=Location(("site", f"rack-{rack}")) if rack is not None else Location(),
                upload_slots=scenario.slots,
            ),
            others=self._by_id,
            supernode=self.supernode,
            source=self.source,
            uplink=up,
            downlink=down,
            rack=rack,
            rng=random.Random(rng.random()),
        )
        host.is_corrupting = number in traits.corrupting
        host.is_leaving = number in traits.leaving
        host.full_at_block = (
            rng.randrange(1, scenario.block_count + 1) if number in traits.full else None
        )
        arrives_s = scenario.arrival_s * number / count
        self.timeline.at(arrives_s + rng.random() * self.latency_s, host.arrive)
        return host

    def host_of(self, host_id: HostId) -> HostMachine:
        """Return a host's machine."""
        return self.hosts[int(host_id.removeprefix("host-"))]

    # --- faults

    def kill(self, number: int, *, is_silent: bool) -> None:
        """End a host for good."""
        self.hosts[number].end("it died", is_silent=is_silent)

    def stall(self, number: int) -> None:
        """Let a host send nothing any more, though it says nothing."""
        self.hosts[number].is_stalling = True

    def crash(self) -> None:
        """End the SuperNode."""
        self.supernode.crash()

    def restart(self) -> None:
        """Start it again."""
        self.supernode.come_back()

    def fail_source(self) -> None:
        """Let the source answer nothing."""
        self.source.fail()

    def recover_source(self) -> None:
        """Let it answer again."""
        self.source.recover()

    def part(self, numbers: frozenset[int]) -> None:
        """Cut hosts off from all others; what goes between them breaks, a while later."""
        self.cut_off = frozenset(self.hosts[number].host_id for number in numbers)
        for giver in (self.supernode, *self.hosts):
            for transfer in list(giver.serving):
                if not self.can_reach(giver.host_id, transfer.taker.host_id):
                    giver.break_off(transfer)
        for host in self.hosts:
            for other in list(host.links.values()):
                if not self.can_reach(host.host_id, other.host_id):
                    self.timeline.after(SILENCE_S, self._cut_link, host, other)
            if not self.can_reach(host.host_id, SUPERNODE):
                self.timeline.after(SILENCE_S, self._cut_session, host, host.session)

    def _cut_link(self, host: HostMachine, other: LinkedMachine) -> None:
        if not self.can_reach(host.host_id, other.host_id):
            host.cut(other.host_id)
            other.cut(host.host_id)

    def _cut_session(self, host: HostMachine, session: int) -> None:
        if not self.can_reach(host.host_id, SUPERNODE):
            self.supernode.on_session_lost(host, session)
            host.on_session_lost(session)
            host.on_seed_link_lost()

    # --- time

    def run(self) -> None:
        """Let time pass until every host is done, or the scenario's limit."""
        scenario = self.scenario
        limit_s = scenario.limit_s or 20 * (self.bound_s + scenario.arrival_s) + 300
        step_s = scenario.quantum_s
        for group in range(TICK_GROUPS):
            self.timeline.at(group * TICK_S / TICK_GROUPS, self._tick, group)
        sample_s = max((self.bound_s + scenario.arrival_s) / SAMPLES * 1.25, step_s)
        self._sample(sample_s)
        step = 0
        while not all(host.is_done for host in self.hosts):
            now_s = step * step_s
            if now_s > limit_s:
                break
            for _ in range(STEPS):
                step += 1
                for ended in self.network.step(step * step_s):
                    self.timeline.at(ended.at_s, self.on_flow_end, ended.flow)
                self.timeline.run(step * step_s)
                self.end_waits()
        self._take_sample()

    def _tick(self, group: int) -> None:
        for host in self.hosts[group::TICK_GROUPS]:
            if host.is_up and not host.is_done:
                host.tick()
        self.timeline.after(TICK_S, self._tick, group)

    def _sample(self, sample_s: float) -> None:
        self._take_sample()
        self.timeline.after(sample_s, self._sample, sample_s)

    def _take_sample(self) -> None:
        ledger, count = self.ledger, self.scenario.hosts
        carried = self.network.carried_bytes
        ledger.samples.append(
            Sample(
                at_s=self.timeline.now_s,
                held_count=ledger.held_count,
                finished_count=ledger.finished_count,
                present_count=self.present_count,
                sent_bytes=float(carried[:count].sum() + carried[2 * count]),
            )
        )


def _draw_rates(scenario: Scenario, rng: random.Random) -> list[float]:
    """Return each host's rate as a share of the scenario's."""
    faults, count = scenario.faults, scenario.hosts
    rates = [1.0] * count
    if faults.spread_factor > 1:
        half = math.log(faults.spread_factor) / 2
        rates = [math.exp(rng.uniform(-half, half)) for _ in range(count)]
    for number in rng.sample(range(count), round(faults.slow_share * count)):
        rates[number] /= faults.slow_factor
    return rates


def _make_network(scenario: Scenario, rates: list[float]) -> Network:
    """Links: uplinks, downlinks, the SuperNode's, the source's, racks' up, racks' down."""
    up, down = scenario.upload_rate_bytes_per_s, scenario.download_rate_bytes_per_s
    rack = scenario.rack_rate_bytes_per_s or UNLIMITED
    return Network(
        [
            *(up * rate for rate in rates),
            *(down * rate for rate in rates),
            scenario.supernode.upload_rate_bytes_per_s,
            scenario.supernode.source_rate_bytes_per_s,
            *([rack] * (2 * scenario.rack_count)),
        ],
        route_links=4 if scenario.rack_count else 2,
    )
