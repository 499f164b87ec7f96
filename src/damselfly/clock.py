"""The one place that reads a clock."""

import time


def now_s() -> float:
    """Return seconds on a clock that never goes back; its zero means nothing."""
    return time.monotonic()  # noqa: TID251  # the one place


def local_minute(at_wall_s: float | None = None) -> int:
    """Return the minute of the day of a moment, or of now, as people here count it."""
    now = time.localtime(at_wall_s)
    return now.tm_hour * 60 + now.tm_min


def thread_cpu_s() -> float:
    """Return seconds of CPU that this thread has used."""
    return time.thread_time()


def wall_s() -> float:
    """Return seconds since 1970, for time stamps that outlive the process."""
    return time.time()  # noqa: TID251  # the one place
