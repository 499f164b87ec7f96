"""Guards the pauses between attempts: they grow, are bounded, and nobody shares them."""

import random
from statistics import mean

import pytest

from damselfly.core.downloading.backoff import PAUSE_S_MAX, Backoff, pause_told


def test_same_seed_gives_the_same_pauses() -> None:
    one, other = (Backoff(0.5, 30.0, random.Random(7)) for _ in range(2))

    pauses = [one.delay_s(attempt) for attempt in range(1, 20)]

    assert pauses == [other.delay_s(attempt) for attempt in range(1, 20)]


@pytest.mark.parametrize(
    ("attempt", "bound_s"), [(1, 0.5), (2, 1.0), (5, 8.0), (7, 30.0), (5000, 30.0)]
)
def test_pause_is_anywhere_below_a_bound_that_doubles(attempt: int, bound_s: float) -> None:
    backoff = Backoff(0.5, 30.0, random.Random(1))

    pauses = [backoff.delay_s(attempt) for _ in range(2000)]

    assert 0 <= min(pauses) < 0.02 * bound_s
    assert 0.98 * bound_s < max(pauses) <= bound_s
    assert mean(pauses) == pytest.approx(bound_s / 2, rel=0.05)


def test_who_is_told_to_come_later_comes_later_and_never_before() -> None:
    rng = random.Random(1)

    pauses = [pause_told(4.0, rng) for _ in range(1000)]

    assert min(pauses) >= 4.0
    assert 5.9 < max(pauses) <= 6.0
    assert pause_told(-1.0, rng) == 0.0
    assert pause_told(1e9, rng) <= 1.5 * PAUSE_S_MAX
