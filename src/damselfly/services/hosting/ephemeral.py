"""A dfget without daemon: a peer while it runs, with its store beside the output.

The store is a folder `.NAME.damselfly` in the output's folder, on the same file system, so
that the finished content only needs a link. It stays when the download is
interrupted: the next one with the same output goes on with its blocks. Of an output that is no
file, such as standard output, it is a temporary folder, and goes in any case.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from damselfly.core.peer import HostId
from damselfly.core.urls import is_host_port
from damselfly.errors import OutputError, StorageUnusableError, UsageError
from damselfly.services.hosting.peer_host import PeerHostOptions, running_host
from damselfly.services.options import CacheOptions, EphemeralOptions
from damselfly.services.outputs import Output, beside, is_stream
from damselfly.services.stores import open_store
from damselfly.storage.disk import DiskStore
from damselfly.telemetry.metrics import Metrics
from damselfly.wire.local_messages import DownloadFinished, DownloadProgress, DownloadRequest


async def download(
    request: DownloadRequest,
    options: EphemeralOptions,
    *,
    output: str,
    on_progress: Callable[[DownloadProgress], None],
) -> DownloadFinished:
    """Download into `output`, which appears whole or not at all.

    Raises:
        DamselflyError: Whatever ended it without content. What came is kept beside the output.
    """
    request.spec()  # a request that makes no sense shall leave no folder
    is_lasting = not is_stream(output)
    folder = Path(beside(output)) if is_lasting else Path(tempfile.mkdtemp(prefix="damselfly-"))
    store = await asyncio.to_thread(_open, folder, output)
    is_done = False
    try:
        async with running_host(peer_options_of(options), store, metrics=Metrics()) as host:
            finished = await host.downloads.get(request, on_progress)
            entry = host.downloads.content_of(finished.download_id)
            assert entry is not None
            where = Output(output)
            if finished.content_path:
                await asyncio.to_thread(where.place, finished.content_path)
            else:  # it is encrypted
                await asyncio.to_thread(where.place_entry, entry)
            is_done = True
    finally:
        await asyncio.to_thread(_close, store, folder, is_lasting=is_lasting and not is_done)
    return finished


def peer_options_of(options: EphemeralOptions) -> PeerHostOptions:
    """Return what a peer of its own, with a name of its own, is told about itself.

    Raises:
        UsageError: Its SuperNode can be at no such address.
    """
    if options.supernode and not is_host_port(options.supernode):
        raise UsageError(f"SuperNode {options.supernode!r} is not host:port, such as 10.0.0.1:8002")
    return PeerHostOptions(
        host_id=HostId(f"e-{secrets.token_hex(8)}"),
        supernode=options.supernode,
        listen=options.listen,
        location=options.location,
        is_ephemeral=True,
        uploads=options.uploads,
        source=options.source,
    )


def _open(folder: Path, output: str) -> DiskStore:
    try:
        return open_store(folder, CacheOptions(reserve_bytes=0))
    except StorageUnusableError as exc:
        if not Path(output).parent.is_dir() or not os.access(Path(output).parent, os.W_OK):
            raise OutputError(path=output, reason="its folder cannot be written to") from exc
        raise


def _close(store: DiskStore, folder: Path, *, is_lasting: bool) -> None:
    if is_lasting and store.used_bytes():
        store.close()
        return
    store.abandon()  # nobody needs to find what goes now
    shutil.rmtree(folder, ignore_errors=True)
