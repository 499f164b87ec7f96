"""A progress bar in a notebook or on a terminal."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html import escape
from typing import Any

from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from damselfly.clock import now_s
from damselfly.wire.local_messages import DownloadProgress

Show = Callable[[DownloadProgress], None]


def shown(name: str) -> AbstractContextManager[Show]:
    """Show a bar inside the block; gives what is told how far it is."""
    return _in_notebook(name) if _is_notebook() else _on_terminal(name)


def _is_notebook() -> bool:
    """Say whether this program is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@contextmanager
def _on_terminal(name: str) -> Iterator[Show]:
    columns = (
        TextColumn("{task.description}", markup=False),  # a file may be called [red]
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        task = bar.add_task(name, total=None)

        def show(progress: DownloadProgress) -> None:
            total = None if progress.size_bytes < 0 else progress.size_bytes
            bar.update(task, completed=progress.done_bytes, total=total)

        yield show


@contextmanager
def _in_notebook(name: str) -> Iterator[Show]:
    """Show a bar that is replaced as it grows.

    By what every notebook has: rich, which draws on terminals, shows nothing in a notebook
    without ipywidgets.
    """
    display: Any = importlib.import_module("IPython.display").display
    started_s = now_s()
    bar = display(_picture(name, "waiting"), raw=True, display_id=True)
    last: DownloadProgress | None = None

    def show(progress: DownloadProgress) -> None:
        nonlocal last
        last = progress
        rate = progress.done_bytes / max(now_s() - started_s, 0.001)
        text = f"{_sizes(progress)}, {decimal(round(rate))}/s"
        bar.update(_picture(name, text, progress), raw=True)

    try:
        yield show
    except BaseException:
        bar.update(_picture(name, "not there"), raw=True)
        raise
    seconds = now_s() - started_s
    size = "" if last is None else f"{decimal(max(last.size_bytes, last.done_bytes))} "
    bar.update(_picture(name, f"{size}in {seconds:.1f} s"), raw=True)


def _sizes(progress: DownloadProgress) -> str:
    of = f" of {decimal(progress.size_bytes)}" if progress.size_bytes >= 0 else ""
    return decimal(progress.done_bytes) + of


def _picture(name: str, text: str, progress: DownloadProgress | None = None) -> dict[str, str]:
    """Return a state as plain text and as HTML; without progress there is no bar in it."""
    bar = ""
    if progress is not None and progress.size_bytes > 0:
        bar = f'<progress value="{progress.done_bytes}" max="{progress.size_bytes}"></progress> '
    return {
        "text/plain": f"{name}: {text}",
        "text/html": f"{escape(name)}: {bar}{escape(text)}",
    }
