"""A peer inside a program that has no daemon, spoken with as with a daemon.

Its cache is in a folder that the program throws away.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from damselfly.services.hosting.daemon import LocalDownloads
from damselfly.services.hosting.ephemeral import peer_options_of
from damselfly.services.hosting.host_view import HostView
from damselfly.services.hosting.local_contents import LocalContents
from damselfly.services.hosting.peer_host import running_host
from damselfly.services.options import CacheOptions, DaemonOptions, EphemeralOptions
from damselfly.services.peering.web_server import serving_unix
from damselfly.services.stores import open_store
from damselfly.telemetry.metrics import Metrics


@contextlib.asynccontextmanager
async def serving_locally(options: EphemeralOptions, folder: Path) -> AsyncIterator[str]:
    """Be a peer inside the block, with a cache in a folder; gives the path of its socket.

    What runs inside speaks with it as with a daemon.

    Raises:
        DamselflyError: It cannot start.
    """
    store = await asyncio.to_thread(open_store, folder / "cache", CacheOptions(reserve_bytes=0))
    path = str(folder / "peer.sock")
    peer_options = peer_options_of(options)
    metrics = Metrics()
    try:
        async with running_host(peer_options, store, metrics=metrics) as host:
            daemon = DaemonOptions(supernode=options.supernode, data=str(folder))
            view = HostView(daemon, host, store, metrics)
            app = LocalDownloads(host.downloads, view.status).routes()
            LocalContents(host.downloads).add_to(app)
            async with serving_unix(app, path, mode=0o600, group_id=-1):
                yield path
                host.end()
    finally:
        store.abandon()  # its folder goes, too
