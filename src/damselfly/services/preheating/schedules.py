"""When a preheat runs again by itself, in local time."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from cronsim import CronSim, CronSimError

from damselfly.errors import UsageError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Here(tzinfo):
    """This machine's time zone, with its summers and winters.

    What `astimezone()` gives knows the offset of one moment alone: with it, what is to run at
    three would run an hour off, or twice, on the day when the clocks change.
    """

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:  # noqa: ARG002  # nobody asks
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        return _local((dt.replace(tzinfo=UTC) - _EPOCH).total_seconds())


_HERE: Final = _Here()  # one, since times of the same zone are compared as its clocks show them


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


def _local(wall_s: float) -> datetime:
    return datetime.fromtimestamp(wall_s).replace(tzinfo=_HERE)  # noqa: DTZ006  # it gets its zone
