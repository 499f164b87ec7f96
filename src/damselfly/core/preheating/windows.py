"""The time of day in which a preheat may run: `22:00-06:00`."""

import re
from dataclasses import dataclass
from typing import Self

from damselfly.errors import UsageError

DAY_MINUTES = 24 * 60

_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """From one minute of the day up to another, over midnight if need be.

    Attributes:
        start_minute: The first one in it.
        stop_minute: The first one after it; the same as the first means the whole day.
    """

    start_minute: int = 0
    stop_minute: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the window written as `22:00-06:00`; empty text is the whole day.

        Raises:
            UsageError: It is none.
        """
        if not text:
            return cls()
        match = _WINDOW.fullmatch(text.replace(" ", ""))
        if not match:
            raise UsageError(f"hours {text[:40]!r} cannot be used: write them as 22:00-06:00")
        start_h, start_m, stop_h, stop_m = (int(each) for each in match.groups())
        return cls(60 * start_h + start_m, 60 * stop_h + stop_m)

    def is_open(self, minute: int) -> bool:
        """Say whether a minute of the day is in it."""
        length = (self.stop_minute - self.start_minute) % DAY_MINUTES or DAY_MINUTES
        return (minute - self.start_minute) % DAY_MINUTES < length
