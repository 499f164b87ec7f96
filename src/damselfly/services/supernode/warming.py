"""What the SuperNode itself wants in its cache, without any host that waits for it.

A wish is a seeding like any other: hosts that join meanwhile take part in it, and a seeding
that runs for a host fulfils a wish. What only wishes want is held back beside what hosts
wait for; see `services/seeding/pacing.py`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from damselfly.core.task import TaskId, TaskSpec
from damselfly.errors import DamselflyError, StorageFullError
from damselfly.services.seeding.pacing import Pace
from damselfly.services.seeding.seeding import Seeding
from damselfly.storage.store import BlockStore, StoredEdition

ATTEMPTS_MAX: Final = 4  # seedings for others that fail, each with what the other showed


@dataclass(frozen=True, slots=True)
class _End:
    """How a seeding ended.

    Attributes:
        spec: With which its source was asked.
        error: Why it failed; None: it did not.
        is_stopped: It was read no further, nobody having wanted it.
    """

    spec: TaskSpec
    error: DamselflyError | None
    is_stopped: bool


class Warming:
    """The SuperNode's own wishes."""

    def __init__(
        self,
        store: BlockStore,
        seeding: Seeding,
        *,
        begin: Callable[[TaskSpec], bool],
        give_up: Callable[[TaskId], None],
    ) -> None:
        """Make it.

        Args:
            store: Where contents go.
            seeding: Gets them.
            begin: Seeds a task unless that goes on already; says whether it began.
            give_up: Told of a task that no wish wants any more.
        """
        self._store = store
        self._seeding = seeding
        self._begin = begin
        self._give_up = give_up
        self._waiting: dict[TaskId, list[asyncio.Future[_End]]] = defaultdict(list)
        # {task: its pace}, of seedings that were begun for a wish alone.
        self._paces: dict[TaskId, Pace] = {}
        self._sizes: dict[TaskId, int] = {}  # of those, as their manifests tell them, or -1

    async def seed(self, spec: TaskSpec, pace: Pace, *, size_bytes: int = -1) -> StoredEdition:
        """Return the whole content, pinned; cancelled, it is read no further for this wish.

        Args:
            spec: What is wanted.
            pace: How fast it may be read.
            size_bytes: How long it is, -1 if nobody knows: then it cannot be found at hosts.

        Raises:
            DamselflyError: It cannot be had with what `spec` shows its source.
        """
        error: DamselflyError | None = None
        for _ in range(ATTEMPTS_MAX):
            end = await self._wait_end(spec, pace, size_bytes)
            error = end.error
            if error is None:
                return self._whole(spec)
            if end.spec.headers == spec.headers and not end.is_stopped:
                break
        assert error is not None
        raise error

    async def _wait_end(self, spec: TaskSpec, pace: Pace, size_bytes: int) -> _End:
        task_id = spec.task_id
        end: asyncio.Future[_End] = asyncio.get_running_loop().create_future()
        self._waiting[task_id].append(end)
        try:
            if self._begin(spec):
                self._sizes[task_id] = size_bytes
                self._paces[task_id] = self._seeding.asking.pacers[task_id] = pace
            return await end
        finally:
            waiting = self._waiting.get(task_id, [])
            if end in waiting:
                waiting.remove(end)
                if not waiting:
                    del self._waiting[task_id]
                    self._give_up(task_id)

    def _whole(self, spec: TaskSpec) -> StoredEdition:
        entries = self._store.editions_of(spec.task_id)
        entry = next((each for each in entries if each.is_sealed), None)
        if entry is None:  # it came, and was evicted for the next
            raise StorageFullError(path="the SuperNode's cache", needed_bytes=0, free_bytes=0)
        entry.pin()
        return entry

    # --- what the SuperNode tells

    def on_begun(self, task_id: TaskId, pace: Pace) -> None:
        """A seeding began for a host that was told to have it, and not for who waits."""
        self._paces[task_id] = self._seeding.asking.pacers[task_id] = pace

    def size_of(self, task_id: TaskId) -> int:
        """Return the length of a task that is wanted, -1 if nobody knows it."""
        return self._sizes.get(task_id, -1)

    def on_live(self, task_id: TaskId) -> None:
        """A host wants a task: what was begun for a wish goes on for it."""
        if (pace := self._paces.get(task_id)) is not None:
            pace.lift()

    def on_ended(
        self, spec: TaskSpec, error: DamselflyError | None, *, is_stopped: bool = False
    ) -> None:
        """A seeding ended, whoever wanted it."""
        self._sizes.pop(spec.task_id, None)
        if (pace := self._paces.pop(spec.task_id, None)) is not None:
            del self._seeding.asking.pacers[spec.task_id]
            pace.end()
        for end in self._waiting.pop(spec.task_id, []):
            if not end.done():
                end.set_result(_End(spec, error, is_stopped))

    def progress(self, task_id: TaskId) -> tuple[int, int]:
        """Return how many bytes of a task are here, and of how many; -1: nobody knows."""
        done, size = 0, -1
        for entry in self._store.editions_of(task_id):
            edition = entry.edition
            held = len(entry.held) * edition.block_bytes
            total = edition.size_bytes
            if held >= done:
                done = held if total is None else min(held, total)
                size = -1 if total is None else total
        return done, size
