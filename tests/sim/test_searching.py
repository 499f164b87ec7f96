"""Guards the search over seeds: what it draws can be replayed, and what breaks is told."""

import pytest

from damselfly.sim.searching import draw_scenario, search, try_seed
from damselfly.sim.world import World

SEEDS = 50  # about 10 s; `damselfly simulate --search 1000` does more


def test_seed_is_the_whole_scenario() -> None:
    assert draw_scenario(5) == draw_scenario(5)
    assert draw_scenario(5) != draw_scenario(6)


def test_draws_are_of_many_kinds() -> None:
    scenarios = [draw_scenario(seed) for seed in range(200)]

    assert any(each.rack_hosts for each in scenarios)
    assert any(not each.supernode.is_warm for each in scenarios)
    for name in scenarios[0].faults.__slots__:
        assert len({getattr(each.faults, name) for each in scenarios}) > 1, name


@pytest.mark.slow
def test_promises_are_kept_for_the_first_seeds() -> None:
    findings = [finding for _, finding in search(1, SEEDS) if finding is not None]

    assert findings == []


def test_machine_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(world: World) -> None:
        raise AssertionError(f"{world.present_count} came")

    monkeypatch.setattr(World, "run", broken)

    finding = try_seed(3)

    assert finding is not None
    assert finding.texts == ["AssertionError: 0 came"]
