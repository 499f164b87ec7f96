"""Pauses between attempts that grow, and that nobody shares.

Source: "full jitter" of Marc Brooker, Exponential Backoff and Jitter (2015): of the variants
the one with the least work for the server.
"""

import random


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
