"""Over how many connections one content is read from its source, and which part over which.

Many sources give each connection a share: object stores some 50 to 100 MB/s, others less by
policy. Others give all they have to the first, and more connections only cost them. Which it is
can only be measured. So reading begins with one. As soon as its rate is known, which takes a
tenth of a second where bytes come fast, and it is less than what is of use, which is what the
links of the hosts carry, the rest is shared out: to as many connections as would carry that if
each had the rate of the first. They stay if they have half as much more together; else the
parts that are on their way are the last ones to be read beside each other.

Parts are given in file order, so that whoever reads along soon goes on, and each is so long that
its own round trip hardly counts. The last ones are of one length and end together. A connection
that lags behind the others then gives half of what it has left to one that has nothing to do.

No byte is asked for twice, but what is on its way when a part is cut.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from damselfly.core.blocks import Span

GAIN_MIN: Final = 1.5  # by chance a rate moves by a quarter
ENOUGH_SHARE: Final = 0.75  # of a link: headers and what else it carries take the rest
LOOK_S: Final = 0.1  # the rate of a fast source is told by so much,
LOOK_BYTES: Final = 4 << 20  # ... if so much came: a far one takes some round trips to be fast,
LOOK_S_MAX: Final = 0.5  # ... and that of any source by so much
TRIAL_S: Final = 0.5  # that each connection has given bytes,
TRIAL_S_MAX: Final = 3.0  # ... since one of many may take long to its first one
PART_S_MIN: Final = 2.0
PART_ROUND_TRIPS: Final = 10  # of its own; one of them is a tenth of the time
PART_BYTES_MIN: Final = 8 << 20
LAG_S: Final = 2.0  # what a part takes longer than the others before it is worth a round trip


@dataclass(slots=True, eq=False)
class Part:
    """What one connection reads.

    Attributes:
        span: What is asked for.
        stop_byte: Where it is left; earlier than the end of the span once it was cut.
        came_bytes: What came of it.
        asked_s: When it was asked for.
        first_s: When the first of it came; None: nothing has.
    """

    span: Span
    stop_byte: int
    asked_s: float
    came_bytes: int = 0
    first_s: float | None = None
    first_bytes: int = 0  # they came with the first; how long they took is not known

    @property
    def position(self) -> int:
        """The byte that comes next."""
        return self.span.start_byte + self.came_bytes

    @property
    def left_bytes(self) -> int:
        """What is still to come."""
        return max(self.stop_byte - self.position, 0)

    def seconds(self, now_s: float) -> float:
        """Return for how long it has come."""
        return 0.0 if self.first_s is None else now_s - self.first_s

    def rate(self, now_s: float) -> float:
        """Return the bytes per second since its first one."""
        seconds = self.seconds(now_s)
        return (self.came_bytes - self.first_bytes) / seconds if seconds else 0.0

    def wanted_s(self, now_s: float) -> float:
        """Return how long the rest of it will take."""
        return self.left_bytes / max(self.rate(now_s), 1.0)


class Ranging:
    """Decides what is asked for next.

    Attributes:
        connections: How many there should be now.
    """

    def __init__(
        self,
        gaps: Iterable[Span],
        *,
        block_bytes: int,
        connections_max: int,
        enough_bytes_per_s: float,
    ) -> None:
        self.connections = 1
        self._block_bytes = block_bytes
        self._max = connections_max
        self._enough = ENOUGH_SHARE * enough_bytes_per_s
        self._waiting = deque(gaps)  # in file order; each begins where a block begins
        self._running: list[Part] = []
        self._round_trip_s = 0.0
        self._rate = 0.0  # of one connection
        self._tried_s: float | None = None  # when the present trial began
        self._is_settled = connections_max <= 1

    def begin(self, now_s: float) -> Part:
        """Return the first part: the answer that is open goes to the end of it."""
        return self._ask(self._waiting.popleft(), now_s)

    def came(self, part: Part, count: int, now_s: float) -> list[Part]:
        """Bytes of a part came; return the parts to ask for now."""
        part.came_bytes += count
        if part.first_s is None:
            part.first_s, part.first_bytes = now_s, part.came_bytes
            self._round_trip_s = max(self._round_trip_s, now_s - part.asked_s)
        if self._is_settled:
            return []
        if self._tried_s is not None:
            self._judge(now_s)
        elif _is_known(part, now_s):
            self._try(part, now_s)
        return self._fill_up(now_s)

    def ended(self, part: Part, now_s: float) -> list[Part]:
        """A part was read to its stop; return the parts to ask for now."""
        self._running.remove(part)
        return self._fill_up(now_s)

    def broke(self, part: Part) -> None:
        """A part will not go on: no other one begins; who asks anew knows what is missing."""
        self._running.remove(part)
        self._waiting.clear()
        self.connections, self._is_settled = 0, True

    # --- how many

    def _try(self, part: Part, now_s: float) -> None:
        """Share out the rest, if one connection is too few."""
        self._rate = part.rate(now_s)
        wanted = math.ceil(self._enough / max(self._rate, 1.0))
        wanted = min(wanted, self._max, self._left_bytes // PART_BYTES_MIN)
        if wanted <= 1:
            self._is_settled = True
            return
        self.connections = wanted
        self._tried_s = now_s
        if rest := self._cut(part, self._not_too_long(self._left_bytes // wanted)):
            self._waiting.appendleft(rest)

    def _judge(self, now_s: float) -> None:
        """Keep the connections of the trial, if they are worth it."""
        assert self._tried_s is not None
        have_begun = all(part.seconds(now_s) >= TRIAL_S for part in self._running)
        if not have_begun and now_s - self._tried_s < TRIAL_S_MAX:
            return
        self._is_settled = True
        rate = sum(part.rate(now_s) for part in self._running)
        if rate < GAIN_MIN * self._rate:
            self.connections = 1
        else:
            self._rate = rate / len(self._running)

    # --- which parts

    @property
    def _left_bytes(self) -> int:
        return sum(map(len, self._waiting)) + sum(part.left_bytes for part in self._running)

    def _fill_up(self, now_s: float) -> list[Part]:
        begun: list[Part] = []
        while len(self._running) < self.connections and (span := self._next_span(now_s)):
            begun.append(self._ask(span, now_s))
        return begun

    def _ask(self, span: Span, now_s: float) -> Part:
        part = Part(span, span.stop_byte, now_s)
        self._running.append(part)
        return part

    def _next_span(self, now_s: float) -> Span | None:
        if not self._waiting:
            return self._half_of_the_last(now_s)
        part_bytes = self._part_bytes()
        gap = self._waiting.popleft()
        stop = gap.start_byte + self._whole_blocks(part_bytes)
        if stop >= gap.stop_byte:
            return gap
        self._waiting.appendleft(Span(stop, gap.stop_byte))
        return Span(gap.start_byte, stop)

    def _part_bytes(self) -> int:
        """Return how much a connection reads next: what makes all end together, or less."""
        waiting = sum(map(len, self._waiting))
        free = self.connections - len(self._running)
        share = waiting // free if free > 1 else self._left_bytes // self.connections
        if free == 1 and waiting - share < max(share // 4, PART_BYTES_MIN, self._block_bytes):
            return waiting  # a short part more would be a round trip more
        return self._not_too_long(share)

    def _not_too_long(self, share_bytes: int) -> int:
        part_s = max(PART_S_MIN, PART_ROUND_TRIPS * self._round_trip_s)
        return max(min(share_bytes, int(self._rate * part_s)), PART_BYTES_MIN)

    def _half_of_the_last(self, now_s: float) -> Span | None:
        """Cut the part that would end last, if it lags behind."""
        known = [part for part in self._running if part.seconds(now_s) >= TRIAL_S]
        last = max(known, key=lambda part: part.wanted_s(now_s), default=None)
        if last is None or last.left_bytes < 2 * PART_BYTES_MIN:
            return None
        if last.wanted_s(now_s) < max(LAG_S, PART_ROUND_TRIPS * self._round_trip_s):
            return None
        return self._cut(last, last.left_bytes // 2)

    def _cut(self, part: Part, left_bytes: int) -> Span | None:
        """Leave a part about so much, to a block's border; return what it has no longer."""
        begun = -(-part.position // self._block_bytes) * self._block_bytes
        # The block after the present one may have been begun.
        stop = begun + self._whole_blocks(left_bytes)
        if stop >= part.stop_byte:
            return None
        rest = Span(stop, part.stop_byte)
        part.stop_byte = stop
        return rest

    def _whole_blocks(self, count: int) -> int:
        return max(round(count / self._block_bytes), 1) * self._block_bytes


def _is_known(part: Part, now_s: float) -> bool:
    """Say whether enough came of a part to tell its rate."""
    seconds = part.seconds(now_s)
    came_bytes = part.came_bytes - part.first_bytes
    return seconds >= LOOK_S_MAX or (seconds >= LOOK_S and came_bytes >= LOOK_BYTES)
