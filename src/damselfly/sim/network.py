"""A network of links that flows share fairly, as a fluid.

A flow runs over two links (uplink of the giver, downlink of the taker) or four (also up and
down the racks' links). Rates are max-min fair: no flow can have more without taking from one
that has less, which is where TCP flows of equal round trip settle.

Time goes in steps. At the start of a step all rates are computed at once, by arrays, and hold
until its end; who asks whom for what happens between, at exact times. What a flow that ends
within a step leaves unused is credited to its links in the next step, and a flow that begins
within a step is entitled to the time since; so no link ever carries more than its rate times
the time, and a step costs no throughput. Without the credit the result would depend on the
step; with it, steps of 1/8 and of 1/64 of a transfer agree within 1 %.

Source: iterated water-filling, warm from step to step, as in the shared scheduling study.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 4  # of water-filling per step: it begins where the last step ended
_SLACK = 1 + 1e-9
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Ended:
    """A flow whose last byte has left.

    Attributes:
        flow: Its number.
        at_s: When.
    """

    flow: int
    at_s: float


class Network:
    """Links and the flows over them.

    Attributes:
        carried_bytes: {link: bytes it has carried}.
        now_s: End of the last step.
    """

    def __init__(self, rates_bytes_per_s: Sequence[float], *, route_links: int) -> None:
        self._nowhere = len(rates_bytes_per_s)  # fills routes shorter than `route_links`
        self._rates: Floats = np.array([*rates_bytes_per_s, 1e30])
        self._links = len(self._rates)
        self._route_links = route_links
        self._share = self._rates.copy()  # of each link, for a flow that this link limits
        self._credit: Floats = np.zeros(self._links)
        self.carried_bytes: Floats = np.zeros(self._links)
        self.now_s = 0.0
        # One column per flow.
        self._routes: Ints = np.empty((route_links, 0), dtype=np.int64)
        self._left: Floats = np.empty(0)
        self._since_s: Floats = np.empty(0)
        self._flows: Ints = np.empty(0, dtype=np.int64)
        self._new: list[tuple[int, float, float, Sequence[int]]] = []
        self._cancelled: set[int] = set()
        self._known: set[int] = set()
        self._next_flow = 0

    @property
    def flow_count(self) -> int:
        """How many flows there are."""
        return len(self._known)

    def set_rate(self, link: int, rate_bytes_per_s: float) -> None:
        """Change a link, from the next step on."""
        self._rates[link] = rate_bytes_per_s
        self._credit[link] = 0.0

    def start(self, route: Sequence[int], size_bytes: float, *, now_s: float) -> int:
        """Begin a flow; return its number."""
        flow = self._next_flow
        self._next_flow += 1
        self._new.append((flow, size_bytes, now_s, route))
        self._known.add(flow)
        return flow

    def cancel(self, flow: int) -> None:
        """End a flow before its time; one that has ended is fine."""
        if flow in self._known:
            self._known.discard(flow)
            self._cancelled.add(flow)

    def step(self, until_s: float) -> list[Ended]:
        """Let all flows run to a time; return those that end until then, in order.

        Flows that are cancelled before their end are still returned if they are cancelled
        within the step; `is_running` tells.
        """
        self._take_in()
        length_s = until_s - self.now_s
        assert length_s > 0
        if not len(self._flows):
            self._credit[:] = 0.0
            self.now_s = until_s
            return []
        # A flow that began within the last step has had nothing yet: more than one step's time.
        weights = (until_s - self._since_s) / length_s
        rates = self._fair(weights, self._rates + self._credit / length_s)
        speed = rates * weights
        with np.errstate(divide="ignore"):
            takes_s = np.where(speed > 0, self._left / speed, _NEVER)
        moved = np.minimum(speed * length_s, self._left)
        self._credit[:] = 0.0
        for links in self._routes:
            self.carried_bytes += np.bincount(links, moved, self._links)
        ends = np.flatnonzero(takes_s <= length_s)
        ended: list[Ended] = []
        if len(ends):
            unused = (length_s - takes_s[ends]) * speed[ends]
            for links in self._routes:
                self._credit += np.bincount(links[ends], unused, self._links)
            ended = self._ended(ends, takes_s)
        self._left -= moved
        self._since_s[:] = until_s
        if len(ends):
            keep = takes_s > length_s
            self._keep(keep)
        self.now_s = until_s
        return ended

    def is_running(self, flow: int) -> bool:
        """Say whether a flow is neither ended and taken note of, nor cancelled."""
        return flow in self._known

    def end(self, flow: int) -> bool:
        """Take note that a flow has ended; False: it was cancelled before."""
        if flow not in self._known:
            return False
        self._known.discard(flow)
        return True

    def _ended(self, ends: Ints, takes_s: Floats) -> list[Ended]:
        order = ends[np.argsort(takes_s[ends], kind="stable")]
        times = (self.now_s + takes_s[order]).tolist()
        return [
            Ended(flow, at) for flow, at in zip(self._flows[order].tolist(), times, strict=True)
        ]

    def _take_in(self) -> None:
        """Put new flows into the arrays and take cancelled ones out."""
        if self._new:
            fill = [self._nowhere] * self._route_links
            routes = [[*route, *fill][: self._route_links] for _, _, _, route in self._new]
            self._routes = np.concatenate([self._routes, np.array(routes).T], axis=1)
            self._flows = np.concatenate([self._flows, [new[0] for new in self._new]])
            self._left = np.concatenate([self._left, [new[1] for new in self._new]])
            self._since_s = np.concatenate([self._since_s, [new[2] for new in self._new]])
            self._new.clear()
        if self._cancelled:
            self._keep(~np.isin(self._flows, list(self._cancelled)))
            self._cancelled.clear()

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self._routes = self._routes[:, which]
        self._left = self._left[which]
        self._since_s = self._since_s[which]
        self._flows = self._flows[which]

    def _fair(self, weights: Floats, limits: Floats) -> Floats:
        """Return the max-min fair rate of each flow, never more than the links carry."""
        routes, count = self._routes, self._links
        flat = routes.ravel()
        tiled = np.tile(weights, self._route_links)
        total = np.bincount(flat, tiled, count)
        busy = total > 0
        divisor = np.where(busy, total, 1.0)
        least = np.where(busy, limits / divisor, limits)
        share = np.minimum(np.maximum(self._share, least), limits)
        for _ in range(ROUNDS):
            shares = share[routes]
            rates = shares.min(axis=0)
            is_limit = (shares <= rates * _SLACK).ravel()
            limited = np.bincount(flat, tiled * is_limit, count)
            used = np.bincount(flat, np.tile(rates * weights, self._route_links), count)
            has_limited = limited > 0
            # What is used by others than those whom this link limits, is not for these.
            others = used - limited * share
            filled = (limits - others) / np.where(has_limited, limited, 1.0)
            # A link that limits nobody offers more, as long as it has more.
            raised = np.where(used <= limits, share + (limits - used) / divisor, least)
            share = np.where(has_limited, filled, raised)
            share = np.minimum(np.maximum(share, least), limits)
        self._share = np.where(busy, share, self._rates)
        rates = share[routes].min(axis=0)
        used = np.bincount(flat, np.tile(rates * weights, self._route_links), count)
        too_much = np.minimum(limits / np.maximum(used, 1e-30), 1.0)
        result: Floats = rates * too_much[routes].min(axis=0)
        return result
