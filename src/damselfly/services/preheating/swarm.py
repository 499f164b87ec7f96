"""What preheats need of a SuperNode; it has no need to know of them."""

from collections.abc import Callable
from typing import Protocol

from damselfly.core.peer import Host, HostId
from damselfly.core.task import TaskId, TaskSpec
from damselfly.services.seeding.pacing import Pace
from damselfly.storage.store import StoredEdition


class Seeder(Protocol):
    """Makes tasks warm at the SuperNode."""

    async def seed(self, spec: TaskSpec, pace: Pace, *, size_bytes: int = -1) -> StoredEdition:
        """Return the whole content, pinned; of a known length, or -1.

        Raises:
            DamselflyError: It cannot be had with what `spec` shows its source.
        """

    def progress(self, task_id: TaskId) -> tuple[int, int]:
        """Return how many bytes of a task are here, and of how many; -1: nobody knows."""


class Warmer(Protocol):
    """Makes tasks warm at hosts."""

    def hosts(self) -> list[Host]:
        """Return the hosts that are here."""

    async def warm(
        self, host_id: HostId, spec: TaskSpec, pace: Pace, on_progress: Callable[[int, int], None]
    ) -> int:
        """Return the length of a task when a host has it whole.

        Raises:
            DamselflyError: It cannot have it, or went away.
        """
