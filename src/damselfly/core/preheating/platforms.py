"""Which images of an index are wanted: `linux/amd64`, `linux/arm64/v8`."""

import re
from dataclasses import dataclass
from typing import Self

from damselfly.errors import UsageError

_PLATFORM = re.compile(r"([a-z0-9]+)/([a-z0-9_]+)(?:/([a-z0-9.]+))?")


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on.

    Attributes:
        system: `linux`.
        architecture: `amd64`, as Go names it.
        variant: `v8`; empty: any.
    """

    system: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the platform written as `linux/arm64/v8`.

        Raises:
            UsageError: It is none.
        """
        match = _PLATFORM.fullmatch(text)
        if not match:
            raise UsageError(
                f"platform {text[:40]!r} cannot be used: write it as linux/amd64 or linux/arm64/v8"
            )
        return cls(match[1], match[2], match[3] or "")

    def __str__(self) -> str:
        return "/".join(part for part in (self.system, self.architecture, self.variant) if part)

    def is_met_by(self, other: "Platform") -> bool:
        """Say whether an image for another platform is what this one asks for."""
        if (self.system, self.architecture) != (other.system, other.architecture):
            return False
        return not self.variant or self.variant == other.variant
