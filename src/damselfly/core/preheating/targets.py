"""Where a preheat goes: the SuperNode always, and hosts that are chosen among those here.

Which hosts of a rack, or which share of all, is drawn by rendezvous hashing of the job and the
host: the same job meets the same hosts again, and another job others.
"""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, assert_never

from damselfly.core.peer import Host, HostId, is_host_id
from damselfly.core.topology import Location
from damselfly.errors import UsageError

NAMES_MAX = 1000  # more are better said by a label

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=/-]{0,62}")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)%?")


class TargetKind(StrEnum):
    """What is warm in the end, besides the SuperNode."""

    SUPERNODE = "supernode"
    RACKS = "racks"
    SHARE = "share"
    LOCATION = "location"
    LABEL = "label"
    HOSTS = "hosts"


def is_label(text: str) -> bool:
    """Say whether a text can be a host's label."""
    return bool(_LABEL.fullmatch(text))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The hosts of a target.

    Attributes:
        host_ids: Those that are here.
        missing: Those that were named and are not.
    """

    host_ids: tuple[HostId, ...]
    missing: tuple[HostId, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a preheat goes.

    Attributes:
        kind: How hosts are chosen.
        values: Host ids, or one location, label or percentage.
    """

    kind: TargetKind = TargetKind.SUPERNODE
    values: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the target written as `supernode`, `racks`, `share:25%`, `location:eu/a`, ….

        Raises:
            UsageError: It is none; the message says what one looks like.
        """
        word, _, value = text.strip().partition(":")
        if word not in set(TargetKind):
            raise _wrong(text)
        kind = TargetKind(word)
        if kind in (TargetKind.SUPERNODE, TargetKind.RACKS):
            if value:
                raise _wrong(text)
            return cls(kind)
        values = tuple(each for each in value.split(",") if each)
        if not values or not _fits(kind, values):
            raise _wrong(text)
        return cls(kind, values)

    def __str__(self) -> str:
        return f"{self.kind}:{','.join(self.values)}" if self.values else str(self.kind)

    def choose(self, hosts: Iterable[Host], *, job: str) -> Chosen:
        """Return the hosts of this target among those that are here and can warm a task.

        Args:
            hosts: All that are here.
            job: Names what is preheated; the same job chooses the same hosts.
        """
        able = {host.host_id: host for host in hosts if host.can_warm and not host.is_ephemeral}
        ranked = sorted(able, key=lambda host_id: _rank(job, host_id))
        match self.kind:
            case TargetKind.SUPERNODE:
                return Chosen(())
            case TargetKind.RACKS:
                return Chosen(_one_per_rack(able[host_id] for host_id in ranked))
            case TargetKind.SHARE:
                return Chosen(tuple(ranked[: math.ceil(len(ranked) * _percent(self.values[0]))]))
            case TargetKind.LOCATION:
                place = Location.parse(self.values[0]).parts
                inside = [h for h in ranked if able[h].location.parts[: len(place)] == place]
                return Chosen(tuple(inside))
            case TargetKind.LABEL:
                return Chosen(tuple(h for h in ranked if self.values[0] in able[h].labels))
            case TargetKind.HOSTS:
                named = tuple(HostId(name) for name in dict.fromkeys(self.values))
                return Chosen(
                    tuple(name for name in named if name in able),
                    tuple(name for name in named if name not in able),
                )
            case _:
                assert_never(self.kind)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"target {text[:80]!r} cannot be used: write supernode, racks, share:25%, "
        "location:region/zone, label:NAME or hosts:ID,ID"
    )


def _fits(kind: TargetKind, values: tuple[str, ...]) -> bool:
    if kind is TargetKind.HOSTS:
        return len(values) <= NAMES_MAX and all(is_host_id(each) for each in values)
    if len(values) != 1:
        return False
    if kind is TargetKind.SHARE:
        return bool(_PERCENT.fullmatch(values[0])) and 0 < _percent(values[0]) <= 1
    if kind is TargetKind.LABEL:
        return is_label(values[0])
    try:
        return bool(Location.parse(values[0]).parts)
    except UsageError:
        return False


def _percent(text: str) -> float:
    return float(text.removesuffix("%")) / 100


def _rank(job: str, host_id: HostId) -> tuple[bytes, HostId]:
    return hashlib.sha256(f"{job}\n{host_id}".encode()).digest(), host_id


def _one_per_rack(ranked: Iterable[Host]) -> tuple[HostId, ...]:
    """Return the first host of each location; hosts of unknown place are one rack."""
    racks: dict[Location, list[HostId]] = defaultdict(list)
    for host in ranked:
        racks[host.location].append(host.host_id)
    return tuple(hosts[0] for _, hosts in sorted(racks.items(), key=lambda each: str(each[0])))
