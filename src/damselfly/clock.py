"""The one place that reads a clock."""

import time


def now_s() -> float:
    """Return seconds on a clock that never goes back; its zero means nothing."""
    return time.monotonic()  # noqa: TID251  # the one place


def local_minute() -> int:
    """Return the minute of the day, as people here count it."""
    now = time.localtime()
    return now.tm_hour * 60 + now.tm_min


def thread_cpu_s() -> float:
    """Return seconds of CPU that this thread has used."""
    return time.thread_time()


def wall_s() -> float:
    """Return seconds since 1970, for time stamps that outlive the process."""
    return time.time()  # noqa: TID251  # the one place
