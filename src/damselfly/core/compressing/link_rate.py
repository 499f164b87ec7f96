"""What a link carries, and whether it is the link at all that transfers wait for.

Nobody tells what a link carries: the nominal rate of a card says nothing about the tunnel, the
tenant's limit or the switch behind it. But who sends without a pause achieves it. So time is cut
into bins, each upload is spread evenly over those that it took, and the best of the bins in which
there always was something to send is taken as the rate, over the last minutes of sending.

Where the CPUs had nothing to spare in such bins, the rate is that of the CPUs and not of the link.
Then less on the wire makes nobody faster, and whatever costs CPU makes somebody slower.
"""

import statistics
from typing import Final

BIN_S: Final = 0.25  # shorter, and single blocks show; longer, and a short rollout fills none
BINS_MAX: Final = 1000  # with traffic: some four minutes of sending
FULL_SHARE: Final = 0.8  # of a bin in which something was sent; between blocks there are pauses
FULL_BINS_MIN: Final = 2  # one alone may be a burst that a buffer took
NEAR_SHARE: Final = 0.7  # of the best rate: as fast as it goes
BUSY_SHARE: Final = 0.9  # of the CPUs' time: the rest is what a look at it misses
# What was achieved is what the receivers of the moment took; a few slow ones must not make
# encoders slower than fast ones bear. Below this all levels are fast enough anyway.
RATE_MIN: Final = 12.5e6
UPLOAD_S_MAX: Final = 60.0  # of an upload that is spread over bins; longer ones tell nothing


class _Bin:
    """What happened in a bin.

    Attributes:
        sent_bytes: Sent in it.
        sending_s: Seconds of uploads in it, all together.
        cpu_share: How busy the CPUs were, if somebody looked.
    """

    __slots__ = ("cpu_share", "sending_s", "sent_bytes")

    def __init__(self) -> None:
        self.sent_bytes = 0.0
        self.sending_s = 0.0
        self.cpu_share: float | None = None

    @property
    def is_full(self) -> bool:
        """There was something to send for all of its time."""
        return self.sending_s >= FULL_SHARE * BIN_S


class LinkRate:
    """Learns from what is sent.

    Args:
        assumed_bytes_per_s: The rate before anything was learned.
        told_bytes_per_s: The rate as an operator says; 0: it is to be measured.
    """

    def __init__(self, *, assumed_bytes_per_s: float, told_bytes_per_s: float = 0.0) -> None:
        self._assumed = assumed_bytes_per_s
        self._told = told_bytes_per_s
        # {number of a bin since the clock's zero: it}, the first one first.
        self._bins: dict[int, _Bin] = {}

    def on_sent(self, sent_bytes: int, began_s: float, ended_s: float) -> None:
        """An upload has ended."""
        taken_s = min(max(ended_s - began_s, 1e-4), UPLOAD_S_MAX)
        began_s = ended_s - taken_s
        for number in range(int(began_s // BIN_S), int(ended_s // BIN_S) + 1):
            inside_s = min(ended_s, (number + 1) * BIN_S) - max(began_s, number * BIN_S)
            if inside_s > 0:
                one = self._bin(number)
                one.sending_s += inside_s
                one.sent_bytes += sent_bytes * inside_s / taken_s

    def on_load(self, cpu_share: float, *, now_s: float) -> None:
        """Somebody looked how busy the CPUs were in the time of a bin until now."""
        number = int((now_s - BIN_S / 2) // BIN_S)
        self._bin(number).cpu_share = cpu_share

    def _bin(self, number: int) -> _Bin:
        found = self._bins.get(number)
        if found is None:
            found = self._bins[number] = _Bin()
            if len(self._bins) > BINS_MAX:
                self._forget()
        return found

    def _forget(self) -> None:
        """Let the oldest go, those in which nothing was sent first."""
        idle = [number for number, one in self._bins.items() if not one.sending_s]
        for number in idle[:-2] or list(self._bins)[: BINS_MAX // 10]:  # the last may still be used
            del self._bins[number]

    def _full(self) -> list[_Bin]:
        return [one for one in self._bins.values() if one.is_full]

    @property
    def bytes_per_s(self) -> float:
        """What the link carries, as far as is known."""
        if self._told:
            return self._told
        rates = sorted(one.sent_bytes / BIN_S for one in self._full())
        if len(rates) < FULL_BINS_MIN:
            return self._assumed
        return max(rates[-FULL_BINS_MIN], RATE_MIN)

    @property
    def is_cpu_bound(self) -> bool:
        """When most was sent, the CPUs had no more to give."""
        full = self._full()
        best = max((one.sent_bytes for one in full), default=0.0)
        shares = [
            one.cpu_share
            for one in full
            if one.cpu_share is not None and one.sent_bytes >= NEAR_SHARE * best
        ]
        return len(shares) >= FULL_BINS_MIN and statistics.median(shares) >= BUSY_SHARE
