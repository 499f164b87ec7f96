"""What came of a run, in numbers: how long it took against the bound, and what it cost."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from damselfly.sim.bounds import own_bound_s
from damselfly.sim.ledger import Boundary
from damselfly.sim.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The numbers of one run.

    Attributes:
        seed: Of the scenario.
        hosts: How many there were.
        blocks: Of the content.
        block_bytes: Length of a block.
        bound_s: In which all could have everything, had they come at once.
        finished: Hosts that have everything.
        gave_up: {why: hosts that did not, and said so}.
        unfinished: Hosts that still wait at the end; 0 unless something is wrong.
        last_s: From its coming until the last host had everything; so with the others.
        median_s: ... half of them.
        p99_s: ... 99 of 100.
        last_ratio: `last_s` ÷ `bound_s`.
        own_ratio: The worst host's time ÷ its own bound.
        reader_ratio: Mean end of readers that take the bytes in order at line rate ÷ bound.
        supernode_copies: Bytes that the SuperNode sent ÷ size.
        source_copies: Bytes that the source sent ÷ size.
        rack_copies: Mean over racks of the bytes that came in ÷ size.
        rack_copies_max: Of the worst rack.
        bytes_by: {boundary: verified bytes that hosts got}.
        wasted_share: Bytes on the hosts' downlinks that were for nothing ÷ all of them.
        messages_mean: Messages sent per host.
        messages_max: By the one that sent most.
        supernode_messages: Messages that the SuperNode got and sent.
        fetch_failures: {why: fetches that ended so}.
        banned: Hosts that were banned.
    """

    seed: int
    hosts: int
    blocks: int
    block_bytes: int
    bound_s: float
    finished: int
    gave_up: dict[str, int]
    unfinished: int
    last_s: float
    median_s: float
    p99_s: float
    last_ratio: float
    own_ratio: float
    reader_ratio: float
    supernode_copies: float
    source_copies: float
    rack_copies: float
    rack_copies_max: float
    bytes_by: dict[str, int]
    wasted_share: float
    messages_mean: float
    messages_max: int
    supernode_messages: int
    fetch_failures: dict[str, int]
    banned: int

    def as_json(self) -> dict[str, Any]:
        """Return it with floats rounded, so that the text of a run never differs."""
        values = dataclasses.asdict(self)
        return {
            key: round(value, 6) if isinstance(value, float) else value
            for key, value in values.items()
        }


def outcome_of(world: World) -> Outcome:
    """Return the numbers of a run."""
    scenario, ledger = world.scenario, world.ledger
    size, count = scenario.size_bytes, scenario.hosts
    times = {
        host.number: host.finished_s - host.arrived_s
        for host in world.hosts
        if host.finished_s is not None
    }
    took = np.array(list(times.values()) or [float("nan")])
    carried = world.network.carried_bytes
    received = carried[count : 2 * count].sum()
    useful = sum(ledger.bytes_by.values())
    racks = [ledger.rack_bytes[rack] / size for rack in range(scenario.rack_count)]
    messages = [host.sent_count for host in world.hosts]
    failures = Counter(host.failure for host in world.hosts if host.failure)
    last_s = float(took.max())
    return Outcome(
        seed=scenario.seed,
        hosts=count,
        blocks=scenario.block_count,
        block_bytes=scenario.cut_bytes,
        bound_s=world.bound_s,
        finished=len(times),
        gave_up=dict(sorted(failures.items())),
        unfinished=sum(not host.is_done for host in world.hosts),
        last_s=last_s,
        median_s=float(np.median(took)),
        p99_s=float(np.quantile(took, 0.99)),
        last_ratio=last_s / world.bound_s,
        own_ratio=max(
            (took_s / _own_bound_s(world, number) for number, took_s in times.items()),
            default=float("nan"),
        ),
        reader_ratio=_reader_ratio(world, times),
        supernode_copies=float(carried[2 * count]) / size,
        source_copies=float(carried[world.source_link]) / size,
        rack_copies=sum(racks) / len(racks) if racks else 0.0,
        rack_copies_max=max(racks, default=0.0),
        bytes_by={boundary.value: ledger.bytes_by[boundary] for boundary in Boundary},
        wasted_share=float(max(1 - useful * world.overhead / received, 0.0)) if received else 0.0,
        messages_mean=sum(messages) / count,
        messages_max=max(messages),
        supernode_messages=ledger.supernode_messages,
        fetch_failures=dict(sorted(ledger.failures.items())),
        banned=len(ledger.banned),
    )


def _own_bound_s(world: World, number: int) -> float:
    """Return a host's bound: its own links, and if all come at once what all of them share."""
    scenario = world.scenario
    own_s = own_bound_s(scenario, world.rates[number])
    if scenario.arrival_s:
        return own_s
    seed_rate = scenario.supernode.upload_rate_bytes_per_s
    upload_rate = seed_rate + scenario.upload_rate_bytes_per_s * sum(world.rates)
    return max(own_s, scenario.size_bytes * scenario.hosts / upload_rate)


def _reader_ratio(world: World, times: dict[int, float]) -> float:
    """Follow a reader per host: it takes each block when it is there and its turn has come."""
    if not times:
        return float("nan")
    scenario = world.scenario
    numbers = list(times)
    arrived = np.array([world.hosts[number].arrived_s for number in numbers])
    rates = np.array([world.rates[number] for number in numbers])
    line_rate = scenario.download_rate_bytes_per_s * rates
    stored = world.ledger.stored_s[numbers]
    at_s = arrived.copy()
    for block_index in range(scenario.block_count):
        at_s = np.maximum(at_s, stored[:, block_index])
        at_s += world.block_bytes(block_index) / line_rate
    bounds = np.array([_own_bound_s(world, number) for number in numbers])
    return float(np.mean((at_s - arrived) / bounds))
