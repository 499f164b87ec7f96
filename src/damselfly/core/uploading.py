"""Who may upload a block now, and who is next: slots, and a fair queue.

A request that finds no slot waits for one, a short while: the child has asked us because
everybody else is busier. When a slot frees, the child that has the fewest downloads running is
next: its link has room, and the slot's bytes flow at once. Among equals it is the one that was
served longest ago, so that nobody who asks again quickly can keep a slot for itself.

Source: the shared scheduling study, section 3.3; docs/decisions/0022 for the fewest.
"""

from enum import Enum, auto
from typing import Generic, TypeVar

WAIT_S = 3.0  # a refusal costs a round trip and CPU on both sides; the queue is fair
WAITING_PER_SLOT = 4
RETRY_AFTER_S = 0.25
HOSTS_REMEMBERED_MAX = 4096

K = TypeVar("K")


class Turn(Enum):
    """What becomes of a request."""

    NOW = auto()  # it has a slot
    LATER = auto()  # it waits for one
    REFUSED = auto()  # enough others wait


class UploadQueue(Generic[K]):
    """A number of slots and the requests that wait for one.

    Attributes:
        slots: Uploads at a time.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = slots
        # {request: downloads that the host had running when it asked, and the host}, in the
        # order in which they came.
        self._waiting: dict[K, tuple[int, str]] = {}
        # {host: when it was last served, as a count}; whoever is not in it was never served.
        self._served: dict[str, int] = {}
        self._turn = 0

    @property
    def load(self) -> int:
        """Uploads running and waiting."""
        return self.slots - self._free + len(self._waiting)

    def waiting(self) -> list[K]:
        """Return the requests that wait for a slot."""
        return list(self._waiting)

    def ask(self, request: K, host_id: str, *, running_count: int = 0) -> Turn:
        """A host asks for a block; `running_count` downloads are coming to it already."""
        if self._free:
            self._free -= 1
            self._serve(host_id)
            return Turn.NOW
        if len(self._waiting) >= self.slots * WAITING_PER_SLOT:
            return Turn.REFUSED
        self._waiting[request] = (running_count, host_id)
        return Turn.LATER

    def end(self) -> K | None:
        """An upload has ended; return the waiting request that gets its slot, if there is one."""
        if not self._waiting:
            self._free += 1
            assert self._free <= self.slots
            return None
        served = self._served

        def rank(request: K) -> tuple[int, int]:
            running_count, host_id = self._waiting[request]
            return running_count, served.get(host_id, 0)

        chosen = min(self._waiting, key=rank)
        self._serve(self._waiting.pop(chosen)[1])
        return chosen

    def forget(self, request: K) -> bool:
        """A request no longer waits; False: it did not."""
        return self._waiting.pop(request, None) is not None

    def _serve(self, host_id: str) -> None:
        self._turn += 1
        self._served[host_id] = self._turn
        if len(self._served) > HOSTS_REMEMBERED_MAX:
            del self._served[min(self._served, key=self._served.__getitem__)]
