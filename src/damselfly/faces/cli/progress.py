"""What a person sees while dfget runs: a bar on a terminal, a line now and then elsewhere."""

import sys
from types import TracebackType
from typing import Protocol, Self

from damselfly.clock import now_s
from damselfly.wire.local_messages import DownloadProgress, ProviderBytes

LINE_S = 2.0
NOTHING = "nothing yet"


def size_text(count: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def providers_text(by: ProviderBytes) -> str:
    """Return where bytes came from, the largest first; empty: none came."""
    named = {"peers": by.peers, "SuperNode": by.supernode, "source": by.source, "cache": by.cache}
    parts = sorted(((count, name) for name, count in named.items() if count), reverse=True)
    return ", ".join(f"{size_text(count)} from {name}" for count, name in parts)


def summary_text(text: str, by: ProviderBytes) -> str:
    """Return what is said at the end: a text, and where the bytes came from, if any came."""
    return ", ".join(part for part in (text, providers_text(by)) if part)


class Shown(Protocol):
    """Something that shows progress inside a `with`."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, leaving the terminal as it was."""

    def show(self, progress: DownloadProgress) -> None:
        """Show how far it is."""


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: DownloadProgress) -> None:
        """Show nothing."""


class Lines(Quiet):
    """A line every two seconds, for logs."""

    def __init__(self) -> None:
        self._told_s = now_s()
        self._note = ""

    def show(self, progress: DownloadProgress) -> None:
        """Print a line, if it is time for one."""
        if progress.note and progress.note != self._note:
            self._note = progress.note
            print(f"dfget: {progress.note}", file=sys.stderr)
        if now_s() - self._told_s < LINE_S:
            return
        self._told_s = now_s()
        of = f" of {size_text(progress.size_bytes)}" if progress.size_bytes >= 0 else ""
        providers = providers_text(progress.bytes_by) or NOTHING
        text = f"{size_text(progress.done_bytes)}{of}: {providers}"
        print(f"dfget: {progress.state}, {text}", file=sys.stderr)


class Bar:
    """A bar in the colours of the providers, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  # 60 ms that a short download lacks
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=10, transient=True)
        self._started_s = now_s()
        self._recent: list[tuple[float, int]] = []
        self._note = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: DownloadProgress) -> None:
        """Draw the bar."""
        from rich.text import Text  # noqa: PLC0415

        if progress.note and progress.note != self._note:
            self._note = progress.note
            self._console.print(Text(progress.note, "yellow"))
        rate = self._rate(progress.done_bytes)
        text = Text()
        text.append_text(_bar(progress, max(self._console.width - 52, 10)))
        known = progress.size_bytes >= 0
        of = f"/{size_text(progress.size_bytes)}" if known else ""
        text.append(f" {size_text(progress.done_bytes)}{of} {size_text(rate)}/s")
        if known and rate > 0 and progress.state == "fetching":
            text.append(f" {(progress.size_bytes - progress.done_bytes) / rate:.0f} s left")
        else:
            text.append(f" {progress.state}")
        count = progress.parent_count
        parents = f"{count} parent" if count == 1 else f"{count} parents"
        text.append(f"\n{providers_text(progress.bytes_by) or NOTHING}; {parents}", "dim")
        self._live.update(text)

    def _rate(self, done: int) -> float:
        """Return bytes per second over the last three seconds."""
        now = now_s()
        self._recent = [(at, count) for at, count in self._recent if now - at < 3]  # noqa: PLR2004
        self._recent.append((now, done))
        since, before = self._recent[0]
        return (done - before) / (now - since) if now > since else 0.0


def _bar(progress: DownloadProgress, width: int) -> "Text":  # type: ignore[name-defined]  # noqa: F821
    from rich.text import Text  # noqa: PLC0415

    by, text = progress.bytes_by, Text()
    total = max(progress.size_bytes, progress.done_bytes, 1)
    drawn = 0
    colours = (("cyan", by.cache), ("green", by.peers), ("blue", by.supernode), ("red", by.source))
    for colour, count in colours:
        cells = round(width * count / total)
        text.append("━" * cells, colour)
        drawn += cells
    return text.append("─" * (width - drawn), "grey30")  # another sign, for who sees no colours


def shown_on_terminal(*, is_quiet: bool) -> Shown:
    """Return what suits the present standard error."""
    if is_quiet:
        return Quiet()
    return Bar() if sys.stderr.isatty() else Lines()
