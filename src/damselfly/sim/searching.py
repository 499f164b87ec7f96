"""A search over seeds: from each one a small scenario with faults, and whether all promises held.

Everything is drawn from the seed, so that one number is the whole report of a failure.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from damselfly.errors import DamselflyError
from damselfly.sim.checkers import violations
from damselfly.sim.scenario import Faults, Scenario, SeedOptions
from damselfly.sim.world import World

HOSTS_MAX = 24  # small swarms find as much, and a thousand of them take minutes
BLOCKS_MAX = 48
BLOCK_BYTES = 1 << 20
FAULTS_MAX = 3  # at a time, or nobody is left to see what one of them does


@dataclass(frozen=True, slots=True)
class Finding:
    """One seed at which a promise was broken.

    Attributes:
        seed: The seed.
        texts: What was broken.
    """

    seed: int
    texts: list[str]


def draw_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    rng = random.Random(seed)
    hosts = rng.randint(1, HOSTS_MAX)
    rate = rng.choice([10e6, 50e6, 125e6])
    download_rate = rate * rng.choice([1, 1, 2, 10])
    blocks = rng.randint(1, BLOCKS_MAX)
    size = blocks * BLOCK_BYTES - rng.choice([0, 0, rng.randrange(BLOCK_BYTES)])
    seed_rate = rate * rng.choice([0.5, 1, 4])
    bound_s = size / min(rate, download_rate, seed_rate)
    racks = rng.choice([0, 0, rng.randint(2, 8)])
    return Scenario(
        seed=seed,
        hosts=hosts,
        size_bytes=size,
        block_bytes=BLOCK_BYTES,
        upload_rate_bytes_per_s=rate,
        download_rate_bytes_per_s=download_rate,
        slots=rng.randint(1, 6),
        rack_hosts=racks,
        rack_rate_bytes_per_s=rate * racks / rng.choice([1, 4]) if racks else 0.0,
        latency_s=rng.choice([0.0002, 0.002, 0.02]),
        block_cost_s=rng.choice([0.0, 0.001, 0.01]),
        arrival_s=rng.choice([0.0, 0.0, 5.0, 30.0]),
        limit_s=1200.0,
        supernode=SeedOptions(
            upload_rate_bytes_per_s=seed_rate,
            slots=rng.choice([0, 1, 8]),
            children_max=rng.choice([1, 4, 64]),
            neighbours=rng.choice([2, 4, 8]),
            is_warm=rng.random() < 0.5,  # noqa: PLR2004  # a coin
            source_rate_bytes_per_s=rate * rng.choice([0.5, 2]),
            fallbacks_max=rng.choice([1, 2]),
        ),
        faults=_draw_faults(rng, bound_s),
    )


def _draw_faults(rng: random.Random, bound_s: float) -> Faults:
    def share() -> float:
        return round(rng.uniform(0.05, 0.4), 2)

    draws: dict[str, Callable[[], dict[str, Any]]] = {
        "dying": lambda: {
            "dying_share": share(),
            "dying_is_silent": rng.random() < 0.5,  # noqa: PLR2004
        },
        "leaving": lambda: {"leaving_share": round(rng.uniform(0.1, 1), 2)},
        "stalling": lambda: {"stalling_share": share()},
        "corrupting": lambda: {"corrupting_share": share()},
        "slow": lambda: {"slow_share": share(), "slow_factor": rng.choice([3.0, 10.0])},
        "spread": lambda: {"spread_factor": rng.choice([3.0, 10.0])},
        "closed": lambda: {"closed_share": share()},
        "full": lambda: {"full_share": share()},
        "partition": lambda: {
            "partition_share": share(),
            "partition_s": round(rng.uniform(1, 40), 1),
        },
        "source": lambda: {"source_down_s": round(rng.uniform(0.5, 20), 1)},
        "breaking": lambda: {"breaking_share": round(rng.uniform(0.01, 0.1), 2)},
        "restart": lambda: {"restart_s": round(rng.uniform(0.5, 20), 1)},
    }
    drawn: dict[str, Any] = {}
    for name in rng.sample(sorted(draws), rng.randint(0, FAULTS_MAX)):
        drawn.update(draws[name]())
    stop_s = round(max(bound_s, 0.1), 3)
    return Faults(start_s=rng.choice([0.0, stop_s / 2]), stop_s=stop_s, **drawn)


def try_seed(seed: int) -> Finding | None:
    """Run the scenario of one seed; return what was broken, None when all held."""
    world = World(draw_scenario(seed), is_checked=True)
    try:
        world.run()
        texts = violations(world)
    except (AssertionError, DamselflyError, KeyError, ValueError, IndexError) as exc:
        texts = [f"{type(exc).__name__}: {exc}"]
    return Finding(seed, texts) if texts else None


def search(first_seed: int, count: int) -> Iterator[tuple[int, Finding | None]]:
    """Try one seed after the other; yield each with what was found."""
    for seed in range(first_seed, first_seed + count):
        yield seed, try_seed(seed)
