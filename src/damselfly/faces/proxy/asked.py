"""A request to the registry mirror that has been understood."""

from dataclasses import dataclass

from aiohttp import web

from damselfly.faces.proxy.registry_tokens import for_registry
from damselfly.services.registries import Registry
from damselfly.transport.sources.http import HttpSource
from damselfly.wire.registry_paths import RegistryPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that has been understood.

    Attributes:
        registry: Where it leads.
        source: Asks it, for this client.
        path: What it is about, by the name that the repository has there.
        query: For the registry.
        ns: What the query says of the registry; empty: nothing.
        name: The repository's name here.
        is_named: The request itself says which registry is meant.
    """

    request: web.Request
    registry: Registry
    source: HttpSource
    path: RegistryPath
    query: str
    ns: str
    name: str
    is_named: bool

    def headers(self, *names: str) -> tuple[tuple[str, str], ...]:
        """Return the headers of the request with these names, each of their lines."""
        given = self.request.headers
        lines = ((name, value) for name in names for value in given.getall(name, ()))
        told = (
            (name, for_registry(value) if name == "Authorization" else value)
            for name, value in lines
        )
        return tuple((name, value) for name, value in told if value)
