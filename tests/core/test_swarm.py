"""Guards the swarm's links: symmetric, whatever happens in whatever order."""

import random

from hypothesis import given
from hypothesis import strategies as st

from damselfly.core.peer import Host, HostId
from damselfly.core.swarm import Peer, Swarm
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.core.topology import Location

NAMES = [HostId(name) for name in "abcde"]


def a_swarm() -> Swarm:
    return Swarm(
        Edition(
            edition_id=EditionId("e" * 32), task_id=TaskId("f" * 64), block_bytes=1, size_bytes=4
        ),
        links_max=2,
    )


def a_peer(name: HostId, *, held_count: int = 0, address: str = "h:1") -> Peer:
    return Peer(host=Host(host_id=name, address=address), held_count=held_count)


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "link", "unlink", "isolate", "finish", "adopt"]),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
    ),
    max_size=40,
)


@given(steps)
def test_links_stay_symmetric_whatever_happens(happened: list[tuple[str, HostId, HostId]]) -> None:
    swarm = a_swarm()

    for step, one, other in happened:
        match step:
            case "add":
                swarm.add(a_peer(one))
            case "link" if one != other and {one, other} <= swarm.peers.keys():
                swarm.link(one, other)
            case "unlink":
                swarm.unlink(one, other)
            case "remove":
                swarm.remove(one)
                assert one not in swarm.peers
            case "isolate":
                swarm.isolate(one)
                assert one not in swarm.peers or not swarm.peers[one].neighbours
            case "finish" if one in swarm.peers:
                swarm.finish(swarm.peers[one])
            case "adopt" if one in swarm.peers:
                swarm.adopt(swarm.peers[one], is_child=one < other)
            case _:  # a link that cannot be
                pass
        swarm.check()


def test_peer_that_comes_again_keeps_its_links_and_tells_anew_what_it_holds() -> None:
    swarm = a_swarm()
    first = swarm.add(a_peer(HostId("a")))
    swarm.add(a_peer(HostId("b")))
    swarm.link(HostId("a"), HostId("b"))

    again = swarm.add(a_peer(HostId("a"), held_count=3, address="h:2"))

    assert again is first
    assert (again.held_count, again.host.address) == (3, "h:2")
    assert again.neighbours == {HostId("b")}


def test_isolated_peer_has_no_links_and_its_neighbours_have_room_again() -> None:
    swarm = a_swarm()
    for name in NAMES[:3]:
        swarm.add(a_peer(name))
    swarm.link(NAMES[0], NAMES[1])
    swarm.link(NAMES[0], NAMES[2])

    swarm.isolate(NAMES[0])

    swarm.check()
    assert not any(peer.neighbours for peer in swarm.peers.values())


def test_place_where_nobody_is_has_those_of_the_circle_around_it() -> None:
    swarm = a_swarm()
    swarm.add(a_peer(NAMES[0]))

    near = swarm.near(Location.parse("eu/zone/rack"), random.Random(1))

    assert [peer.host.host_id for peer in near] == [NAMES[0]]


def test_whoever_becomes_full_twice_is_out_once() -> None:
    swarm = a_swarm()
    for name in NAMES[:4]:
        swarm.add(a_peer(name))
    for name in NAMES[1:4]:
        swarm.link(NAMES[0], name)

    swarm.remove(NAMES[0])

    swarm.check()


def test_unknown_peer_can_be_removed_and_isolated() -> None:
    swarm = a_swarm()

    swarm.remove(NAMES[0])
    swarm.isolate(NAMES[0])

    assert not swarm.peers
