"""Guards the imagined world: real minds in it finish, keep their promises, and can be replayed."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from damselfly.settings import options_from
from damselfly.sim.checkers import violations
from damselfly.sim.outcome import Outcome, outcome_of
from damselfly.sim.pictures import pictures_of
from damselfly.sim.report import swarm_in_letters, table_of
from damselfly.sim.scenario import Faults, Scenario, SeedOptions
from damselfly.sim.world import World

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
PROGRAM = Path(sys.executable).parent / "damselfly"
# For a test; they are read all the same.
TOO_LARGE = {"fleet.toml", "fleet-at-once.toml", "fleet-fast.toml"}
MIB = 1 << 20


def a_scenario(**changes: object) -> Scenario:
    usual = Scenario(hosts=12, size_bytes=32 * MIB, block_bytes=MIB)
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


def run(scenario: Scenario) -> tuple[World, Outcome]:
    world = World(scenario, is_checked=True)
    world.run()
    return world, outcome_of(world)


def test_host_alone_takes_as_long_as_its_link() -> None:
    _, outcome = run(a_scenario(hosts=1, size_bytes=128 * MIB))

    assert outcome.finished == 1
    assert 1.0 < outcome.last_ratio < 1.1
    assert outcome.supernode_copies == pytest.approx(1.01, abs=0.01)


def test_swarm_is_not_far_from_the_bound_and_never_below_it() -> None:
    world, outcome = run(a_scenario(size_bytes=128 * MIB))

    assert violations(world) == []
    assert outcome.finished == 12
    assert 1.0 < outcome.last_ratio < 1.2
    assert outcome.wasted_share < 0.01


@pytest.mark.parametrize("read_on_s", [0.0, 2.0])
def test_content_that_nobody_wants_for_a_while_is_read_once_all_the_same(read_on_s: float) -> None:
    supernode = SeedOptions(is_warm=False, source_rate_bytes_per_s=4 * MIB, read_on_s=read_on_s)
    dying = Faults(dying_share=0.5, start_s=1.0, stop_s=1.5)
    world, outcome = run(
        a_scenario(hosts=2, arrival_s=40.0, supernode=supernode, faults=dying, seed=2)
    )

    assert violations(world) == []
    assert outcome.finished == 1  # the one that comes 20 s after the first, which died
    assert outcome.source_copies == pytest.approx(1.01, abs=0.001)
    # All of it is there, or the half that was read before it stopped.
    assert (outcome.last_s < 1.0) == (read_on_s == 0.0)


def test_cold_content_is_read_once_while_it_spreads() -> None:
    supernode = SeedOptions(is_warm=False, source_rate_bytes_per_s=50e6)
    world, outcome = run(a_scenario(size_bytes=64 * MIB, supernode=supernode))

    assert violations(world) == []
    assert outcome.source_copies == pytest.approx(1.01, abs=0.001)
    assert outcome.last_ratio < 1.15  # of reading the source: nobody waits for its end


def test_late_hosts_get_everything_from_those_that_have_it() -> None:
    world, outcome = run(a_scenario(arrival_s=20.0))

    assert violations(world) == []
    assert outcome.finished == 12
    assert outcome.own_ratio < 1.5


FAULTS = {
    "dying": Faults(dying_share=0.2),
    "dying silently": Faults(dying_share=0.2, dying_is_silent=True),
    "leaving": Faults(leaving_share=1.0),
    "stalling": Faults(stalling_share=0.2),
    "corrupting": Faults(corrupting_share=0.1),
    "slow": Faults(slow_share=0.2),
    "unequal": Faults(spread_factor=10.0),
    "closed": Faults(closed_share=0.5),
    "disk full": Faults(full_share=0.2),
    "partition": Faults(partition_share=0.3, partition_s=10.0),
    "restart": Faults(restart_s=3.0),
    "breaking": Faults(breaking_share=0.05),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
def test_everybody_else_finishes_when_some_are(faults: Faults) -> None:
    scenario = a_scenario(
        size_bytes=48 * MIB,
        upload_rate_bytes_per_s=20e6,
        download_rate_bytes_per_s=20e6,
        faults=faults,
    )

    world, outcome = run(scenario)

    struck = round((faults.dying_share + faults.full_share) * scenario.hosts)
    assert violations(world) == []
    assert outcome.unfinished == 0
    assert outcome.finished == scenario.hosts - struck
    assert sum(outcome.gave_up.values()) == struck


def a_cold_scenario(*, source_down_s: float) -> Scenario:
    return a_scenario(
        supernode=SeedOptions(is_warm=False, source_rate_bytes_per_s=20e6),
        faults=Faults(source_down_s=source_down_s),
    )


def test_source_that_fails_for_a_moment_is_asked_again_for_the_rest() -> None:
    world, outcome = run(a_cold_scenario(source_down_s=1.0))

    assert violations(world) == []
    assert outcome.finished == 12
    assert 1.0 < outcome.source_copies < 1.1


def test_source_that_stays_silent_is_named_to_everybody() -> None:
    world, outcome = run(a_cold_scenario(source_down_s=1000.0))

    assert violations(world) == []
    assert outcome.gave_up == {"the source gives no answer": 12}


def test_host_that_went_to_the_source_itself_tries_it_again_after_a_failure() -> None:
    supernode = SeedOptions(is_warm=False, source_rate_bytes_per_s=20e6)
    faults = Faults(start_s=0.3, stop_s=0.4, restart_s=300.0, source_down_s=6.0)
    world, outcome = run(a_scenario(supernode=supernode, faults=faults))

    assert violations(world) == []
    assert outcome.finished == 12
    assert outcome.bytes_by["from the source"] > 0


def test_liars_are_banned_and_nobody_else() -> None:
    world, outcome = run(a_scenario(hosts=20, faults=Faults(corrupting_share=0.1)))

    assert violations(world) == []
    assert outcome.banned == 2
    assert outcome.fetch_failures["corrupt"] > 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_example_can_be_run(path: Path) -> None:
    scenario = options_from(str(path), Scenario, name="scenario")
    if path.name in TOO_LARGE:
        return

    world, outcome = run(scenario)

    assert violations(world) == []
    assert outcome.unfinished == 0
    assert "last host" in table_of(scenario, outcome)
    assert "host-0" in swarm_in_letters(world)
    for text in pictures_of(world, outcome).values():
        assert text.startswith("<svg")
        assert "nan" not in text


def test_broken_promises_are_found_in_the_books() -> None:
    world, _ = run(a_scenario(hosts=2))
    world.hosts[0].finished_s = None
    world.ledger.seeded[3] = 2
    world.ledger.bad_stored_count = 1
    world.ledger.fallback_max = 99
    world.ledger.banned.append(world.hosts[1].host_id)
    world.hosts[1].sent_count = 10**9

    found = violations(world)

    assert len(found) == 6
    assert found[0].startswith("host-0 waits forever")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hosts": 0}, "hosts must be 1 to 1000000"),
        ({"size_bytes": 1 << 30, "block_bytes": 1}, "hosts times blocks must be at most 500000000"),
        ({"slots": 65}, "slots must be 1 to 64"),
    ],
)
def test_what_nobody_could_simulate_is_refused_before_memory_is_taken(
    changes: dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        a_scenario(**changes)


@pytest.mark.slow
def test_same_seed_gives_the_same_text_in_any_process() -> None:
    def told(seed: str, hash_seed: str) -> str:
        return subprocess.run(
            [PROGRAM, "simulate", "--json", EXAMPLES / "bad-day.toml", "--seed", seed],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    first, again, other = told("7", "1"), told("7", "2"), told("8", "1")

    assert first == again
    assert first != other
    assert json.loads(first)["seed"] == 7
