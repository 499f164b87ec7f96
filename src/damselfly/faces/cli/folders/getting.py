"""How one of many files is got; this way is through the daemon, the other in `as_peer.py`."""

import os
from collections.abc import Callable
from typing import Protocol

from damselfly.faces.cli.output import Output
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadFinished, DownloadProgress, DownloadRequest

OnProgress = Callable[[DownloadProgress], None]


class Getter(Protocol):
    """Gets files; may be asked from several threads."""

    def get(self, request: DownloadRequest, path: str, on_progress: OnProgress) -> DownloadFinished:
        """Download into `path`, which appears whole or not at all.

        Raises:
            DamselflyError: Whatever ended it without content.
        """


class ThroughDaemon:
    """Gets files through the host's daemon."""

    def __init__(self, client: LocalClient) -> None:
        self._client = client

    def get(self, request: DownloadRequest, path: str, on_progress: OnProgress) -> DownloadFinished:
        """Download into `path`; see `Getter`."""
        finished = self._client.download(request, on_progress)
        try:
            if finished.content_path and os.access(finished.content_path, os.R_OK):
                Output(path).place(finished.content_path)
            else:
                self._client.read_content(finished, Output(path).copy)
        finally:
            self._client.release(finished)
        return finished
