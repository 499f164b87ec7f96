"""Guards how much a rack takes from outside, and how long rack-mates are waited for."""

import pytest

from damselfly.core.downloading.importing import IMPORTS_MIN, PATIENCE_S, Rack, is_patient


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
