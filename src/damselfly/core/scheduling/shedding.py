"""Who is told to come later, so that the SuperNode stays in time for those who are there.

All messages wait in one queue, that of the event loop. Once it is longer than a host's patience
the sessions break, their hosts open new ones, and each costs more than what it asked for: so
load is shed before. What takes most, new sessions and joins, is put off; what is under way
goes on. Each that is put off gets a later place than the one before it, so that they come back
at a rate that can be served and not all at once.
"""

import math

LATE_S = 1.0  # a ping must be answered within 2.5 s (transport/conversation.py)
EASED_S = 0.25  # shedding ends well below where it begins, or it would flutter
RETURNS_PER_S = 500  # half of what one core can take in (bench/joins.py): the rest is for others
PAUSE_S_MIN = 1
PAUSE_S_MAX = 30  # longer than that the picture has changed anyway
FULL_PAUSE_S = 30  # room comes only when hosts leave
SESSIONS_MAX = 20_000  # each costs about 50 KiB
# What strangers can make us hold is the product: who has said hello is a stranger no more.
HELLOS_AWAITED_MAX = 512


class Shedding:
    """Decides who comes in now and who later.

    Attributes:
        is_late: Load is being shed.
    """

    def __init__(self) -> None:
        self.is_late = False
        self._next_return_s = 0.0  # when the next one that is put off may come back

    def session_pause_s(self, *, sessions: int, awaited: int, delay_s: float, now_s: float) -> int:
        """Return 0 if a host may open a session now, else after how many seconds it may.

        Args:
            sessions: How many there are.
            awaited: How many of them have not said hello yet.
            delay_s: How late the event loop is.
            now_s: The time.
        """
        if sessions >= SESSIONS_MAX:
            return FULL_PAUSE_S
        if awaited >= HELLOS_AWAITED_MAX:
            return self._put_off(now_s)
        return self.join_pause_s(delay_s=delay_s, now_s=now_s)

    def join_pause_s(self, *, delay_s: float, now_s: float) -> int:
        """Return 0 if a host may join a task now, else after how many seconds it may."""
        self.is_late = delay_s >= (EASED_S if self.is_late else LATE_S)
        return self._put_off(now_s) if self.is_late else 0

    def _put_off(self, now_s: float) -> int:
        earliest_s = now_s + PAUSE_S_MIN
        self._next_return_s = max(self._next_return_s, earliest_s) + 1 / RETURNS_PER_S
        return min(math.ceil(self._next_return_s - now_s), PAUSE_S_MAX)
