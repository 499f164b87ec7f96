"""How much of a source may be used, and whether it is asked at all.

A **budget** limits connections and bytes per second for the hosts that a pattern matches, all day
or in some hours of it; the first one that matches holds. A **circuit** opens when a source has
failed several times in a row: from then on it is not asked, and who wants something of it is told
at once, until a pause is over. Then one request tries; each failure doubles the pause.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field

from damselfly.core.hours import Hours
from damselfly.errors import UsageError

PAUSE_S_MAX = 300.0  # who mends a source should not wait longer for us to see it


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRule:
    """A limit for all hosts together that a pattern matches.

    Attributes:
        hosts: Pattern of the source's host, with `*` for anything; with a port if it has one.
        hours: When it holds, such as `08:00-18:00`, by this machine's clock; empty is always.
        connections_max: Requests at a time; 0 is no limit.
        rate_bytes_per_s: Bytes read; 0 is no limit.
    """

    hosts: str = "*"
    hours: str = ""
    connections_max: int = 0
    rate_bytes_per_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("hosts must be a pattern, such as *.example.com")
        if self.connections_max < 0:
            raise ValueError("connections_max must not be negative")
        if self.rate_bytes_per_s < 0:
            raise ValueError("rate must not be negative")
        try:
            Hours.parse(self.hours)
        except UsageError as exc:
            raise ValueError(str(exc)) from exc

    def holds(self, host: str, minute: int) -> bool:
        """Say whether it holds for a host at a minute of the day."""
        name = host.rpartition(":")[0] if ":" not in self.hosts and ":" in host else host
        if not fnmatch.fnmatchcase(name.lower(), self.hosts.lower()):
            return False
        return minute in Hours.parse(self.hours)


def budget_of(host: str, rules: Sequence[BudgetRule], *, minute: int) -> BudgetRule | None:
    """Return the budget that holds for a host at a minute of the day, the first that matches."""
    return next((rule for rule in rules if rule.holds(host, minute)), None)


def retry_after_s(headers: Sequence[tuple[str, str]]) -> float:
    """Return the seconds of a Retry-After header, 0 where there is none, or one with a date."""
    for name, value in headers:
        text = value.strip()
        if name.lower() == "retry-after" and text.isascii() and text.isdigit():
            return float(text)
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ill:
    """Why a source is not asked now.

    Attributes:
        since_s: When it began to fail.
        retry_s: When it is tried again.
        reason: What was last wrong with it.
    """

    since_s: float
    retry_s: float
    reason: str


@dataclass(slots=True)
class Circuit:
    """Whether one source is asked.

    Attributes:
        failures_max: Failures in a row after which it is ill.
        pause_s: For how long it is left alone at first.
    """

    failures_max: int
    pause_s: float
    _failures: int = 0
    _since_s: float = 0.0
    _retry_s: float = 0.0
    _next_pause_s: float = 0.0
    _is_trying: bool = False
    _reason: str = field(default="", repr=False)

    def ask(self, *, now_s: float) -> Ill | None:
        """Return why the source is not asked now; None: it is, and the outcome must be told."""
        if self._failures < self.failures_max:
            return None
        if now_s >= self._retry_s and not self._is_trying:
            self._is_trying = True
            return None
        retry_s = max(self._retry_s, now_s)
        return Ill(since_s=self._since_s, retry_s=retry_s, reason=self._reason)

    def succeed(self) -> None:
        """It answered as a healthy one does."""
        self._failures, self._is_trying, self._next_pause_s = 0, False, 0.0

    def fail(self, reason: str, *, now_s: float, retry_after_s: float = 0.0) -> bool:
        """It did not; returns whether it is ill from now on.

        Args:
            reason: What was wrong.
            now_s: The time.
            retry_after_s: For how long it asked to be left alone itself.
        """
        if not self._failures:
            self._since_s = now_s
        self._failures += 1
        self._reason, self._is_trying = reason, False
        if self._failures < self.failures_max:
            return False
        was_ill = bool(self._next_pause_s)
        pause_s = self._next_pause_s or self.pause_s
        self._next_pause_s = min(2 * pause_s, PAUSE_S_MAX)
        self._retry_s = now_s + max(pause_s, min(retry_after_s, PAUSE_S_MAX))
        return not was_ill

    def give_up(self) -> None:
        """Whoever asked went away before there was an outcome."""
        self._is_trying = False
