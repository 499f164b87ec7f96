"""Pauses between attempts that grow, and that nobody shares.

Source: "full jitter" of Marc Brooker, Exponential Backoff and Jitter (2015): of the variants
the one with the least work for the server.
"""

import random

LATER_SHARE = 0.5  # who is told to come later comes up to half as much later, never before
PAUSE_S_MAX = 60.0  # whatever one is told


def pause_told(told_s: float, rng: random.Random) -> float:
    """Return for how long to stay away when the other side is busy and said when to return."""
    return min(max(told_s, 0.0), PAUSE_S_MAX) * rng.uniform(1.0, 1.0 + LATER_SHARE)


class Backoff:
    """Pauses drawn between 0 and a bound that doubles."""

    def __init__(self, base_s: float, cap_s: float, rng: random.Random) -> None:
        assert 0 < base_s <= cap_s
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng

    def delay_s(self, attempt: int) -> float:
        """Return the pause before an attempt; the first one after a failure is 1."""
        assert attempt >= 1
        doubled = self._base_s * 2.0 ** min(attempt - 1, 60)  # beyond it the cap holds anyway
        return self._rng.uniform(0, min(doubled, self._cap_s))
