"""How far a client of the mirror is led: clients on other hosts not to what is this host's alone.

Where the operator's settings lead, everybody may be led who may use the mirror.
"""

from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import web

from damselfly.core.proxying.networks import address_of
from damselfly.core.proxying.rules import DEFAULT_PORTS
from damselfly.faces.proxy.access import check_destination, client_of
from damselfly.services.registries import Registry
from damselfly.transport.sources.http import HttpSource


class Reach:
    """Asks registries for clients."""

    def __init__(self, source: HttpSource) -> None:
        self._source = source
        self._guarded = source.guarded()

    def source_for(self, request: web.Request, registry: Registry) -> HttpSource:
        """Return what asks a registry for a client.

        Raises:
            RefusedError: The request leads back here, or where its client may not be led.
        """
        client = client_of(request)
        client = replace(client, is_here=client.is_here or registry.is_listed)
        for base in registry.bases:
            parts = urlsplit(base)
            host = parts.hostname or ""
            address = "127.0.0.1" if host == "localhost" else host
            if address_of(address) is not None:
                port = parts.port or DEFAULT_PORTS[parts.scheme]
                check_destination(client, host, port, [address])
        return self._source if client.is_here else self._guarded

    async def close(self) -> None:
        """Close the connections that are not shared with others."""
        await self._guarded.close()
