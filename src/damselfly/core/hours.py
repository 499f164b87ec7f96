"""A time of the day in which something may be done, or holds: `22:00-06:00`."""

import re
from dataclasses import dataclass
from typing import Final, Self

from damselfly.errors import UsageError

DAY_MINUTES: Final = 24 * 60

_HOURS: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-(?:([01]?\d|2[0-3]):([0-5]\d)|24:00)")


@dataclass(frozen=True, slots=True)
class Hours:
    """From one minute of the day up to another, over midnight if need be.

    Attributes:
        start_minute: The first one in it.
        stop_minute: The first one after it; the same as the first means the whole day, since
            nobody writes down hours that never come.
    """

    start_minute: int = 0
    stop_minute: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the hours written as `22:00-06:00` or `18:00-24:00`; no text is the whole day.

        Raises:
            UsageError: They are none; the message says what some look like.
        """
        if not text:
            return cls()
        match = _HOURS.fullmatch(text.replace(" ", ""))
        if not match:
            raise UsageError(f"hours {text[:40]!r} cannot be used: write them as 22:00-06:00")
        start_h, start_m, stop_h, stop_m = (int(each or 0) for each in match.groups())
        return cls(60 * start_h + start_m, 60 * stop_h + stop_m)

    def __contains__(self, minute: int) -> bool:
        """Say whether a minute of the day lies in them."""
        length = (self.stop_minute - self.start_minute) % DAY_MINUTES or DAY_MINUTES
        return (minute - self.start_minute) % DAY_MINUTES < length
