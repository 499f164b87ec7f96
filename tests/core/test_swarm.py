"""Guards the swarm's links: symmetric, whatever happens in whatever order."""

import random

from hypothesis import given, strategies as st

from damselfly.core.peer import Host, HostId
from damselfly.core.swarm import FAR_LINKS_MAX, IMPORTERS, Peer, Swarm
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.core.topology import Location

NOWHERE = Location()
NAMES = [HostId(name) for name in "abcde"]


def a_swarm() -> Swarm:
    return Swarm(
        Edition(
            edition_id=EditionId("e" * 32), task_id=TaskId("f" * 64), block_bytes=1, size_bytes=4
        ),
        links_max=2,
    )


def a_peer(
    name: HostId, *, held_count: int = 0, address: str = "h:1", location: Location = NOWHERE
) -> Peer:
    host = Host(host_id=name, address=address, location=location)
    return Peer(host=host, held_count=held_count)


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


def test_first_of_a_rack_import_and_those_that_cannot_be_reached_do_not() -> None:
    swarm = a_swarm()
    rack = Location.parse("dc/r1")
    closed = swarm.add(a_peer(HostId("closed"), location=rack))
    peers = [swarm.add(a_peer(HostId(f"p{i}"), location=rack)) for i in range(IMPORTERS + 2)]
    late = swarm.add(a_peer(HostId("late"), address="", location=rack))

    assert closed.is_importer
    assert [peer.is_importer for peer in peers] == [True] * (IMPORTERS - 1) + [False] * 3
    assert not late.is_importer


def test_importer_that_goes_has_a_successor_that_misses_something() -> None:
    swarm = Swarm(a_swarm().edition, links_max=8)
    rack = Location.parse("dc/r1")
    for i in range(IMPORTERS + 3):
        swarm.add(a_peer(HostId(f"p{i}"), location=rack))
    swarm.finish(swarm.peers[HostId(f"p{IMPORTERS}")])
    assert swarm.name_importer(rack, random.Random(1)) is None  # there are enough
    swarm.remove(HostId("p0"))

    named = swarm.name_importer(rack, random.Random(1))

    assert named is not None
    assert named.host.host_id in {f"p{IMPORTERS + 1}", f"p{IMPORTERS + 2}"}
    assert swarm.name_importer(Location.parse("nowhere"), random.Random(1)) is None
    swarm.check()


def test_far_links_are_for_importers_with_room() -> None:
    swarm = Swarm(a_swarm().edition, links_max=8)
    here = swarm.add(a_peer(HostId("here"), location=Location.parse("dc/r0")))
    far = [
        swarm.add(a_peer(HostId(f"p{i}"), location=Location.parse(f"dc/r{i + 1}")))
        for i in range(FAR_LINKS_MAX + 1)
    ]
    assert len(swarm.far(here, random.Random(1))) == len(far)
    for peer in far[:-1]:
        swarm.link(here.host.host_id, peer.host.host_id)

    assert swarm.far(here, random.Random(1)) == []
    assert here.far_count == FAR_LINKS_MAX
    assert here not in swarm.far(far[-1], random.Random(1))
    swarm.check()


def test_peer_that_moves_begins_anew_in_its_new_rack() -> None:
    swarm = a_swarm()
    swarm.add(a_peer(HostId("a"), location=Location.parse("dc/r1")))
    swarm.add(a_peer(HostId("b"), location=Location.parse("dc/r1")))
    swarm.link(HostId("a"), HostId("b"))

    moved = swarm.add(a_peer(HostId("a"), location=Location.parse("dc/r2")))

    assert moved.neighbours == set()
    assert moved.is_importer
    swarm.check()


def test_link_that_is_there_is_recorded_once() -> None:
    swarm = a_swarm()
    for name in NAMES[:2]:
        swarm.add(a_peer(name))

    swarm.link(NAMES[0], NAMES[1])
    swarm.link(NAMES[0], NAMES[1])

    assert swarm.peers[NAMES[0]].near_count == 1
    swarm.check()


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
