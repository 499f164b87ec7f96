"""Hosts: who takes part, where it is and what it can do."""

import re
from dataclasses import dataclass
from typing import NewType

from damselfly.core.topology import Location

HostId = NewType("HostId", str)

SUPERNODE = HostId("supernode")
"""The SuperNode's own id as a parent; no other host may take it."""

_HOST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_host_id(text: str) -> bool:
    """Say whether a text can be a host's id."""
    return bool(_HOST_ID.fullmatch(text)) and text != SUPERNODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that takes part.

    Attributes:
        host_id: Its id; stays the same over restarts of a daemon, fresh for each dfget.
        address: `host:port` under which other hosts reach it; empty: it cannot upload.
        location: Where it is.
        upload_slots: Uploads at a time.
        is_ephemeral: A dfget without daemon: leaves when its download ends.
        labels: What operators call it, to choose it by: `gpu`, `pool=training`.
        can_warm: It warms tasks when it is told to.
    """

    host_id: HostId
    address: str
    location: Location = Location()
    upload_slots: int = 4
    is_ephemeral: bool = False
    labels: tuple[str, ...] = ()
    can_warm: bool = False
