"""The picture of a daemon's status on a terminal: still where nothing moves."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from damselfly.faces.cli.progress import size_text
from damselfly.faces.cli.status_text import (
    Rates,
    cache_text,
    cropped,
    done_text,
    how_text,
    name_text,
    saved_text,
    seconds_text,
    share_text,
    supernode_text,
)
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import DownloadSeen, HostStatus

BAR_CELLS: Final = 16
ENDED_ROWS_MAX: Final = 8
HEAD_ROWS: Final = 9  # all lines that are no download
WIDE_CELLS: Final = 110  # below, where bytes come from matters more than bars
OTHER_CELLS_WIDE, OTHER_CELLS_NARROW = 93, 59  # of a row, beside the name
NAME_CHARS_MIN, NAME_CHARS_MAX = 16, 64
# The colours of dfget's bar, too: the nearer, the cooler.
COLOURS: Final = {"cache": "cyan", "peers": "green", "supernode": "blue", "source": "red"}
NAMES: Final = {"supernode": "SuperNode"}
MARKS: Final = {"finished": ("✓", "green"), "failed": ("✗", "red"), "cancelled": ("·", "grey50")}


def picture(status: HostStatus, rates: Rates, *, width: int, height: int) -> RenderableType:
    """Return all of it, in at most so many rows."""
    room = max(height - HEAD_ROWS, 2)
    ended_room = min(len(status.ended_downloads), ENDED_ROWS_MAX, max(room // 2, 1))
    shown = status.downloads[: room - ended_room]
    ended = status.ended_downloads[: room - len(shown)][:ENDED_ROWS_MAX]
    is_wide = width >= WIDE_CELLS
    other_cells = OTHER_CELLS_WIDE if is_wide else OTHER_CELLS_NARROW
    name_chars = min(max(width - other_cells, NAME_CHARS_MIN), NAME_CHARS_MAX)
    parts: list[RenderableType] = [*_head(status, rates), Text()]
    if shown:
        parts.append(_running(shown, rates, name_chars, is_wide=is_wide))
    if len(shown) < len(status.downloads):
        parts.append(Text(f"  … and {len(status.downloads) - len(shown)} more", "grey50"))
    if shown and ended:
        parts.append(Text())
    if ended:
        parts.append(_ended(ended, name_chars))
    if not shown and not ended:
        parts.append(Text("No downloads yet.", "grey50"))
    return Group(*parts)


def _head(status: HostStatus, rates: Rates) -> Iterator[Text]:
    title = Text(no_wrap=True, overflow="ellipsis")
    title.append("damselfly", "bold").append(f"  {status.host_id}  {status.address}")
    if status.location:
        title.append(f"  {status.location}")
    yield title.append(f"  up {seconds_text(status.seconds)}", "grey50")
    colour = "green" if status.is_connected else "yellow" if not status.supernode else "red"
    link = Text(no_wrap=True, overflow="ellipsis")
    link.append("● ", colour).append(supernode_text(status))
    yield link.append(f"   cache {cache_text(status)}", "grey50")
    yield Text()
    flow = Text(no_wrap=True, overflow="ellipsis")
    flow.append("↓ ").append(f"{size_text(rates.received):>9}/s", "bold")
    flow.append(f"  {size_text(status.received_bytes_by.total):>9}   ")
    flow.append_text(_shares(status.received_bytes_by))
    if status.saved_bytes:
        flow.append(f"   {saved_text(status)}", "grey50")
    yield flow
    give = Text(no_wrap=True, overflow="ellipsis")
    give.append("↑ ").append(f"{size_text(rates.sent):>9}/s", "bold")
    give.append(f"  {size_text(status.sent_bytes):>9}   ")
    running = f"{status.uploads_running} uploads in {status.upload_slots} slots"
    yield give.append(running, "grey50" if not status.uploads_running else "")


def _table(name_chars: int) -> Table:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="grey50")
    table.add_column("", width=1)
    table.add_column("Download", width=name_chars, no_wrap=True)
    return table


def _running(
    shown: tuple[DownloadSeen, ...], rates: Rates, name_chars: int, *, is_wide: bool
) -> Table:
    table = _table(name_chars)
    if is_wide:
        table.add_column("", width=BAR_CELLS)
    table.add_column("Done", justify="right", no_wrap=True, min_width=18 if is_wide else 10)
    table.add_column("Rate", justify="right", no_wrap=True, min_width=12)
    if is_wide:
        table.add_column("Peers", justify="right", no_wrap=True)
    table.add_column("From", no_wrap=True, ratio=1)
    for seen in shown:
        how_far = _bar(seen) if seen.state == "fetching" else Text(seen.state, "grey50")
        table.add_row(
            "↓",
            cropped(name_text(seen.url), name_chars),
            *([how_far] if is_wide else []),
            done_text(seen) if is_wide else share_text(seen),
            f"{size_text(rates.of(seen.task_id))}/s",
            *([f"{seen.parent_count}"] if is_wide else []),
            _shares(seen.bytes_by) if is_wide or seen.bytes_by.total else how_far,
        )
    return table


def _ended(ended: tuple[DownloadSeen, ...], name_chars: int) -> Table:
    table = _table(name_chars)
    table.show_header = False
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    for seen in ended:
        mark, colour = MARKS[seen.state]
        if seen.error:
            how = Text(seen.error, "red")
        else:
            how = Text(how_text(seen), "grey50").append("   ").append_text(_shares(seen.bytes_by))
        name = Text(cropped(name_text(seen.url), name_chars), "grey50")
        table.add_row(Text(mark, colour), name, how)
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


def _shares(by: ProviderBytes) -> Text:
    """Return the share of each provider in its colour, the largest first."""
    counts = sorted(((getattr(by, name), name) for name in COLOURS), reverse=True)
    text = Text(no_wrap=True)
    for count, name in counts:
        if count:
            share = f"{100 * count / by.total:.0f} %"
            text.append("  " if text else "").append(f"{NAMES.get(name, name)} ", COLOURS[name])
            text.append(share)
    return text or Text("·", "grey50")
