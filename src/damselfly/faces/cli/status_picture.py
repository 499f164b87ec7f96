"""The picture of a daemon's status on a terminal: still where nothing moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from damselfly.faces.cli.progress import size_text
from damselfly.faces.cli.status_text import (
    Rates,
    cache_texts,
    cropped,
    how_texts,
    name_text,
    nothing_text,
    saved_text,
    seconds_text,
    share_text,
    supernode_text,
    uploads_texts,
)
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import DownloadSeen, HostStatus

GAP: Final = 2
MARK_CELLS: Final = 2  # with its gap
BAR_CELLS, RATE_CELLS, PEERS_CELLS = 16, 12, 5
DONE_CELLS_WIDE, DONE_CELLS_NARROW = 19, 10  # "100 % of 1023.9 MiB", "1023.9 MiB"
FROM_CELLS_MIN, FROM_CELLS_MAX = 15, 52  # one provider, all four
NAME_CELLS_MIN, NAME_CELLS_MAX = 14, 64
ENDED_ROWS_MAX: Final = 8
HEAD_ROWS: Final = 9  # all lines that are no download
WIDE_CELLS: Final = 120  # below, two providers and a name that says something matter more
# The colours of dfget's bar, too: the nearer, the cooler.
COLOURS: Final = {"cache": "cyan", "peers": "green", "supernode": "blue", "source": "red"}
NAMES: Final = {"supernode": "SuperNode"}
MARKS: Final = {"finished": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("·", "grey50")}


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide the columns of the downloads are; 0: there is none.

    On a narrow terminal bar, peers and length go first: they are the pictures of what other
    columns say. Then where bytes come from: the smaller providers, at last all. Name, share and
    rate stay. No word is cut but in names and errors.
    """

    name: int
    bar: int
    done: int
    peers: int
    providers: int

    @classmethod
    def of(cls, width: int) -> "Columns":
        """Return the columns for a terminal."""
        is_wide = width >= WIDE_CELLS
        bar, peers = (BAR_CELLS, PEERS_CELLS) if is_wide else (0, 0)
        done = DONE_CELLS_WIDE if is_wide else DONE_CELLS_NARROW
        others = (bar, done, RATE_CELLS, peers)
        room = width - MARK_CELLS - sum(GAP + cells for cells in others if cells)
        spare = room - NAME_CELLS_MIN - GAP - FROM_CELLS_MIN
        providers = min(FROM_CELLS_MIN + spare * 3 // 5, FROM_CELLS_MAX) if spare >= 0 else 0
        name = room - (GAP + providers if providers else 0)
        return cls(min(max(name, 1), NAME_CELLS_MAX), bar, done, peers, providers)


def picture(status: HostStatus, rates: Rates, *, width: int, height: int) -> RenderableType:
    """Return all of it, in at most so many rows."""
    room = max(height - HEAD_ROWS, 2)
    ended_room = min(len(status.ended_downloads), ENDED_ROWS_MAX, max(room // 2, 1))
    shown = status.downloads[: room - ended_room]
    ended = status.ended_downloads[: room - len(shown)][:ENDED_ROWS_MAX]
    columns = Columns.of(width)
    parts: list[RenderableType] = [*_head(status, rates, width), Text()]
    if shown:
        parts.append(_running(shown, rates, columns))
    if len(shown) < len(status.downloads):
        parts.append(Text(f"  … and {len(status.downloads) - len(shown)} more", "grey50"))
    if shown and ended:
        parts.append(Text())
    if ended:
        parts.append(_ended(ended, columns, width))
    if not shown and not ended:
        parts.append(_fitted(width, Text(nothing_text(status), "grey50")))
    return Group(*parts)


def _head(status: HostStatus, rates: Rates, width: int) -> Iterator[Text]:
    place = f"  {status.location}" if status.location else ""
    up = Text(f"  up {seconds_text(status.seconds)}", "grey50")
    names = (f"  {status.host_id}", f"  {status.address}", place)
    yield _fitted(width, Text("damselfly", "bold"), *names, up)
    colour = "green" if status.is_connected else "yellow" if not status.supernode else "red"
    cache = [Text(text, "grey50") for text in ("   ", *cache_texts(status))]
    supernode = supernode_text(status)
    if len(supernode) + GAP > width:  # its state is worth more than its address
        supernode = supernode.replace(f" {status.supernode}", "")
    yield _fitted(width, Text("● ", colour), supernode, Text().join(cache[:2]), *cache[2:])
    yield Text()
    shares = _shares(status.received_bytes_by)
    saved = Text(f"   {saved_text(status)}" if status.saved_bytes else "", "grey50")
    received = _flow("↓", rates.received, status.received_bytes_by.total)
    yield _fitted(width, received, "   ", *shares, saved)
    uploads = (
        Text(text, "" if status.uploads_running else "grey50") for text in uploads_texts(status)
    )
    yield _fitted(width, _flow("↑", rates.sent, status.sent_bytes), "   ", *uploads)


def _flow(arrow: str, rate: float, total: int) -> Text:
    text = Text(f"{arrow} ").append(f"{size_text(rate):>10}/s", "bold")
    return text.append(f"  {size_text(total):>10}")


def _fitted(cells: int, first: Text, *more: Text | str) -> Text:
    """Return a line of whole parts: those that come last are left out if there is no room."""
    line = Text(no_wrap=True, overflow="ellipsis").append_text(first)
    for part in more:
        text = Text(part) if isinstance(part, str) else part
        if line.cell_len + text.cell_len > cells:
            break
        line.append_text(text)
    line.rstrip()
    return line


def _table(columns: Columns) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="grey50")
    table.add_column("  Download", width=MARK_CELLS + columns.name, no_wrap=True)
    return table


def _name(mark: str, colour: str, seen: DownloadSeen, columns: Columns) -> Text:
    name = cropped(name_text(seen.url), columns.name)
    return Text(f"{mark} ", colour).append(name, "grey50" if colour else "")


def _running(shown: tuple[DownloadSeen, ...], rates: Rates, columns: Columns) -> Table:
    table = _table(columns)
    if columns.bar:
        table.add_column("", width=columns.bar)
    table.add_column("Done", justify="right", no_wrap=True, width=columns.done)
    table.add_column("Rate", justify="right", no_wrap=True, width=RATE_CELLS)
    if columns.peers:
        table.add_column("Peers", justify="right", no_wrap=True, width=columns.peers)
    if columns.providers:
        table.add_column("From", no_wrap=True, width=columns.providers)
    for seen in shown:
        table.add_row(
            _name("↓", "", seen, columns),
            *([_bar(seen)] if columns.bar else []),
            _done(seen, columns),
            f"{size_text(rates.of(seen.task_id))}/s",
            *([f"{seen.parent_count}"] if columns.peers else []),
            *([_fitted(columns.providers, *_shares(seen.bytes_by))] if columns.providers else []),
        )
    return table


def _done(seen: DownloadSeen, columns: Columns) -> Text | str:
    if seen.state != "fetching":
        return Text(seen.state, "grey50")
    if columns.bar and seen.size_bytes >= 0:
        return f"{share_text(seen)} of {size_text(seen.size_bytes)}"
    return share_text(seen)


def _ended(ended: tuple[DownloadSeen, ...], columns: Columns, width: int) -> Table:
    table = _table(columns)
    table.show_header = False
    cells = width - MARK_CELLS - columns.name - GAP
    table.add_column("", width=cells, no_wrap=True, overflow="ellipsis")
    for seen in ended:
        if seen.error:
            how = Text(seen.error.replace(f" {seen.url}", ""), "red")  # the row has its name
        else:
            much, fast = (Text(text, "grey50") for text in how_texts(seen))
            how = _fitted(cells, much, fast, "   ", *_shares(seen.bytes_by))
        table.add_row(_name(*MARKS[seen.state], seen, columns), how)
    return table


def _bar(seen: DownloadSeen) -> Text:
    text, total = Text(), max(seen.size_bytes, seen.bytes_by.total, 1)
    drawn, done = 0, 0
    for name, colour in COLOURS.items():
        done += getattr(seen.bytes_by, name)
        cells = BAR_CELLS * done // total - drawn
        text.append("━" * cells, colour)
        drawn += cells
    return text.append("━" * (BAR_CELLS - drawn), "grey30")


def _shares(by: ProviderBytes) -> list[Text]:
    """Return the share of each provider in its colour, the largest first."""
    counts = sorted(((getattr(by, name), name) for name in COLOURS), reverse=True)
    shares: list[Text] = []
    for count, name in counts:
        if count:
            text = Text("  " if shares else "").append(f"{NAMES.get(name, name)} ", COLOURS[name])
            shares.append(text.append(f"{100 * count / by.total:.0f} %"))
    return shares or [Text("·", "grey50")]
