"""Many files by one peer that runs as long as they take; imported only where there is no daemon."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from damselfly.faces.cli.folders.getting import OnProgress, Read
from damselfly.services.hosting.ephemeral import peer_options_of
from damselfly.services.hosting.peer_host import PeerHost, running_host
from damselfly.services.options import CacheOptions, EphemeralOptions
from damselfly.services.outputs import Output
from damselfly.services.stores import open_store
from damselfly.telemetry.log import Level, set_up_log
from damselfly.telemetry.metrics import Metrics
from damselfly.wire.local_messages import DownloadFinished, DownloadRequest

if TYPE_CHECKING:
    from concurrent.futures import Future


class AsPeer:
    """Gets files as a peer of its own, which runs in a thread beside."""

    def __init__(self, host: PeerHost, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop
        self._running: set[Future[DownloadFinished]] = set()
        self._is_stopped = False

    def get(self, request: DownloadRequest, path: str, on_progress: OnProgress) -> DownloadFinished:
        """Download into `path`; see `Getter`."""
        getting = self._host.downloads.get(request, on_progress)
        running = asyncio.run_coroutine_threadsafe(getting, self._loop)
        self._running.add(running)
        try:
            if self._is_stopped:
                running.cancel()
            finished = running.result()
        finally:
            self._running.discard(running)
        entry = self._host.downloads.content_of(finished.download_id)
        assert entry is not None
        try:
            Output(path).place_entry(entry)
        finally:
            self._loop.call_soon_threadsafe(self._host.downloads.release, finished.download_id)
        return finished

    def read(
        self,
        request: DownloadRequest,
        on_progress: OnProgress,
        take: Callable[[Read], None],
        *,
        spare_path: str,
    ) -> DownloadFinished:
        """Download into a file, and let `take` read that; see `Getter`."""
        path = Path(spare_path)
        try:
            finished = self.get(request, spare_path, on_progress)
            with path.open("rb") as file:
                take(file.read)
        finally:
            path.unlink(missing_ok=True)
        return finished

    def stop(self) -> None:
        """End all; see `Getter`."""
        self._is_stopped = True
        for running in self._running.copy():
            running.cancel()


@contextlib.contextmanager
def running_peer(supernode: str, location: str, state: Path) -> Iterator[AsPeer]:
    """Run a peer inside the block; what it has not finished stays in `state` if that fails."""
    set_up_log(Level.ERROR)
    peer_options = peer_options_of(EphemeralOptions(supernode=supernode, location=location))
    store = open_store(state, CacheOptions(reserve_bytes=0))
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    running = running_host(peer_options, store, metrics=Metrics())
    is_done = False
    try:
        host = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result()
        try:
            yield AsPeer(host, loop)
            is_done = True
        finally:
            leaving = running.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(leaving, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        store.close()
        if is_done:
            shutil.rmtree(state, ignore_errors=True)
