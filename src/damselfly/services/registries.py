"""Where registries are: from the name in an image's name to URLs."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from damselfly.services.options import RegistryOptions
from damselfly.transport.sources.http import Trust, origin_of
from damselfly.wire.registry_paths import RegistryPath, parse_registry_name

DOCKER_HUB: Final = "docker.io"
DOCKER_HUB_URL: Final = "https://registry-1.docker.io"
DOCKER_HUB_NAMES: Final = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry.

    Attributes:
        name: As image names have it.
        bases: URLs at which its contents are, in the order in which they are asked.
        prefix: Goes before the name of each repository.
        is_listed: The settings have it.
    """

    name: str
    bases: tuple[str, ...]
    prefix: str = ""
    is_listed: bool = False

    def url(self, base: str, path: RegistryPath, query: str = "") -> str:
        """Return where a path of this registry is, at one of its bases."""
        rest = str(path).removeprefix("/v2/")
        if self.prefix and rest:
            rest = f"{self.prefix}/{rest}"
        return f"{base}/v2/{rest}" + (f"?{query}" if query else "")


class Registries:
    """All registries: those of the settings, and any other at its own name."""

    def __init__(self, known: Iterable[RegistryOptions]) -> None:
        self._known = {_canonical(each.name): each for each in known}

    def find(self, name: str) -> Registry:
        """Return the registry of a name.

        Raises:
            RegistryPathError: It is no name of a registry.
        """
        name = _canonical(name)
        options = self._known.get(name, RegistryOptions(name=name))
        bases = (*options.mirrors, options.url or _usual_url(name))
        return Registry(
            name,
            tuple(base.rstrip("/") for base in bases),
            prefix=options.prefix.strip("/"),
            is_listed=name in self._known,
        )


def trusts_of(known: Iterable[RegistryOptions]) -> dict[str, Trust]:
    """Return {origin: how it is verified} for the registries that have it in their settings."""
    trusts: dict[str, Trust] = {}
    for each in known:
        if each.ca_file or each.insecure:
            for base in (*each.mirrors, each.url or _usual_url(_canonical(each.name))):
                trusts[origin_of(base)] = Trust(each.ca_file, each.insecure)
    return trusts


def _canonical(name: str) -> str:
    name = parse_registry_name(name)
    return DOCKER_HUB if name in DOCKER_HUB_NAMES else name


def _usual_url(name: str) -> str:
    if name == DOCKER_HUB:
        return DOCKER_HUB_URL
    host = urlsplit(f"//{name}").hostname or ""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return f"{'http' if is_loopback else 'https'}://{name}"
