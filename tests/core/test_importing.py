"""Guards how much a rack takes from outside, and how long rack-mates are waited for."""

import pytest

from damselfly.core.downloading.importing import (
    IMPORTS_MIN,
    PATIENCE_S,
    Rack,
    Turns,
    is_patient,
)
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


def test_a_block_that_nobody_claimed_until_the_next_tick_is_anybodys() -> None:
    turns = Turns(ANN)
    assert turns.ours(0b1111, [BOB]) == 0b0101

    turns.tick(0b1010)
    assert turns.ours(0b0111, [BOB]) == 0b0111

    turns.tick(0b0000)
    assert turns.ours(0b0111, [BOB]) == 0b0101
