"""The simulator against the arena: the same scenarios, and how far their times are apart.

Reads what `arena.py` wrote (`results/arena-*.txt`: hosts, links, racks, the last and the median
host of damselfly) and runs each scenario in the simulator. What the simulator knows of the
arena: the links less the headers of TCP/IP packets, the block size, one block's CPU cost
measured by the arena (CPU seconds per GiB, shared among the cores), and the round trip of
links whose queues are full.

    python bench/simulator_vs_arena.py --result bench/results/simulator-vs-arena.txt
"""

import argparse
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from damselfly.core.blocks import block_bytes_for
from damselfly.sim.outcome import Outcome, outcome_of
from damselfly.sim.scenario import Scenario, SeedOptions
from damselfly.sim.world import World

RESULTS = Path(__file__).parent / "results"
FILES = ("arena-8.txt", "arena-16.txt", "arena-32.txt", "arena-racks.txt")
MB = 1_000_000
PAYLOAD = 1448 / 1514  # bytes of a block in a packet ÷ what a shaper counts of it
QUEUE_S = 0.05  # of a shaper of the arena; a request waits in the asker's, and is then answered
WANTED = 0.15
SEEDS = (1, 2, 3)
HEADER = (
    f"{'scenario':14}{'arena s':>9}{'median':>8}{'copies':>8}"
    f"{'sim s':>9}{'median':>8}{'copies':>8}{'last':>8}  verdict"
)


@dataclass(frozen=True)
class Measured:
    """What the arena measured.

    Attributes:
        name: Of its file.
        size_bytes: Of the content.
        hosts: How many.
        rate_mbit: Of each link.
        racks: How many; 0 is none.
        uplink_mbit: Of a rack.
        cores: Of the machine that ran them all.
        last_s: Mean of its runs.
        median_s: The same.
        cpu_s_per_gib: The same, of all processes.
        copies: Copies that entered a rack; 0 without racks.
    """

    name: str
    size_bytes: int
    hosts: int
    rate_mbit: int
    racks: int
    uplink_mbit: int
    cores: int
    last_s: float
    median_s: float
    cpu_s_per_gib: float
    copies: float


def read(path: Path) -> Measured:
    """Return what is in a table of the arena."""
    text = path.read_text()
    what = re.search(r"(\d+) MB to (\d+) hosts, links (\d+) Mbit/s", text)
    cores = re.search(r"(\d+) cores", text)
    racks = re.search(r"(\d+) racks with uplinks of (\d+) Mbit/s", text)
    rows = re.findall(r"^damselfly +([\d. ]+)", text, re.MULTILINE)
    if not what or not cores or not rows:
        raise SystemExit(f"{path}: no table of arena.py")
    numbers = [[float(number) for number in row.split()] for row in rows]
    columns = [statistics.mean(column) for column in zip(*numbers, strict=True)]
    last_s, median_s, *_ = columns
    return Measured(
        name=path.stem,
        size_bytes=int(what[1]) * MB,
        hosts=int(what[2]),
        rate_mbit=int(what[3]),
        racks=int(racks[1]) if racks else 0,
        uplink_mbit=int(racks[2]) if racks else 0,
        cores=int(cores[1]),
        last_s=last_s,
        median_s=median_s,
        cpu_s_per_gib=columns[7],
        copies=columns[10] if racks else 0.0,
    )


def scenario_of(measured: Measured, seed: int) -> Scenario:
    """Return the same for the simulator."""
    line = measured.rate_mbit * 125_000
    rate = line * PAYLOAD
    block_bytes = block_bytes_for(measured.size_bytes, link_rate_bytes_per_s=line)
    # All hosts share the cores, so a block takes each of them so much longer.
    cpu_s = measured.cpu_s_per_gib * block_bytes / (1 << 30)
    return Scenario(
        seed=seed,
        hosts=measured.hosts,
        size_bytes=measured.size_bytes,
        block_bytes=block_bytes,
        upload_rate_bytes_per_s=rate,
        download_rate_bytes_per_s=rate,
        rack_hosts=measured.hosts // measured.racks if measured.racks else 0,
        rack_rate_bytes_per_s=measured.uplink_mbit * 125_000 * PAYLOAD,
        latency_s=QUEUE_S / 2,
        block_cost_s=cpu_s * max(measured.hosts / measured.cores, 1.0),
        supernode=SeedOptions(
            upload_rate_bytes_per_s=rate, slots=8, is_warm=False, source_rate_bytes_per_s=1e9
        ),
    )


def simulated(measured: Measured) -> list[Outcome]:
    """Run the scenario with each seed."""
    outcomes = []
    for seed in SEEDS:
        world = World(scenario_of(measured, seed))
        world.run()
        outcomes.append(outcome_of(world))
    return outcomes


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--result", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    lines = [
        "Simulator against arena: seconds until the last (median) host has everything, and copies",
        f"that entered a rack; the simulator's are means of seeds {', '.join(map(str, SEEDS))}.",
        f"Wanted: the last host within {WANTED:.0%}.",
        "",
        HEADER,
    ]
    for name in FILES:
        if not (RESULTS / name).exists():
            lines.append(f"{name.removesuffix('.txt'):14}  not measured")
            continue
        measured = read(RESULTS / name)
        outcomes = simulated(measured)
        last_s, median_s, copies = (
            statistics.mean(getattr(outcome, key) for outcome in outcomes)
            for key in ("last_s", "median_s", "rack_copies")
        )
        apart = last_s / measured.last_s - 1
        lines.append(
            f"{measured.name:14}{measured.last_s:9.2f}{measured.median_s:8.2f}"
            f"{measured.copies:8.2f}{last_s:9.2f}{median_s:8.2f}{copies:8.2f}{apart:+8.1%}"
            f"  {'met' if abs(apart) <= WANTED else 'NOT met'}"
        )
    print("\n".join(lines))
    if arguments.result:
        arguments.result.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
