"""What must hold after any run, whatever went wrong in it: one function per promise.

Slots, links and seed counts are asserted by the machines themselves while the run goes on
(`World(is_checked=True)`); these look at the books at the end.
"""

from collections.abc import Callable, Iterator

from damselfly.sim.world import World

MESSAGES_BASE = 200  # joining, links and their hellos
MESSAGES_PER_S = 20  # progress, complaints and questions, all at their most frequent
LINKS_MAX = 64  # of a host, each of which may hear of each block by itself


def everybody_finishes_or_says_why(world: World) -> Iterator[str]:
    """A host that lives has everything at the end, or told its user why not."""
    for host in world.hosts:
        if not host.is_done:
            held, count = len(host.mind.held), world.scenario.block_count
            yield f"{host.host_id} waits forever: it holds {held} of {count} blocks"


def finished_hosts_hold_everything(world: World) -> Iterator[str]:
    """Whoever says that it is finished has every block."""
    for host in world.hosts:
        if host.finished_s is not None and len(host.mind.held) != world.scenario.block_count:
            yield f"{host.host_id} finished with {len(host.mind.held)} blocks"


def source_is_read_once(world: World) -> Iterator[str]:
    """The SuperNode reads each block from the source once."""
    for block_index, count in sorted(world.ledger.seeded.items()):
        if count > 1:
            yield f"the SuperNode read block {block_index} {count} times"


def no_bad_byte_is_let_in(world: World) -> Iterator[str]:
    """A wrong block is refused, whoever sends it."""
    if world.ledger.bad_stored_count:
        yield f"{world.ledger.bad_stored_count} wrong blocks were stored"


def nobody_honest_is_banned(world: World) -> Iterator[str]:
    """Only hosts that send wrong blocks are banned."""
    for host_id in world.ledger.banned:
        if not world.host_of(host_id).is_corrupting:
            yield f"{host_id} is honest, and banned"


def messages_are_bounded(world: World) -> Iterator[str]:
    """A host says no more than its blocks, its links and the time explain."""
    blocks, now_s = world.scenario.block_count, world.timeline.now_s
    limit = MESSAGES_BASE + blocks * (LINKS_MAX + 1) + MESSAGES_PER_S * now_s
    for host in world.hosts:
        if host.sent_count > limit:
            yield f"{host.host_id} sent {host.sent_count} messages, more than {limit:.0f}"


def source_is_asked_within_the_budget(world: World) -> Iterator[str]:
    """Hosts go to the source themselves only as the SuperNode's budget allows.

    A SuperNode that comes back knows nothing of those that went before, and a host that is
    cut off decides for itself.
    """
    faults = world.scenario.faults
    if faults.restart_s or faults.partition_s:
        return
    limit = world.scenario.supernode.fallbacks_max
    if world.ledger.fallback_max > limit:
        yield f"{world.ledger.fallback_max} hosts were at the source at a time, {limit} may be"


CHECKERS: tuple[Callable[[World], Iterator[str]], ...] = (
    everybody_finishes_or_says_why,
    finished_hosts_hold_everything,
    source_is_read_once,
    no_bad_byte_is_let_in,
    nobody_honest_is_banned,
    messages_are_bounded,
    source_is_asked_within_the_budget,
)


def violations(world: World) -> list[str]:
    """Return every promise that was broken, in words."""
    return [text for checker in CHECKERS for text in checker(world)]
