"""What is imagined: how many hosts, how fast, how far apart, and what goes wrong.

Everything has a default, so that a scenario says only what it is about. Nothing in it is
drawn: what is left to chance follows from `seed` when the world is built.
"""

from dataclasses import dataclass, field

from damselfly.core.blocks import block_bytes_for
from damselfly.core.scheduling.lingering import READ_ON_S

HOSTS_MAX = 1_000_000
STORED_MAX = 500_000_000  # the time of each block at each host is kept: 2 GB; half a day of CPU
MANY_HOSTS = 100  # what a coarse step does to one of them is evened out by the others


def _require(condition: bool, text: str) -> None:  # noqa: FBT001
    if not condition:
        raise ValueError(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong. A share is a part of the hosts, from 0 to 1, drawn by lot.

    Attributes:
        start_s: Faults that begin at some moment do so after it ...
        stop_s: ... and before this one; 0 is half of the fluid bound for both.
        dying_share: Hosts that end for good.
        dying_is_silent: They do so without a word (power), and not by a signal.
        leaving_share: Hosts that leave when they have everything.
        stalling_share: Hosts that accept requests and send nothing, from some moment on.
        corrupting_share: Hosts all of whose blocks are wrong.
        slow_share: Hosts whose links are slower ...
        slow_factor: ... by this factor.
        spread_factor: All hosts' links differ, log-uniformly, by up to this factor; 1 is none.
        closed_share: Hosts that others cannot reach, behind NAT: they take and cannot give.
        full_share: Hosts whose disk is full in the middle of the content.
        partition_share: Hosts that are cut off from all others together ...
        partition_s: ... for so long.
        restart_s: The SuperNode is gone for so long; 0 is not at all.
        source_down_s: The source answers nothing for so long; 0 is not at all.
        breaking_share: Transfers, not hosts, whose connection breaks in the middle.
    """

    start_s: float = 0.0
    stop_s: float = 0.0
    dying_share: float = 0.0
    dying_is_silent: bool = False
    leaving_share: float = 0.0
    stalling_share: float = 0.0
    corrupting_share: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 10.0
    spread_factor: float = 1.0
    closed_share: float = 0.0
    full_share: float = 0.0
    partition_share: float = 0.0
    partition_s: float = 0.0
    restart_s: float = 0.0
    source_down_s: float = 0.0
    breaking_share: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name.endswith("_share"):
                _require(0 <= value <= 1, f"{name} must be from 0 to 1")
            elif name.endswith("_factor"):
                _require(value >= 1, f"{name} must be at least 1")
            else:
                _require(value >= 0, f"{name} must not be negative")
        _require(self.start_s <= self.stop_s, "start_s must not be after stop_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOptions:
    """The SuperNode and what stands behind it.

    Attributes:
        upload_rate_bytes_per_s: Its link.
        slots: Seed blocks sent at a time; 0 is twice a host's, or in proportion to its link.
        children_max: Peers that get seed blocks.
        neighbours: Parents named to a peer at first.
        is_warm: It has the content in its cache; otherwise it reads the source meanwhile.
        source_rate_bytes_per_s: What the source gives, to all together.
        fallbacks_max: Hosts that may go to the source themselves at a time.
        read_on_s: So long it reads on when nobody wants the content any more.
    """

    upload_rate_bytes_per_s: float = 500e6
    slots: int = 0
    children_max: int = 64
    neighbours: int = 8
    is_warm: bool = True
    source_rate_bytes_per_s: float = 125e6
    fallbacks_max: int = 2
    read_on_s: float = READ_ON_S

    def __post_init__(self) -> None:
        _require(self.upload_rate_bytes_per_s > 0, "upload_rate must be positive")
        _require(self.source_rate_bytes_per_s > 0, "source_rate must be positive")
        _require(self.slots >= 0, "slots must not be negative")
        _require(self.children_max >= 1, "children_max must be at least 1")
        _require(self.neighbours >= 1, "neighbours must be at least 1")
        _require(self.fallbacks_max >= 0, "fallbacks_max must not be negative")
        _require(self.read_on_s >= 0, "read_on must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One content to many hosts.

    Attributes:
        seed: Of all that is drawn; the same seed gives the same run, byte for byte.
        hosts: How many want it.
        size_bytes: Length of the content.
        block_bytes: Length of a block; 0 is as the SuperNode would cut it.
        upload_rate_bytes_per_s: A host's link, outwards.
        download_rate_bytes_per_s: A host's link, inwards.
        slots: Uploads and downloads of a host at a time.
        rack_hosts: Hosts in a rack; 0 is no racks.
        rack_rate_bytes_per_s: A rack's link to the rest, each way; 0 is no limit.
        latency_s: From any host to any other, one way.
        block_cost_s: What a host's CPU does for each block that it gets, one after another.
        arrival_s: Hosts come evenly over so long; 0 is all at once.
        is_read: On each host a program takes the bytes in order while they come, and says so.
        step_s: Step of the network; 0 is a quarter of the time one block takes on a link, in
            large swarms a 16th of what it takes when all slots share the link.
        limit_s: The run ends here at the latest; 0 is 20 times the bound and 300 s more.
        supernode: The SuperNode.
        faults: What goes wrong.
    """

    seed: int = 1
    hosts: int = 20
    size_bytes: int = 256 << 20
    block_bytes: int = 0
    upload_rate_bytes_per_s: float = 125e6
    download_rate_bytes_per_s: float = 125e6
    slots: int = 6
    rack_hosts: int = 0
    rack_rate_bytes_per_s: float = 0.0
    latency_s: float = 0.0005
    block_cost_s: float = 0.001
    arrival_s: float = 0.0
    is_read: bool = False
    step_s: float = 0.0
    limit_s: float = 0.0
    supernode: SeedOptions = field(default_factory=SeedOptions)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        _require(1 <= self.hosts <= HOSTS_MAX, f"hosts must be 1 to {HOSTS_MAX}")
        _require(self.size_bytes >= 1, "size must be at least 1 byte")
        _require(self.block_bytes >= 0, "block must not be negative")
        _require(self.upload_rate_bytes_per_s > 0, "upload_rate must be positive")
        _require(self.download_rate_bytes_per_s > 0, "download_rate must be positive")
        _require(1 <= self.slots <= 64, "slots must be 1 to 64")  # noqa: PLR2004
        _require(self.rack_hosts >= 0, "rack_hosts must not be negative")
        for name in ("rack_rate_bytes_per_s", "latency_s", "block_cost_s", "arrival_s"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        text = f"hosts times blocks must be at most {STORED_MAX}: fewer hosts, or larger blocks"
        _require(self.hosts * self.block_count <= STORED_MAX, text)
        _require(self.step_s >= 0, "step must not be negative")
        _require(self.limit_s >= 0, "limit must not be negative")

    @property
    def cut_bytes(self) -> int:
        """Length of a block."""
        rate = self.upload_rate_bytes_per_s
        return self.block_bytes or block_bytes_for(self.size_bytes, link_rate_bytes_per_s=rate)

    @property
    def block_count(self) -> int:
        """Number of blocks."""
        return -(-self.size_bytes // self.cut_bytes)

    @property
    def block_s(self) -> float:
        """How long a block takes on a host's link, if it has it for itself."""
        return self.cut_bytes / self.upload_rate_bytes_per_s

    @property
    def rack_count(self) -> int:
        """Number of racks; 0 when there are none."""
        return -(-self.hosts // self.rack_hosts) if self.rack_hosts else 0

    @property
    def quantum_s(self) -> float:
        """Step of the network."""
        quarter_s = self.block_s / 4
        if self.hosts < MANY_HOSTS:
            return self.step_s or quarter_s
        return self.step_s or quarter_s * max(self.slots / 4, 1)

    @property
    def seed_slots(self) -> int:
        """Seed blocks that the SuperNode sends at a time."""
        share = self.supernode.upload_rate_bytes_per_s / self.upload_rate_bytes_per_s
        return self.supernode.slots or max(2 * self.slots, min(round(self.slots * share), 64))
