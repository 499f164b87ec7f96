"""Where hosts are, and how near two of them are to each other."""

import re
from dataclasses import dataclass
from typing import Self

from damselfly.errors import UsageError

_PART = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PARTS_MAX = 8  # region / zone / building / room / row / rack / chassis / host


@dataclass(frozen=True, slots=True)
class Location:
    """A path from the widest place to the narrowest, such as region, zone, rack.

    Attributes:
        parts: The path; empty when nothing is known.
    """

    parts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the location written as `region/zone/rack`; empty text is the unknown place.

        Raises:
            UsageError: A part is empty or has characters that no place name needs.
        """
        parts = tuple(text.strip("/").split("/")) if text.strip("/") else ()
        if len(parts) > _PARTS_MAX or not all(_PART.fullmatch(part) for part in parts):
            msg = (
                f"location {text!r} cannot be used: write names of letters, digits and ._:- "
                f"separated by '/', at most {_PARTS_MAX}, such as eu/zone-a/rack-7"
            )
            raise UsageError(msg)
        return cls(parts)

    def __str__(self) -> str:
        return "/".join(self.parts)


def affinity(left: Location, right: Location) -> int:
    """Return how near two locations are: the length of their common prefix, 0 is farthest."""
    if left.parts == right.parts:  # this and no generator: it is asked 200 times per join
        return len(left.parts)
    shared = 0
    for one, other in zip(left.parts, right.parts, strict=False):
        if one != other:
            break
        shared += 1
    return shared
