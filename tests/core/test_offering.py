"""Guards which links a peer gets: short ways through large swarms, few ways into a rack."""

import random

from damselfly.core.peer import Host, HostId
from damselfly.core.scheduling.events import (
    EditionOpened,
    Event,
    HostConnected,
    HostLost,
    PeerJoined,
    PeerProgressed,
)
from damselfly.core.scheduling.instructions import Instruction, OfferParents
from damselfly.core.scheduling.ranking import rank_far
from damselfly.core.scheduling.scheduler import Scheduler
from damselfly.core.swarm import Peer
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.core.topology import Location

TASK = TaskId("a" * 64)
LLAMA = Edition(
    edition_id=EditionId("e" * 32), task_id=TASK, block_bytes=1 << 20, size_bytes=10 << 20
)


def a_host(name: str, *, location: str = "") -> Host:
    return Host(host_id=HostId(name), address=f"{name}:65000", location=Location.parse(location))


def a_scheduler(*names: str, neighbours: int) -> Scheduler:
    scheduler = Scheduler(neighbours=neighbours, rng=random.Random(1))
    for name in names:
        tell(scheduler, HostConnected(host=a_host(name)))
    return scheduler


def tell(scheduler: Scheduler, event: Event) -> list[Instruction]:
    instructions = scheduler.handle(event, now_s=0.0)
    scheduler.check()
    return instructions


def join(name: str) -> PeerJoined:
    return PeerJoined(host_id=HostId(name), task_id=TASK)


def parents_in(instructions: list[Instruction]) -> set[str]:
    return {
        host.host_id
        for each in instructions
        if isinstance(each, OfferParents)
        for host in each.parents
    }


def test_those_who_came_first_have_room_for_those_who_come_late() -> None:
    names = [f"host-{i}" for i in range(200)]
    scheduler = a_scheduler(*names, neighbours=8)
    tell(scheduler, join(names[0]))
    tell(scheduler, EditionOpened(edition=LLAMA))

    parents = [parents_in(tell(scheduler, join(name))) for name in names[1:]]

    offered_late = set().union(*parents[100:])
    assert len(offered_late & set(names[:100])) > 50


def test_hungry_late_comer_gets_as_many_links_as_others_have() -> None:
    names = [f"host-{i}" for i in range(50)]
    scheduler = a_scheduler(*names, neighbours=8)
    tell(scheduler, EditionOpened(edition=LLAMA))
    for name in names:
        tell(scheduler, join(name))
    last = scheduler.swarms[LLAMA.edition_id].peers[HostId(names[-1])]
    assert len(last.neighbours) == 6

    hungry = PeerProgressed(
        host_id=HostId(names[-1]), edition_id=LLAMA.edition_id, held_count=0, is_hungry=True
    )
    offered = parents_in(tell(scheduler, hungry))

    assert len(offered) == 6
    assert len(last.neighbours) == 12


def test_importers_get_parents_elsewhere_and_the_others_of_a_rack_do_not() -> None:
    scheduler = a_scheduler(neighbours=8)
    names = [f"{rack}-{i}" for i in range(12) for rack in ("r1", "r2", "r3")]
    for name in names:
        place = f"eu/{name[:2]}"
        tell(scheduler, HostConnected(host=a_host(name, location=place)))
    tell(scheduler, join(names[0]))
    tell(scheduler, EditionOpened(edition=LLAMA))
    offers = {name: parents_in(tell(scheduler, join(name))) for name in names[1:]}

    def far(name: str) -> int:
        return sum(not parent.startswith(name[:2]) for parent in offers[name])

    assert [far(name) for name in names[-9:]] == [0] * 9
    assert all(far(name) == 3 for name in names[9:24])
    assert all(len(offers[name]) >= 6 for name in names[-9:])


def test_host_of_a_rack_that_has_all_its_importers_is_a_child_only_when_it_is_alone() -> None:
    scheduler = a_scheduler(neighbours=8)
    names = [f"host-{i}" for i in range(12)]
    for name in names:
        tell(scheduler, HostConnected(host=a_host(name, location="eu/r1")))
    tell(scheduler, join(names[0]))
    first = tell(scheduler, EditionOpened(edition=LLAMA))
    told = first + [each for name in names[1:] for each in tell(scheduler, join(name))]

    children = [each for each in told if isinstance(each, OfferParents) and each.has_supernode]

    assert [str(each.host_id) for each in children] == names[:4]


def test_successor_of_a_dead_importer_gets_parents_elsewhere() -> None:
    scheduler = a_scheduler(neighbours=8)
    names = [f"r1-{i}" for i in range(9)] + [f"r2-{i}" for i in range(4)]
    for name in names:
        tell(scheduler, HostConnected(host=a_host(name, location=f"eu/{name[:2]}")))
    tell(scheduler, join(names[0]))
    tell(scheduler, EditionOpened(edition=LLAMA))
    for name in names[1:]:
        tell(scheduler, join(name))

    instructions = tell(scheduler, HostLost(host_id=HostId("r1-3")))

    (offer,) = [each for each in instructions if isinstance(each, OfferParents)]
    assert offer.host_id == "r1-8"
    assert any(parent.startswith("r2") for parent in parents_in([offer]))


def test_host_behind_nat_is_told_of_those_that_shall_give_to_it() -> None:
    scheduler = a_scheduler(neighbours=8)
    closed = Host(host_id=HostId("closed"), address="")
    tell(scheduler, HostConnected(host=closed))
    tell(scheduler, HostConnected(host=a_host("ann")))
    tell(scheduler, join("closed"))
    tell(scheduler, EditionOpened(edition=LLAMA))

    instructions = tell(scheduler, join("ann"))

    offers = {
        str(each.host_id): each.parents for each in instructions if isinstance(each, OfferParents)
    }
    assert offers == {"ann": (), "closed": (a_host("ann"),)}


def test_nobody_elsewhere_is_named_when_none_is_wanted() -> None:
    peers = [Peer(host=a_host(name, location=f"eu/{name}")) for name in ("ann", "bob")]

    assert rank_far(peers[0], peers[1:], count=0, rng=random.Random(1)) == []


def test_host_that_nobody_can_reach_is_a_child_only_while_it_has_no_other_parent() -> None:
    scheduler = a_scheduler("ann", neighbours=8)
    for name in ("nat", "nat-2"):
        tell(scheduler, HostConnected(host=Host(host_id=HostId(name), address="")))
    tell(scheduler, join("nat"))
    alone = tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, join("ann"))
    beside = tell(scheduler, join("nat-2"))

    assert [each.has_supernode for each in alone if isinstance(each, OfferParents)] == [True]
    offers = [each for each in beside if isinstance(each, OfferParents)]
    assert [(each.host_id, each.has_supernode) for each in offers] == [("nat-2", False)]
    assert parents_in(beside) == {"ann"}
