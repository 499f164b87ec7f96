"""Who may upload a block now, and who is next: slots, and a fair queue.

A request that finds no slot waits for one, a short while: the child has asked us because
everybody else is busier. When a slot frees, the child that is furthest behind is next, so that
all end together; then the one that has the fewest downloads running, whose link has room; then
the one that was served longest ago, so that nobody who asks again quickly can keep a slot.

Whoever holds little of an edition gives it to few at a time: the first blocks are whole sooner
at the other end, and are passed on from there, when fewer of them share a link.

Source: the shared scheduling study, section 3.3; docs/decisions/0022 for the fewest, 0046 for
those behind and for the few.
"""

import sys
from enum import Enum, auto
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

WAIT_S = 3.0  # a refusal costs a round trip and CPU on both sides; the queue is fair
WAITING_PER_SLOT = 4
RETRY_AFTER_S = 0.25
HOSTS_REMEMBERED_MAX = 4096
UPLOADS_FIRST = 2  # of an edition at a time, when hardly anything of it is held ...
BLOCKS_PER_UPLOAD = 2  # ... and one more for each two blocks
LATE_SHARE = 8  # who lacks an eighth of the content of what we hold is not behind but came late
STEP_BLOCKS = 4  # children that hold about the same number are equals

K = TypeVar("K")


class Turn(Enum):
    """What becomes of a request."""

    NOW = auto()  # it has a slot
    LATER = auto()  # it waits for one
    REFUSED = auto()  # enough others wait


class Asked(NamedTuple):
    """What a request for a block says, and what we know ourselves of its edition.

    Attributes:
        host_id: Who asks.
        edition_id: Of the block.
        running_count: Downloads that are coming to the host already.
        step: How far it is, in steps of `STEP_BLOCKS`.
        uploads_max: So many of this edition at a time.
    """

    host_id: str
    edition_id: str = ""
    running_count: int = 0
    step: int = 0
    uploads_max: int = sys.maxsize


def uploads_max(held_count: int) -> int:
    """Return to how many at a time a host gives an edition of which it holds so many blocks."""
    return UPLOADS_FIRST + held_count // BLOCKS_PER_UPLOAD


def step_of(held_count: int | None, *, own_count: int, block_count: int | None) -> int:
    """Return how far a child is, as seen by a parent that holds `own_count` of the blocks.

    Args:
        held_count: What it said; None is nothing, and counts as no more and no less than ours.
        own_count: Blocks that the parent holds.
        block_count: Blocks of the edition; None while nobody knows.
    """
    behind_max = (block_count or own_count) // LATE_SHARE
    if held_count is None or own_count - held_count > behind_max:
        held_count = own_count
    return held_count // STEP_BLOCKS


class UploadQueue(Generic[K]):
    """A number of slots and the requests that wait for one.

    Attributes:
        slots: Uploads at a time.
    """

    __slots__ = (
        "_running",
        "_served",
        "_turn",
        "_uploads_max",
        "_waiting",
        "slots",
    )

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._running: dict[K, Asked] = {}
        # {edition: uploads at a time}, of those that run or wait, as it was last told.
        self._uploads_max: dict[str, int] = {}
        self._waiting: dict[K, Asked] = {}  # in the order in which they came
        # {host: when it was last served, as a count}; whoever is not in it was never served.
        self._served: dict[str, int] = {}
        self._turn = 0

    @property
    def load(self) -> int:
        """Uploads running and waiting."""
        return len(self._running) + len(self._waiting)

    def waiting(self) -> list[K]:
        """Return the requests that wait for a slot."""
        return list(self._waiting)

    def ask(self, request: K, asked: Asked) -> Turn:
        """A host asks for a block."""
        self._uploads_max[asked.edition_id] = asked.uploads_max
        if len(self._running) < self.slots and self._may_run(asked):
            self._serve(request, asked)
            return Turn.NOW
        if len(self._waiting) >= self.slots * WAITING_PER_SLOT:
            self._tidy(asked.edition_id)
            return Turn.REFUSED
        self._waiting[request] = asked
        return Turn.LATER

    def end(self, request: K) -> list[K]:
        """An upload has ended; return the waiting requests that get a slot now."""
        ended = self._running.pop(request)
        chosen: list[K] = []
        while len(self._running) < self.slots:
            able = [each for each, asked in self._waiting.items() if self._may_run(asked)]
            if not able:
                break
            first = min(able, key=self._rank)
            self._serve(first, self._waiting.pop(first))
            chosen.append(first)
        self._tidy(ended.edition_id)
        return chosen

    def forget(self, request: K) -> bool:
        """A request no longer waits; False: it did not."""
        asked = self._waiting.pop(request, None)
        if asked is not None:
            self._tidy(asked.edition_id)
        return asked is not None

    def _may_run(self, asked: Asked) -> bool:
        at_most = self._uploads_max[asked.edition_id]
        if at_most >= self.slots:
            return True
        others = sum(each.edition_id == asked.edition_id for each in self._running.values())
        return others < at_most

    def _tidy(self, edition_id: str) -> None:
        """Forget what was told of an edition that nobody asks for any more."""
        for asked in chain(self._running.values(), self._waiting.values()):
            if asked.edition_id == edition_id:
                return  # the first one, nearly always
        del self._uploads_max[edition_id]

    def _rank(self, request: K) -> tuple[int, int, int]:
        asked = self._waiting[request]
        return asked.step, asked.running_count, self._served.get(asked.host_id, 0)

    def _serve(self, request: K, asked: Asked) -> None:
        self._running[request] = asked
        self._turn += 1
        self._served[asked.host_id] = self._turn
        if len(self._served) > HOSTS_REMEMBERED_MAX:
            del self._served[min(self._served, key=self._served.__getitem__)]
