"""Guards the SuperNode's mind: one reading per task, parents for everybody, small budgets."""

import random
from dataclasses import replace

from hypothesis import given, strategies as st

from damselfly.core.access import Credential
from damselfly.core.peer import SUPERNODE, Host, HostId
from damselfly.core.scheduling.events import (
    EditionOpened,
    Event,
    HostConnected,
    HostHolds,
    HostLost,
    PeerComplained,
    PeerJoined,
    PeerLeft,
    PeerProgressed,
    SeedEnded,
    SeedFailed,
    SeedStopped,
    SeedUnwanted,
    SeedWanted,
    SourceAsked,
    Ticked,
)
from damselfly.core.scheduling.holdings import HOLDINGS_MAX
from damselfly.core.scheduling.instructions import (
    AnswerSource,
    BanHost,
    EnsureSeeded,
    Instruction,
    OfferParents,
    TellEdition,
    TellFailed,
)
from damselfly.core.scheduling.scheduler import REFUSALS_MAX, Scheduler
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.core.topology import Location

TASK = TaskId("a" * 64)
LLAMA = Edition(
    edition_id=EditionId("e" * 32), task_id=TASK, block_bytes=1 << 20, size_bytes=10 << 20
)
OTHER = Edition(
    edition_id=EditionId("f" * 32), task_id=TASK, block_bytes=1 << 20, size_bytes=10 << 20
)

OLDEST = Edition(
    edition_id=EditionId("0" * 32), task_id=TaskId("b" * 64), block_bytes=1 << 20, size_bytes=1
)


def a_host(name: str, *, location: str = "", address: str | None = None) -> Host:
    return Host(
        host_id=HostId(name),
        address=f"{name}:65000" if address is None else address,
        location=Location.parse(location),
    )


def a_scheduler(*names: str, children_max: int = 64, neighbours: int = 8) -> Scheduler:
    scheduler = Scheduler(
        neighbours=neighbours, children_max=children_max, rng=random.Random(1), fallbacks_max=2
    )
    for name in names:
        tell(scheduler, HostConnected(host=a_host(name)))
    return scheduler


def tell(scheduler: Scheduler, event: Event, *, now_s: float = 0.0) -> list[Instruction]:
    instructions = scheduler.handle(event, now_s=now_s)
    scheduler.check()
    return instructions


def join(name: str, held_count: int = 0) -> PeerJoined:
    return PeerJoined(
        host_id=HostId(name), task_id=TASK, edition_id=LLAMA.edition_id, held_count=held_count
    )


def progress(name: str, **flags: bool) -> PeerProgressed:
    return PeerProgressed(host_id=HostId(name), edition_id=LLAMA.edition_id, held_count=1, **flags)


def complain(name: str, accused: str, block_index: int = 0, reason: str = "corrupt") -> Event:
    return PeerComplained(
        host_id=HostId(name),
        edition_id=LLAMA.edition_id,
        accused=HostId(accused),
        block_index=block_index,
        reason=reason,
    )


def parents_in(instructions: list[Instruction]) -> set[str]:
    return {
        host.host_id
        for each in instructions
        if isinstance(each, OfferParents)
        for host in each.parents
    }


def test_cold_task_is_seeded_once_however_many_ask() -> None:
    scheduler = a_scheduler("ann", "bob", "cid")

    first = tell(scheduler, join("ann"))
    later = tell(scheduler, join("bob")) + tell(scheduler, join("cid"))

    assert first == [EnsureSeeded(task_id=TASK, host_id=HostId("ann"))]
    assert later == []


def test_all_who_wait_hear_of_the_edition_and_of_each_other() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, join("bob"))

    instructions = tell(scheduler, EditionOpened(edition=LLAMA))

    assert instructions == [
        TellEdition(host_id=HostId("ann"), edition=LLAMA),
        OfferParents(
            host_id=HostId("ann"), edition_id=LLAMA.edition_id, parents=(), has_supernode=True
        ),
        TellEdition(host_id=HostId("bob"), edition=LLAMA),
        OfferParents(
            host_id=HostId("bob"),
            edition_id=LLAMA.edition_id,
            parents=(a_host("ann"),),
            has_supernode=True,
        ),
    ]


def test_late_host_joins_a_running_seeding_without_another_reading() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))

    instructions = tell(scheduler, join("bob"))

    assert instructions[0] == TellEdition(host_id=HostId("bob"), edition=LLAMA)
    assert parents_in(instructions) == {"ann"}


def test_after_seeding_a_join_asks_the_cache_again() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, SeedEnded(task_id=TASK))

    instructions = tell(scheduler, join("bob"))

    assert instructions == [EnsureSeeded(task_id=TASK, host_id=HostId("bob"))]


def test_hosts_of_the_old_edition_are_no_parents_of_the_new_one() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, SeedEnded(task_id=TASK))
    tell(scheduler, join("bob"))

    instructions = tell(scheduler, EditionOpened(edition=OTHER))

    assert instructions[0] == TellEdition(host_id=HostId("bob"), edition=OTHER)
    assert parents_in(instructions) == set()
    assert set(scheduler.swarms) == {LLAMA.edition_id, OTHER.edition_id}


def test_failed_seeding_is_told_to_all_who_wait_or_take_part() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, join("bob"))

    instructions = tell(
        scheduler, SeedFailed(task_id=TASK, error="SourceRefusedError", message="404", status=404)
    )

    assert {each.host_id for each in instructions if isinstance(each, TellFailed)} == {
        "ann",
        "bob",
    }
    assert scheduler.swarms == {}


def test_holders_from_a_hello_are_offered_though_they_want_nothing() -> None:
    scheduler = a_scheduler("bob")
    tell(scheduler, HostConnected(host=a_host("ann"), holdings=(LLAMA.edition_id,)))
    tell(scheduler, join("bob"))

    instructions = tell(scheduler, EditionOpened(edition=LLAMA))

    assert parents_in(instructions) == {"ann"}


def test_a_host_that_imported_an_edition_gives_it_though_it_wants_nothing() -> None:
    scheduler = a_scheduler("a", "b")
    tell(scheduler, HostHolds(host_id=HostId("gone"), edition_id=LLAMA.edition_id))
    tell(scheduler, HostHolds(host_id=HostId("a"), edition_id=LLAMA.edition_id))
    tell(scheduler, join("b"))

    assert "a" in parents_in(tell(scheduler, EditionOpened(edition=LLAMA)))
    assert scheduler.holdings.hosts_with(LLAMA.edition_id) == ["a"]


def test_a_host_that_imports_what_is_being_shared_becomes_a_parent() -> None:
    scheduler = a_scheduler("a", "b", "c")
    tell(scheduler, join("b"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    for _ in range(2):
        tell(scheduler, HostHolds(host_id=HostId("a"), edition_id=LLAMA.edition_id))

    assert "a" in parents_in(tell(scheduler, join("c")))


def test_host_that_cannot_be_reached_is_linked_only_by_its_own_hand() -> None:
    scheduler = a_scheduler("ann")
    for name in ("out", "off"):
        tell(scheduler, HostConnected(host=a_host(name, address="")))
    for name in ("ann", "out", "off"):
        tell(scheduler, join(name))

    instructions = tell(scheduler, EditionOpened(edition=LLAMA))

    offers = {str(e.host_id): parents_in([e]) for e in instructions if isinstance(e, OfferParents)}
    assert offers["out"] == {"ann"}
    assert offers["off"] == {"ann"}


def test_supernode_has_a_limited_number_of_children() -> None:
    scheduler = a_scheduler("ann", "bob", children_max=1)
    tell(scheduler, join("ann"))
    tell(scheduler, join("bob"))

    instructions = tell(scheduler, EditionOpened(edition=LLAMA))

    offers = [each for each in instructions if isinstance(each, OfferParents)]
    assert [offer.has_supernode for offer in offers] == [True, False]


def test_hungry_peer_is_matched_with_an_idle_one() -> None:
    scheduler = a_scheduler("ann", "bob", neighbours=1)
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, join("bob"))
    tell(scheduler, HostConnected(host=a_host("cid")))
    tell(scheduler, join("cid"))
    known = scheduler.swarms[LLAMA.edition_id].peers[HostId("cid")].neighbours
    stranger = ({"ann", "bob"} - known).pop()
    tell(scheduler, progress(stranger, is_idle=True))

    instructions = tell(scheduler, progress("cid", is_hungry=True))

    assert parents_in(instructions) == {stranger}


def test_third_corrupt_block_bans_a_host_for_everybody() -> None:
    scheduler = a_scheduler("ann", "bob", "mallory")
    tell(scheduler, join("mallory"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, join("ann"))
    tell(scheduler, join("bob"))

    told = [
        tell(scheduler, complain("ann", "mallory", 1)),
        tell(scheduler, complain("ann", "mallory", 1)),
        tell(scheduler, complain("bob", "mallory", 1)),
        tell(scheduler, complain("bob", "mallory", 2)),
    ]

    bans = [[each for each in step if isinstance(each, BanHost)] for step in told]
    everybody = (HostId("ann"), HostId("bob"), HostId("mallory"))
    assert bans == [[], [], [], [BanHost(host_id=HostId("mallory"), told=everybody)]]
    tell(scheduler, HostConnected(host=a_host("cid")))
    assert "mallory" not in parents_in(tell(scheduler, join("cid")))


def test_stalled_parent_is_replaced_and_not_offered_again() -> None:
    scheduler = a_scheduler("ann", "bob", "cid", neighbours=1)
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, join("bob"))
    tell(scheduler, join("cid"))
    peer = scheduler.swarms[LLAMA.edition_id].peers[HostId("cid")]
    bad = next(iter(peer.neighbours))

    instructions = tell(scheduler, complain("cid", bad, reason="stalled"))

    assert parents_in(instructions) == {"ann", "bob"} - {bad}


def test_complaint_about_the_supernode_bans_nobody() -> None:
    scheduler = a_scheduler("ann")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))

    instructions = tell(scheduler, complain("ann", SUPERNODE))

    assert instructions == []


def test_only_a_budget_of_hosts_goes_to_the_source() -> None:
    scheduler = a_scheduler("ann", "bob", "cid")

    answers = [
        tell(scheduler, SourceAsked(host_id=HostId(name), task_id=TASK))
        for name in ("ann", "bob", "cid", "ann")
    ]

    granted = [e.is_granted for step in answers for e in step if isinstance(e, AnswerSource)]
    assert granted == [True, True, False, True]
    tell(scheduler, PeerLeft(host_id=HostId("ann"), task_id=TASK))
    (answer,) = tell(scheduler, SourceAsked(host_id=HostId("cid"), task_id=TASK))
    assert isinstance(answer, AnswerSource)
    assert answer.is_granted


names = st.sampled_from([HostId(name) for name in ("ann", "bob", "cid", "dan", "eve")])
editions = st.sampled_from([LLAMA, OTHER])
events = st.one_of(
    st.builds(
        lambda name, held: HostConnected(host=a_host(name), holdings=held),
        names,
        st.sampled_from([(), (LLAMA.edition_id,)]),
    ),
    st.builds(HostLost, host_id=names),
    st.builds(
        PeerJoined,
        host_id=names,
        task_id=st.just(TASK),
        edition_id=st.sampled_from([None, LLAMA.edition_id, OTHER.edition_id]),
        held_count=st.integers(0, 10),
    ),
    st.builds(EditionOpened, edition=editions, is_stale=st.booleans()),
    st.builds(SeedEnded, task_id=st.just(TASK)),
    st.builds(SeedStopped, task_id=st.just(TASK)),
    st.builds(SeedWanted, task_id=st.just(TASK)),
    st.builds(SeedUnwanted, task_id=st.just(TASK)),
    st.builds(Ticked),
    st.builds(SeedFailed, task_id=st.just(TASK), error=st.just("E"), message=st.just("m")),
    st.builds(
        PeerProgressed,
        host_id=names,
        edition_id=editions.map(lambda edition: edition.edition_id),
        held_count=st.integers(0, 10),
        is_hungry=st.booleans(),
        is_idle=st.booleans(),
        is_whole=st.booleans(),
    ),
    st.builds(
        PeerComplained,
        host_id=names,
        edition_id=editions.map(lambda edition: edition.edition_id),
        accused=names,
        block_index=st.integers(0, 9),
        reason=st.sampled_from(["corrupt", "stalled"]),
    ),
    st.builds(PeerLeft, host_id=names, task_id=st.just(TASK)),
    st.builds(SourceAsked, host_id=names, task_id=st.just(TASK)),
)


@given(st.lists(events, max_size=60))
def test_invariants_hold_whatever_the_order_of_events(story: list[Event]) -> None:
    scheduler = a_scheduler(neighbours=2)

    for now_s, event in enumerate(story):
        instructions = tell(scheduler, event, now_s=float(now_s))

        told = [e for e in instructions if isinstance(e, OfferParents)]
        assert all(offer.host_id not in parents_in([offer]) for offer in told)


def test_who_has_become_whole_is_offered_to_those_who_come_later() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, SeedEnded(task_id=TASK))
    tell(scheduler, progress("ann", is_whole=True))
    swarms_between = dict(scheduler.swarms)

    tell(scheduler, join("bob"))
    offered = parents_in(tell(scheduler, EditionOpened(edition=LLAMA)))

    assert swarms_between == {}
    assert offered == {"ann"}


def test_who_no_longer_has_what_it_had_is_not_offered_again() -> None:
    scheduler = a_scheduler("bob", "cid")
    tell(scheduler, HostConnected(host=a_host("ann"), holdings=(LLAMA.edition_id,)))
    tell(scheduler, join("bob"))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, complain("bob", "ann", reason="missing"))

    offered = parents_in(tell(scheduler, join("cid")))

    assert offered == {"bob"}


def test_host_that_begins_anew_is_no_longer_believed_to_be_whole() -> None:
    scheduler = a_scheduler("bob")
    tell(scheduler, HostConnected(host=a_host("ann"), holdings=(LLAMA.edition_id,)))
    tell(scheduler, join("ann", held_count=1))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, PeerLeft(host_id=HostId("ann"), task_id=TASK))

    offered = parents_in(tell(scheduler, join("bob")))

    assert offered == set()


def test_blocks_of_another_edition_do_not_count() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("bob"))
    tell(scheduler, join("ann", held_count=10))  # all blocks of LLAMA

    offered = parents_in(tell(scheduler, EditionOpened(edition=OTHER)))

    assert offered == {"bob"}


def test_host_that_joins_with_all_of_it_is_whole_at_once() -> None:
    scheduler = a_scheduler("ann", "bob")
    tell(scheduler, join("ann"))
    tell(scheduler, EditionOpened(edition=LLAMA))

    told = tell(scheduler, join("bob", held_count=10))

    assert [type(each) for each in told] == [TellEdition]
    assert scheduler.swarms[LLAMA.edition_id].peers[HostId("bob")].is_whole


def test_only_so_many_holdings_of_a_host_are_remembered() -> None:
    scheduler = a_scheduler("ann")
    old = tuple(EditionId(f"{number:032x}") for number in range(HOLDINGS_MAX))
    tell(scheduler, HostConnected(host=a_host("bob"), holdings=old))
    for name in ("ann", "bob"):
        tell(scheduler, join(name))
    tell(scheduler, EditionOpened(edition=LLAMA))
    tell(scheduler, progress("bob", is_whole=True))

    for task, edition_id in ((LLAMA, LLAMA.edition_id), (OLDEST, old[0])):
        other = replace(task, edition_id=edition_id)
        tell(scheduler, HostLost(host_id=HostId("ann")))
        tell(scheduler, HostConnected(host=a_host("ann")))
        tell(scheduler, SeedEnded(task_id=task.task_id))
        tell(scheduler, replace(join("ann"), task_id=task.task_id, edition_id=edition_id))
        offered = parents_in(tell(scheduler, EditionOpened(edition=other)))

        assert offered == ({"bob"} if task is LLAMA else set())


def test_hungry_peer_with_as_many_links_as_there_may_be_gets_no_more() -> None:
    scheduler = a_scheduler("ann", "bob", "cid", "dan", neighbours=1)
    for name in ("ann", "bob", "cid", "dan"):
        tell(scheduler, join(name))
    tell(scheduler, EditionOpened(edition=LLAMA))
    for name in ("bob", "cid", "dan"):
        tell(scheduler, progress(name, is_idle=True))
    links = scheduler.swarms[LLAMA.edition_id].peers[HostId("ann")].neighbours
    while len(links) < 2:
        assert parents_in(tell(scheduler, progress("ann", is_hungry=True)))

    assert tell(scheduler, progress("ann", is_hungry=True)) == []


def test_source_that_refuses_everybody_is_asked_by_a_limited_number_of_hosts() -> None:
    names = [f"host-{number:02}" for number in range(REFUSALS_MAX + 2)]
    scheduler = a_scheduler(*names)
    told: list[Instruction] = []
    for name in names:
        told += tell(scheduler, replace(join(name), credential=Credential(name)))

    while seeded := [each for each in told if isinstance(each, EnsureSeeded)]:
        refused = Credential(seeded[0].host_id)
        told = tell(
            scheduler,
            SeedFailed(task_id=TASK, error="SourceRefusedError", message="no", refused=refused),
        )

    assert [each.host_id for each in told if isinstance(each, TellFailed)] == names[REFUSALS_MAX:]
