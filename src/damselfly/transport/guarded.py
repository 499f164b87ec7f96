"""Connections for clients elsewhere: to nothing that is this host's alone."""

import socket
from typing import TYPE_CHECKING

from damselfly.core.proxying.networks import is_for_host_alone

if TYPE_CHECKING:
    from aiohappyeyeballs import AddrInfoType


def guarded_socket(info: "AddrInfoType") -> socket.socket:
    """Return a socket for an address that clients elsewhere may be led to.

    It is asked for each connection, so neither a name nor a redirect leads around it.

    Raises:
        PermissionError: They may not; it has no number, since no kernel said so.
    """
    family, kind, protocol, _, address = info
    if is_for_host_alone(str(address[0])):
        raise PermissionError(None, "clients on other hosts may not reach it through this one")
    return socket.socket(family, kind, protocol)
