"""Who may use the proxy, and where it may lead: addresses and networks."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

Address = IPv4Address | IPv6Address


@lru_cache(maxsize=1024)  # asked for each block that is sent: a swarm has fewer neighbours
def address_of(text: str) -> Address | None:
    """Return an address, an IPv4 one behind IPv6 as what it is; None when it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_loopback(text: str) -> bool:
    """Say whether an address can be reached from its own host alone."""
    address = address_of(text)
    return address is not None and address.is_loopback


def is_for_host_alone(text: str) -> bool:
    """Say whether an address means another thing on each host.

    Loopback, "this host" and link-local ones, where clouds answer with a machine's secrets:
    what a client elsewhere cannot mean, and must not reach through us.
    """
    address = address_of(text)
    if address is None:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified


class Networks:
    """A list of networks."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Return the networks written as `10.0.0.0/8`, `fd00::/8` or one address.

        Raises:
            ValueError: One is none.
        """
        networks: list[IPv4Network | IPv6Network] = []
        for text in texts:
            try:
                networks.append(ip_network(text))
            except ValueError as exc:
                raise ValueError(f"{text!r} is no network such as 10.0.0.0/8: {exc}") from exc

        return cls(networks)

    def __contains__(self, address: str) -> bool:
        found = address_of(address)
        return found is not None and any(
            found.version == network.version and found in network for network in self._networks
        )
