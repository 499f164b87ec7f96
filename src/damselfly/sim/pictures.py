"""Pictures of a run as SVG: how it completes, what crosses where, how busy links are, the swarm.

Written by hand and small: four kinds of picture need no library, and the same run gives the
same bytes.
"""

import itertools
from collections.abc import Sequence
from html import escape

import numpy as np

from damselfly.sim.ledger import Boundary
from damselfly.sim.outcome import Outcome
from damselfly.sim.world import World

WIDTH, HEIGHT = 720, 400
LEFT, TOP, RIGHT, BOTTOM = 70, 40, 20, 50
ROWS_MAX, COLUMNS = 200, 120  # of the picture of the swarm; more cannot be told apart
TICKS = 5
COLOURS = ("#2a6fbb", "#d1495b", "#3d9970", "#8e6c8a")

Line = tuple[str, Sequence[float], Sequence[float]]


def pictures_of(world: World, outcome: Outcome) -> dict[str, str]:
    """Return {file name: SVG} of a run."""
    samples = world.ledger.samples
    times = [sample.at_s for sample in samples]
    total = world.scenario.hosts * world.scenario.block_count
    held = [sample.held_count / total for sample in samples]
    finished = [sample.finished_count / world.scenario.hosts for sample in samples]
    return {
        "completion.svg": _chart(
            "How it completes",
            "seconds",
            "share",
            [("blocks held", times, held), ("hosts finished", times, finished)],
            mark=("bound", world.bound_s),
        ),
        "bytes-by-boundary.svg": _bars(
            "Where bytes came from, in copies per host",
            {
                boundary.value: outcome.bytes_by[boundary.value]
                / (world.scenario.size_bytes * world.scenario.hosts)
                for boundary in Boundary
            },
        ),
        "utilisation.svg": _chart(
            "How busy uplinks are", "seconds", "share", [_utilisation(world)], mark=None
        ),
        "swarm.svg": _swarm(world),
    }


def _utilisation(world: World) -> Line:
    scenario, samples = world.scenario, world.ledger.samples
    rate = scenario.upload_rate_bytes_per_s * sum(world.rates)
    rate += scenario.supernode.upload_rate_bytes_per_s
    times, shares = [], []
    for before, after in itertools.pairwise(samples):
        passed_s = after.at_s - before.at_s
        if passed_s > 0:
            times.append((before.at_s + after.at_s) / 2)
            shares.append((after.sent_bytes - before.sent_bytes) / passed_s / rate)
    return ("all hosts and the SuperNode", times, shares)


def held_shares(world: World, columns: int) -> tuple[list[float], list[list[float]]]:
    """Return moments, and for each host the share that it held at each of them."""
    stored = np.nan_to_num(world.ledger.stored_s, nan=np.inf)
    end_s = world.timeline.now_s
    moments = [end_s * (column + 1) / columns for column in range(columns)]
    shares = np.stack([(stored <= moment).mean(axis=1) for moment in moments], axis=1)
    return moments, shares.tolist()


def _document(title: str, body: list[str], height: int = HEIGHT) -> str:
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
                f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">'
            ),
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
            *body,
            "</svg>\n",
        ]
    )


def _x(value: float, most: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / most


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most


def _chart(
    title: str, across: str, upwards: str, lines: list[Line], *, mark: tuple[str, float] | None
) -> str:
    end = max(max((x for x in xs), default=0.0) for _, xs, _ in lines) or 1.0
    top = max(1.0, *(max(ys, default=0.0) for _, _, ys in lines))
    body = []
    for tick in range(TICKS + 1):
        x, y = _x(end * tick / TICKS, end), _y(top * tick / TICKS, top)
        body += [
            (
                f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}M{LEFT} {y:.1f}H{WIDTH - RIGHT}" '
                'stroke="#dddddd"/>'
            ),
            (
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
                f"{end * tick / TICKS:.3g}</text>"
            ),
            (
                f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{top * tick / TICKS:.2g}</text>"
            ),
        ]
    body += [
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">{across}</text>',
        f'<text x="{LEFT - 8}" y="{TOP - 8}" text-anchor="end">{upwards}</text>',
    ]
    if mark is not None and mark[1] <= end:
        x = _x(mark[1], end)
        body += [
            f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#555555" stroke-dasharray="4 3"/>',
            f'<text x="{x - 6:.1f}" y="{TOP + 14}" text-anchor="end">{mark[0]}</text>',
        ]
    for number, (name, xs, ys) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{_x(x, end):.1f},{_y(y, top):.1f}" for x, y in zip(xs, ys, strict=True))
        body += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            (
                f'<text x="{LEFT + 12 + 180 * number}" y="{HEIGHT - 12}" fill="{colour}">'
                f"{escape(name)}</text>"
            ),
        ]
    return _document(title, body)


def _bars(title: str, values: dict[str, float]) -> str:
    most = max(*values.values(), 1.0)
    body = []
    for number, (name, value) in enumerate(values.items()):
        y = TOP + 20 + number * 70
        width = (WIDTH - LEFT - RIGHT - 60) * value / most
        body += [
            f'<text x="{LEFT}" y="{y}">{escape(name)}</text>',
            (
                f'<rect x="{LEFT}" y="{y + 8}" width="{width:.1f}" height="26" '
                f'fill="{COLOURS[number % len(COLOURS)]}"/>'
            ),
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 26}">{value:.3f}</text>',
        ]
    return _document(title, body)


def _swarm(world: World) -> str:
    """A row for each host (or every n-th), from the first that came; the darker the fuller."""
    _, shares = held_shares(world, COLUMNS)
    step = -(-len(shares) // ROWS_MAX)
    rows = shares[::step]
    row_height = max(2.0, min(12.0, 360 / len(rows)))
    column_width = (WIDTH - LEFT - RIGHT) / COLUMNS
    body = []
    for row, values in enumerate(rows):
        y = TOP + row * row_height
        start = 0
        levels = [round(value * 20) for value in values]
        for column in range(1, COLUMNS + 1):
            if column == COLUMNS or levels[column] != levels[start]:
                shade = 245 - 10 * levels[start]
                body.append(
                    f'<rect x="{LEFT + start * column_width:.1f}" y="{y:.1f}" '
                    f'width="{(column - start) * column_width + 0.2:.1f}" '
                    f'height="{row_height:.1f}" fill="rgb({shade},{min(shade + 8, 255)},250)"/>'
                )
                start = column
    height = round(TOP + len(rows) * row_height + BOTTOM)
    body += [
        f'<text x="{LEFT}" y="{height - 20}">0 s</text>',
        (
            f'<text x="{WIDTH - RIGHT}" y="{height - 20}" text-anchor="end">'
            f"{world.timeline.now_s:.3g} s</text>"
        ),
        f'<text x="{LEFT - 8}" y="{TOP + 12}" text-anchor="end">hosts</text>',
    ]
    return _document("The swarm as it fills", body, height)
