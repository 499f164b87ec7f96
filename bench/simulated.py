"""The simulator's numbers against their targets, and how long it takes to find them.

Each row is one scenario of `damselfly simulate`; the minds in it are the real ones. The rows
with 10,000 hosts take minutes each and are left out unless `--all` is given.

    python bench/simulated.py [--all] [--only WORD] [--result FILE]
"""

import argparse
import gc
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from damselfly.sim.outcome import Outcome, outcome_of
from damselfly.sim.scenario import Faults, Scenario, SeedOptions
from damselfly.sim.world import World

MIB = 1 << 20
GBIT = 125e6
# Blocks take 8 ms here, and 50 ms in the arena: two slots more keep such links full.
GIB_IN_MIB_BLOCKS = Scenario(hosts=1000, size_bytes=1024 * MIB, block_bytes=MIB, slots=8)
RACKS = replace(GIB_IN_MIB_BLOCKS, rack_hosts=40, rack_rate_bytes_per_s=40 * GBIT / 4)
SMALL = replace(GIB_IN_MIB_BLOCKS, hosts=200)  # enough for what goes wrong


def arena(hosts: int, rate_bytes_per_s: float) -> Scenario:
    """Return a scenario of bench/arena.py."""
    return Scenario(
        hosts=hosts,
        size_bytes=256_000_000,
        upload_rate_bytes_per_s=rate_bytes_per_s,
        download_rate_bytes_per_s=rate_bytes_per_s,
        block_cost_s=0.002,
        supernode=SeedOptions(
            upload_rate_bytes_per_s=rate_bytes_per_s,
            slots=8,
            is_warm=False,
            source_rate_bytes_per_s=1e9,
        ),
    )


def last(outcome: Outcome) -> float:
    """Last host ÷ fluid bound."""
    return outcome.last_ratio


def own(outcome: Outcome) -> float:
    """Worst host ÷ its own bound."""
    return outcome.own_ratio


def copies(outcome: Outcome) -> float:
    """Copies that entered a rack, mean."""
    return outcome.rack_copies


def reader(outcome: Outcome) -> float:
    """Mean end of readers in order ÷ bound."""
    return outcome.reader_ratio


@dataclass(frozen=True)
class Row:
    """One scenario, and what is wanted of it."""

    name: str
    scenario: Scenario
    wanted: tuple[tuple[str, Callable[[Outcome], float], float], ...]
    is_long: bool = False


ROWS = (
    Row("arena, 8 hosts", arena(8, 10e6), (("last ÷ bound", last, 1.10),)),
    Row("arena, 16 hosts", arena(16, 10e6), (("last ÷ bound", last, 1.10),)),
    Row("arena, 32 hosts", arena(32, 5e6), (("last ÷ bound", last, 1.10),)),
    Row(
        "1,000 hosts, 1 GiB in 1 MiB blocks",
        GIB_IN_MIB_BLOCKS,
        (("last ÷ bound", last, 1.08),),
    ),
    Row(
        "1,000 hosts, 10 slots and 12 neighbours",
        replace(GIB_IN_MIB_BLOCKS, slots=10, supernode=SeedOptions(neighbours=12)),
        (("last ÷ bound", last, 1.08),),
    ),
    Row(
        "200 hosts, each read in order at line rate",
        replace(SMALL, is_read=True),
        (("reader ÷ bound", reader, 1.25), ("last ÷ bound", last, 1.25)),
    ),
    Row(
        "200 hosts, one of ten has a tenth of the link",
        replace(SMALL, faults=Faults(slow_share=0.1)),
        (("worst ÷ its bound", own, 1.3),),
    ),
    Row(
        "1,000 hosts in racks of 40, 4:1",
        RACKS,
        (("last ÷ bound", last, 1.15), ("copies per rack", copies, 1.15)),
    ),
    Row(
        "200 hosts, 10 % die midway",
        replace(SMALL, faults=Faults(dying_share=0.1, dying_is_silent=True)),
        (("worst ÷ its bound", own, 1.3),),
    ),
    Row(
        "200 hosts, links differ 10x",
        replace(SMALL, faults=Faults(spread_factor=10.0)),
        (("worst ÷ its bound", own, 1.3),),
    ),
    Row(
        "200 hosts arrive over a minute",
        replace(SMALL, arrival_s=60.0),
        (("worst ÷ its bound", own, 1.3),),
    ),
    Row(
        "10,000 hosts, 256 blocks of 1 MiB",
        replace(GIB_IN_MIB_BLOCKS, hosts=10_000, size_bytes=256 * MIB),
        (("last ÷ bound", last, 1.2),),
        is_long=True,
    ),
    Row(
        "10,000 hosts, 1 GiB in 1 MiB blocks",
        replace(GIB_IN_MIB_BLOCKS, hosts=10_000),
        (("last ÷ bound", last, 1.12),),
        is_long=True,
    ),
    Row(
        "10,000 hosts in racks of 40, 4:1, 256 blocks",
        replace(RACKS, hosts=10_000, size_bytes=256 * MIB),
        (("last ÷ bound", last, 1.15), ("copies per rack", copies, 1.15)),
        is_long=True,
    ),
    Row(
        "10,000 hosts in racks of 40, 4:1, 1 GiB",
        replace(RACKS, hosts=10_000),
        (("last ÷ bound", last, 1.15), ("copies per rack", copies, 1.15)),
        is_long=True,
    ),
)


def line_of(row: Row) -> list[str]:
    """Run a row, and return its lines."""
    gc.collect()
    gc.disable()
    started_s = time.process_time()
    world = World(row.scenario)
    world.run()
    outcome = outcome_of(world)
    cpu_s = time.process_time() - started_s
    gc.enable()
    blocks = row.scenario.hosts * row.scenario.block_count
    lines = []
    for what, number, target in row.wanted:
        value = number(outcome)
        verdict = "met" if value <= target else "NOT met"
        lines.append(f"{row.name:46} {what:18} {value:6.3f}  <= {target:<5} {verdict}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    block_us = cpu_s / blocks * 1e6
    lines[-1] += (
        f"   ({cpu_s:.0f} CPU s, {block_us:.0f} us per block, peak so far {peak_mib:.0f} MiB)"
    )
    if outcome.unfinished:
        lines.append(f"{row.name:46} {outcome.unfinished} hosts did not finish")
    return lines


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="the long rows, too")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--result", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    text = [
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}"
    ]
    print(text[0])
    for row in ROWS:
        if arguments.only in row.name and (arguments.all or arguments.only or not row.is_long):
            for line in line_of(row):
                text.append(line)
                print(line, flush=True)
    if arguments.result:
        arguments.result.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
