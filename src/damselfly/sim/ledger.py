"""What is written down of a run: who got which block when, from where, and all that was said."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from damselfly.core.peer import HostId


class Boundary(StrEnum):
    """What a block crossed on its way to a host."""

    SUPERNODE = "from the SuperNode"
    NEAR = "from near hosts"
    FAR = "from hosts of other racks"
    SOURCE = "from the source"


@dataclass(slots=True)
class Sample:
    """The swarm at one moment.

    Attributes:
        at_s: When.
        held_count: Blocks held by all hosts together.
        finished_count: Hosts that have everything.
        present_count: Hosts that have come and not died.
        sent_bytes: Sent so far by hosts and SuperNode.
    """

    at_s: float
    held_count: int
    finished_count: int
    present_count: int
    sent_bytes: float


@dataclass(slots=True)
class Ledger:
    """The books of one run; machines write, checkers and reports read.

    Attributes:
        stored_s: [host, block]: when it was stored, NaN if never.
        bytes_by: Verified bytes that hosts got, by boundary.
        rack_bytes: {rack: bytes that came into it}.
        seeded: {block: how often the SuperNode read it from the source}.
        messages: {host: messages that it sent}.
        supernode_messages: Messages that the SuperNode got and sent.
        fallback_max: Most hosts at the source at a time, while the SuperNode was there.
        bad_stored_count: Wrong blocks that were let in; must stay 0.
        bad_refused_count: Wrong blocks that were found.
        cancelled_count: Transfers that were given up, because the block came from elsewhere.
        failures: {why: fetches that failed so}.
        banned: Hosts that were banned.
        samples: The swarm over time.
    """

    stored_s: NDArray[np.float32]
    bytes_by: Counter[Boundary] = field(default_factory=Counter)
    rack_bytes: Counter[int] = field(default_factory=Counter)
    seeded: Counter[int] = field(default_factory=Counter)
    messages: Counter[int] = field(default_factory=Counter)
    supernode_messages: int = 0
    fallback_max: int = 0
    bad_stored_count: int = 0
    bad_refused_count: int = 0
    cancelled_count: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    banned: list[HostId] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    held_count: int = 0
    finished_count: int = 0

    @classmethod
    def of(cls, hosts: int, blocks: int) -> "Ledger":
        """Return empty books."""
        return cls(np.full((hosts, blocks), np.nan, dtype=np.float32))
