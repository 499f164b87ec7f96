"""When a preheat runs again by itself, and what minute of the day it is; in local time."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from damselfly.errors import UsageError


def check_cron(text: str) -> None:
    """Check that a text says when.

    Raises:
        UsageError: It does not.
    """
    next_run_s(text, after_s=0.0)


def next_run_s(text: str, *, after_s: float) -> float:
    """Return when a job with this cron expression runs next, in seconds since 1970.

    Raises:
        UsageError: It is no cron expression, or names a day that never comes.
    """
    try:
        return next(CronSim(text, _local(after_s))).timestamp()
    except (CronSimError, StopIteration) as exc:
        raise UsageError(
            f"cron {text[:80]!r} cannot be used: write minute, hour, day of the month, month and "
            "day of the week, such as '0 3 * * *'"
        ) from exc


def minute_of_day(wall_s: float) -> int:
    """Return minutes since midnight."""
    local = _local(wall_s)
    return 60 * local.hour + local.minute


def _local(wall_s: float) -> datetime:
    return datetime.fromtimestamp(wall_s, tz=UTC).astimezone()
