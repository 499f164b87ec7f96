"""The daemon's port for programs of its host: registry mirror and HTTP proxy on one."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from damselfly.faces.proxy.mirror import Mirror
from damselfly.services.options import DaemonOptions
from damselfly.services.peer_host import PeerHost
from damselfly.services.registries import Registries
from damselfly.services.web_server import serving


@contextlib.asynccontextmanager
async def serving_programs(options: DaemonOptions, host: PeerHost) -> AsyncIterator[str]:
    """Serve the programs of a host; gives the `host:port`, empty when the settings say so.

    Raises:
        AddressInUseError: Somebody else listens there.
    """
    if not options.proxy.listen:
        yield ""
        return
    mirror = Mirror(
        options.mirror,
        Registries(options.registries),
        downloads=host.downloads,
        source=host.source,
    )
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", mirror.handle)
    # An engine that goes away gives up what it asked for.
    async with serving(app, options.proxy.listen, cancels=True) as address:
        yield address
