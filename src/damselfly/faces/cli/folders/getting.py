"""How one of many files is got; this way is through the daemon, the other in `as_peer.py`."""

from collections.abc import Callable
from typing import Protocol

from damselfly.services.outputs import take_from
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
        take_from(self._client, finished, path)
        return finished
