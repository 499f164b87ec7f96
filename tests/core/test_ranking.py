"""Guards who is offered to a hungry peer."""

import random

from damselfly.core.peer import Host, HostId
from damselfly.core.scheduling.ranking import matches_for_hungry
from damselfly.core.swarm import Peer
from damselfly.core.topology import Location


def a_peer(name: str, *, location: str = "", is_idle: bool = True, held_count: int = 0) -> Peer:
    host = Host(host_id=HostId(name), address=f"{name}:1", location=Location.parse(location))
    return Peer(host=host, held_count=held_count, is_idle=is_idle)


def test_hungry_peer_gets_the_nearest_idle_one_and_of_equals_the_one_that_holds_most() -> None:
    child = a_peer("child", location="eu/a/1")
    candidates = [
        a_peer("busy", location="eu/a/1", is_idle=False),
        a_peer("near and poor", location="eu/a/2", held_count=1),
        a_peer("near and rich", location="eu/a/3", held_count=5),
        a_peer("far and rich", location="us/a/1", held_count=9),
    ]

    match = matches_for_hungry(child, candidates, rng=random.Random(1))

    assert match is candidates[2]


def test_hungry_peer_among_busy_ones_gets_nobody() -> None:
    candidates = [a_peer("busy", is_idle=False)]

    assert matches_for_hungry(a_peer("child"), candidates, rng=random.Random(1)) is None
