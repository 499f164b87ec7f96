"""A SuperNode and hosts inside the test's own process, with real ports and real disks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from damselfly.core.peer import HostId
from damselfly.faces.api.server import add_api
from damselfly.services.hosting.peer_host import PeerHost, PeerHostOptions, running_host
from damselfly.services.options import (
    CacheOptions,
    SourceOptions,
    SuperNodeOptions,
    UploadOptions,
)
from damselfly.services.stores import open_store
from damselfly.services.supernode.supernode_run import run_supernode
from damselfly.telemetry.metrics import Metrics

CACHE = CacheOptions(reserve_bytes=0)
SOURCE = SourceOptions(retries_max=1, connect_timeout_s=2.0, stall_timeout_s=5.0)


@contextlib.asynccontextmanager
async def a_supernode(
    folder: Path,
    source: SourceOptions = SOURCE,
    **more: Any,  # noqa: ANN401  # of SuperNodeOptions
) -> AsyncIterator[str]:
    """Run a SuperNode inside the block; gives its address."""
    options = SuperNodeOptions(
        listen="127.0.0.1:0",
        data=str(folder / "supernode"),
        source=source,
        **{"cache": CACHE, **more},
    )
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_supernode(options, add_api=add_api, on_ready=ready.set_result, stop=stop)
        )
        try:
            yield await ready
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def a_host(
    folder: Path,
    name: str,
    supernode: str = "",
    source: SourceOptions = SOURCE,
    *,
    quota_bytes: int = 0,
    **more: Any,  # noqa: ANN401  # of PeerHostOptions
) -> AsyncIterator[PeerHost]:
    """Run a host inside the block; without an address it has no SuperNode."""
    options = PeerHostOptions(
        host_id=HostId(f"h-{name}"),
        supernode=supernode,
        listen="127.0.0.1:0",
        uploads=UploadOptions(),
        source=source,
        **more,
    )
    store = open_store(folder / name, CacheOptions(quota_bytes=quota_bytes, reserve_bytes=0))
    try:
        async with running_host(options, store, metrics=Metrics()) as host:
            yield host
    finally:
        store.close()
