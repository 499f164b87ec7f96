"""What a person reads of a run: a table, and the swarm as it fills, in letters."""

from damselfly.sim.outcome import Outcome
from damselfly.sim.pictures import held_shares
from damselfly.sim.scenario import Scenario
from damselfly.sim.world import World

ROWS_MAX = 24  # of the swarm in letters; a terminal has as many lines
COLUMNS = 60
SHADES = " ▁▂▃▄▅▆▇█"
MB = 1e6


def rows_of(scenario: Scenario, outcome: Outcome) -> list[tuple[str, str]]:
    """Return the table: what, and how much of it."""
    total = scenario.size_bytes * scenario.hosts
    rows = [
        (
            "hosts",
            f"{outcome.hosts}" + (f" in {scenario.rack_count} racks" * bool(scenario.rack_count)),
        ),
        ("content", f"{scenario.size_bytes / MB:.0f} MB in {outcome.blocks} blocks"),
        ("finished", f"{outcome.finished}"),
        *((f"gave up: {why}", f"{count}") for why, count in outcome.gave_up.items()),
        *([("still waiting at the end", f"{outcome.unfinished}")] if outcome.unfinished else []),
        ("fluid bound", f"{outcome.bound_s:.2f} s"),
        ("last host", f"{outcome.last_s:.2f} s, {outcome.last_ratio:.3f} of the bound"),
        ("half of the hosts", f"{outcome.median_s:.2f} s"),
        ("99 of 100 hosts", f"{outcome.p99_s:.2f} s"),
        ("worst host ÷ its own bound", f"{outcome.own_ratio:.3f}"),
        ("reader in order ÷ bound, mean", f"{outcome.reader_ratio:.3f}"),
        ("sent by the SuperNode", f"{outcome.supernode_copies:.2f} copies"),
        ("sent by the source", f"{outcome.source_copies:.2f} copies"),
    ]
    if scenario.rack_count:
        copies = f"{outcome.rack_copies:.2f} copies, worst {outcome.rack_copies_max:.2f}"
        rows.append(("into each rack", copies))
    rows += [
        (f"bytes {name}", f"{count / total:.1%}")
        for name, count in outcome.bytes_by.items()
        if count
    ]
    rows += [
        ("bytes for nothing", f"{outcome.wasted_share:.2%}"),
        ("messages per host", f"{outcome.messages_mean:.0f}, most {outcome.messages_max}"),
        ("messages at the SuperNode", f"{outcome.supernode_messages}"),
        *((f"fetches {why}", f"{count}") for why, count in outcome.fetch_failures.items()),
        *([("hosts banned", f"{outcome.banned}")] if outcome.banned else []),
    ]
    return rows


def table_of(scenario: Scenario, outcome: Outcome) -> str:
    """Return the table as text."""
    rows = rows_of(scenario, outcome)
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:{width}}  {value}\n" for name, value in rows)


def swarm_in_letters(world: World) -> str:
    """Return a line per host: how full it was, from the beginning to the end."""
    _, shares = held_shares(world, COLUMNS)
    step = -(-len(shares) // ROWS_MAX)
    names = [host.host_id for host in world.hosts][::step]
    width = max(map(len, names))
    lines = [
        f"{name:{width}} " + "".join(SHADES[int(share * (len(SHADES) - 1))] for share in row)
        for name, row in zip(names, shares[::step], strict=True)
    ]
    axis = f"{'':{width}} 0 s{f'{world.timeline.now_s:.3g} s':>{COLUMNS - 3}}"
    return "\n".join([*lines, axis]) + "\n"
