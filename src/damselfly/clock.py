"""The one place that reads a clock."""

import time


def now_s() -> float:
    """Return seconds on a clock that never goes back; its zero means nothing."""
    return time.monotonic()  # noqa: TID251  # the one place


def wall_s() -> float:
    """Return seconds since 1970, for time stamps that outlive the process."""
    return time.time()  # noqa: TID251  # the one place
