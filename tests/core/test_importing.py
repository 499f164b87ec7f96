"""Guards how much a rack takes from outside, and how long rack-mates are waited for."""

import pytest

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.importing import (
    IMPORTERS_USUAL,
    IMPORTS_MIN,
    OVERDUE_TICKS_MAX,
    PATIENCE_S,
    Rack,
    Turns,
    is_patient,
)
from damselfly.core.downloading.parents import Parents
from damselfly.core.peer import HostId


@pytest.mark.parametrize(("near", "far", "is_it"), [(0, 3, False), (3, 0, False), (1, 1, True)])
def test_rack_is_divided_when_hosts_are_on_both_sides(*, near: int, far: int, is_it: bool) -> None:
    assert Rack(near_count=near, far_count=far).is_divided is is_it


@pytest.mark.parametrize(("near", "imports"), [(0, 8), (1, 4), (7, IMPORTS_MIN), (39, IMPORTS_MIN)])
def test_all_importers_together_have_twice_the_slots_of_one_host(near: int, imports: int) -> None:
    assert Rack(near_count=near).imports_max(slots=4) == imports


@pytest.mark.parametrize(
    ("quiet_s", "fetch_s", "is_it"),
    [
        (PATIENCE_S - 0.1, 0.01, True),
        (PATIENCE_S, 0.01, False),
        (PATIENCE_S, 1.0, True),
        (8.0, 1.0, False),
    ],
)
def test_patience_ends_after_a_while_or_after_some_fetches(
    *, quiet_s: float, fetch_s: float, is_it: bool
) -> None:
    assert is_patient(quiet_s=quiet_s, fetch_s=fetch_s) is is_it


ANN, BOB, EVE = HostId("ann"), HostId("bob"), HostId("eve")


@pytest.mark.parametrize("wanted", [0, 0b1, 0b1011, (1 << 1000) - 1])
def test_each_block_is_the_turn_of_one_importer(wanted: int) -> None:
    shares = [
        Turns(me).ours(wanted, [other for other in (ANN, BOB, EVE) if other != me])
        for me in (ANN, BOB, EVE)
    ]

    assert sum(shares) == shares[0] | shares[1] | shares[2] == wanted


def test_who_imports_alone_has_every_turn() -> None:
    assert Turns(BOB).ours(0b1011, []) == 0b1011


def test_of_two_importers_the_other_may_import_what_nobody_claimed_until_the_next_tick() -> None:
    turns = Turns(ANN)
    assert turns.ours(0b1111, [BOB]) == 0b0101

    turns.tick(0b1010)
    assert turns.ours(0b0111, [BOB]) == 0b0111

    turns.tick(0b0000)
    assert turns.ours(0b0111, [BOB]) == 0b0101


@pytest.mark.parametrize("count", [2, 3, IMPORTERS_USUAL, IMPORTERS_USUAL + 3])
def test_with_each_tick_one_importer_more_may_import_a_block(count: int) -> None:
    hosts = [HostId(f"host-{number:02}") for number in range(count)]
    turns = [Turns(host_id) for host_id in hosts]
    able = []
    for _ in range(IMPORTERS_USUAL):
        able.append([i for i, each in enumerate(turns) if each.ours(1 << count, hosts)])
        for each in turns:
            each.tick(1 << count)

    whole = list(range(count))
    in_turn = [whole[: ticks + 1] for ticks in range(min(count - 1, OVERDUE_TICKS_MAX))]
    assert able == (in_turn + [whole] * IMPORTERS_USUAL)[:IMPORTERS_USUAL]


def test_a_claim_ends_the_wait_for_a_block() -> None:
    turns = Turns(EVE)
    others = [ANN, BOB]
    for _ in range(5):
        turns.tick(0b1)
    assert turns.ours(0b1, others) == 0b1

    turns.tick(0b0)  # it was claimed ...
    turns.tick(0b1)  # ... and given up
    assert turns.ours(0b1, others) == 0b0


def test_importers_of_other_racks_have_no_turn_in_ours() -> None:
    parents = Parents()
    parents.link(ANN, BlockSet(), load=0, can_give=True)
    parents.link(BOB, BlockSet(), load=0, can_give=True, is_far=True)

    for host_id in (ANN, BOB):  # news go to all links, and claims with them
        parents.hold(host_id, BlockSet(), load=0, claimed_bits=0b1)

    assert parents.importers() == [ANN]
