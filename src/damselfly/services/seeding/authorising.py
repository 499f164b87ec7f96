"""Asking sources whether a requester may have what is here; see `core/access.py`."""

import asyncio
import secrets

import blake3

from damselfly.clock import now_s
from damselfly.core.access import ANYBODY, Access, Credential, shown_by
from damselfly.core.task import TaskId, TaskSpec
from damselfly.services.seeding.seeding import Seeding
from damselfly.storage.store import BlockStore


class Authorising:
    """Asks, once for all who ask the same at the same time."""

    def __init__(self, seeding: Seeding, store: BlockStore, *, window_s: float) -> None:
        self._seeding = seeding
        self._store = store
        self._access = Access(window_s=window_s)
        self._key = secrets.token_bytes(32)  # so that a name tells nothing of what it names
        self._running: dict[tuple[TaskId, Credential], asyncio.Task[None]] = {}

    def credential_of(self, spec: TaskSpec) -> Credential:
        """Return the name of what a request shows its source."""
        shown = shown_by(spec)
        if not shown:
            return ANYBODY
        return Credential(blake3.blake3("\n".join(shown).encode(), key=self._key).hexdigest())

    def accept(self, spec: TaskSpec) -> None:
        """The source accepted this request."""
        self._access.accept(spec.task_id, self.credential_of(spec), now_s=now_s())

    async def check(self, spec: TaskSpec, *, is_public: bool = False) -> None:
        """Return when a requester may have a task.

        Args:
            spec: What it asks for, and with what.
            is_public: The source gave it to somebody who showed nothing.

        Raises:
            SourceError: It may not, or the source does not say.
        """
        credential = self.credential_of(spec)
        if is_public or self._access.may_have(spec.task_id, credential, now_s=now_s()):
            return
        await self.ask(spec)

    async def ask(self, spec: TaskSpec) -> None:
        """Ask the source whether it accepts a request.

        Raises:
            SourceError: It does not.
        """
        key = (spec.task_id, self.credential_of(spec))
        if (running := self._running.get(key)) is None:
            running = self._running[key] = asyncio.ensure_future(self._ask(spec))
            running.add_done_callback(lambda end: end.cancelled() or end.exception())
            running.add_done_callback(lambda _: self._running.pop(key, None))
        await asyncio.shield(running)

    async def _ask(self, spec: TaskSpec) -> None:
        await self._seeding.authorise(spec)
        self.accept(spec)
        if not shown_by(spec):
            for entry in self._store.editions_of(spec.task_id):
                await asyncio.to_thread(entry.mark_public)
