"""How one of many files is got; this way is through the daemon, the other in `as_peer.py`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Protocol

import msgspec

from damselfly.services.outputs import take_from
from damselfly.transport.local_client import LocalClient, StoppableClient
from damselfly.wire.local_messages import DownloadFinished, DownloadProgress, DownloadRequest

OnProgress = Callable[[DownloadProgress], None]
Read = Callable[[int], bytes]
"""Returns the next so many bytes of a content; fewer only at its end."""


class Getter(Protocol):
    """Gets files; may be asked from several threads."""

    def get(self, request: DownloadRequest, path: str, on_progress: OnProgress) -> DownloadFinished:
        """Download into `path`, which appears whole or not at all.

        Raises:
            DamselflyError: Whatever ended it without content.
        """

    def read(
        self,
        request: DownloadRequest,
        on_progress: OnProgress,
        take: Callable[[Read], None],
        *,
        spare_path: str,
    ) -> DownloadFinished:
        """Download, and let `take` read the content, as soon as it can be read.

        Args:
            request: What is wanted.
            on_progress: Told of it.
            take: Called once.
            spare_path: Where a file may lie meanwhile.

        Raises:
            DamselflyError: Whatever ended it, or what `take` raised; it may have read a part.
        """

    def stop(self) -> None:
        """Let all that waits in other threads fail at once, and whatever is asked for from now."""


class ThroughDaemon:
    """Gets files through the host's daemon."""

    def __init__(self, client: LocalClient) -> None:
        self._client = StoppableClient(client.path)

    def get(self, request: DownloadRequest, path: str, on_progress: OnProgress) -> DownloadFinished:
        """Download into `path`; see `Getter`."""
        finished = self._client.download(request, on_progress)
        take_from(self._client, finished, path)
        return finished

    def read(
        self,
        request: DownloadRequest,
        on_progress: OnProgress,
        take: Callable[[Read], None],
        *,
        spare_path: str,  # noqa: ARG002  # the daemon has a file, or sends the bytes
    ) -> DownloadFinished:
        """Let `take` read while it comes; see `Getter`."""
        request = msgspec.structs.replace(request, is_placed=False)

        def download() -> DownloadFinished:
            finished = self._client.download(request, on_progress)
            self._client.release(finished)  # what is open stays, for `take`
            return finished

        with (
            closing(self._client.open_content(request)) as content,
            ThreadPoolExecutor(1) as beside,
        ):
            # What is open is on its way already: this joins it, and is told how far it is.
            downloading = beside.submit(download)
            take(content.read)
            return downloading.result()

    def stop(self) -> None:
        """End all; see `Getter`."""
        self._client.stop()
