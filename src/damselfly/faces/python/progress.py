"""A progress bar in a notebook or on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from damselfly.wire.local_messages import DownloadProgress


@contextmanager
def shown(name: str) -> Iterator[Callable[[DownloadProgress], None]]:
    """Show a bar inside the block; gives what is told how far it is."""
    columns = (
        TextColumn("{task.description}"),
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
