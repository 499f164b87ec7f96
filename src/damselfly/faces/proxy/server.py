"""The daemon's port for programs of its host: registry mirror, model hub, HTTP proxy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import web

from damselfly.faces.proxy.forward import ForwardProxy
from damselfly.faces.proxy.hub import PREFIX as HUB_PREFIX, Hub
from damselfly.faces.proxy.mirror import Mirror
from damselfly.faces.proxy.shared import Sharing
from damselfly.services.ca_files import certificate_path
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import DaemonOptions
from damselfly.services.peering.web_server import serving
from damselfly.services.registries import Registries
from damselfly.settings import read_proxy_secret

if TYPE_CHECKING:
    from damselfly.services.own_ca import OwnCa


@contextlib.asynccontextmanager
async def serving_programs(options: DaemonOptions, host: PeerHost) -> AsyncIterator[str]:
    """Serve the programs of a host; gives the `host:port`, empty when the settings say so.

    Raises:
        AddressInUseError: Somebody else listens there.
        SettingsError: It would be an open proxy.
        StorageUnusableError: The CA cannot be written.
    """
    if not options.proxy.listen:
        yield ""
        return
    mirror = Mirror(
        options.mirror,
        Registries(options.registries),
        downloads=host.downloads,
        source=host.source,
        on_pushed=host.tell_pushed,
    )
    proxy = ForwardProxy(
        options.proxy,
        options.source,
        secret=read_proxy_secret(options.proxy),
        share=Sharing(host.downloads).share,
        load_ca=lambda: _load_ca(options.data),
        count=lambda way: host.metrics.proxy_requests.labels(way).inc(),
    )
    hub = Hub(options.source, downloads=host.downloads)
    await asyncio.to_thread(_make_ca, options.data)
    app = web.Application(middlewares=[proxy.middleware()])
    app.router.add_route("*", f"{HUB_PREFIX}/{{path:.*}}", hub.handle)
    app.router.add_route("*", "/{path:.*}", mirror.handle)
    try:
        # An engine that goes away gives up what it asked for.
        async with serving(app, options.proxy.listen, cancels=True) as address:
            try:
                yield address
            finally:
                proxy.end()
    finally:
        await hub.close()
        await mirror.close()
        await proxy.close()


# Certificates cost 30 ms and 8 MB, so whoever needs none does not load them.


def _make_ca(data: str) -> None:
    if not certificate_path(data).exists():
        from damselfly.services.own_ca import make_ca  # noqa: PLC0415

        make_ca(data)


def _load_ca(data: str) -> "OwnCa":
    from damselfly.services.own_ca import load_ca  # noqa: PLC0415

    return load_ca(data)
