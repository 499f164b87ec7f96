"""Contents that hosts imported, into the SuperNode's cache.

A host that imported a file tells so. The SuperNode takes it over from there, once, and from then
on gives it like everything else. Which ones it takes says `core/caching/imports.py`.

No host is believed: until the whole has been hashed it lies under a name that nobody asks for. So
a download that begins meanwhile cannot go on from blocks that may be anything.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from damselfly.core.caching.imports import ImportPolicy
from damselfly.core.digest import Digest
from damselfly.core.peer import Host
from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.core.task import Edition, EditionId, TaskId, TaskSpec
from damselfly.errors import (
    DamselflyError,
    DigestMismatchError,
    ParentBusyError,
    ParentError,
    RemoteProtocolError,
    UsageError,
)
from damselfly.services.cache_care.repairing import fetch_body
from damselfly.services.seeding.naming import cut_edition
from damselfly.services.seeding.pacing import Pace
from damselfly.services.seeding.storing import store_block
from damselfly.services.stores import open_pinned
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.transport.block_connection import BlockConnections
from damselfly.wire import session_messages as wire
from damselfly.wire.hashing import new_hasher

BLOCK_BYTES_MAX: Final = 64 << 20
RUNNING_MAX: Final = 4  # at a time; the others wait
BUSY_TRIES_MAX: Final = 20

log = get_log()


class HostImports:
    """Takes imports over."""

    def __init__(
        self,
        policy: ImportPolicy,
        *,
        store: BlockStore,
        connections: BlockConnections,
        tasks: asyncio.TaskGroup,
        now_wall_s: Callable[[], float],
        encrypt: Sequence[EncryptRule] = (),
    ) -> None:
        self._policy = policy
        self._encrypt = encrypt
        self._store = store
        self._connections = connections
        self._tasks = tasks
        self._now_wall_s = now_wall_s
        self._running: set[EditionId] = set()
        self._slots = asyncio.Semaphore(RUNNING_MAX)

    def take(
        self, host: Host, message: wire.Imported, *, on_held: Callable[[EditionId], None]
    ) -> None:
        """A host told of an import.

        Args:
            host: That host.
            message: What it told.
            on_held: Called when the content is here and the host may give it, too.

        Raises:
            RemoteProtocolError: It cannot be.
        """
        edition = edition_of(message)
        if any(rule.matches(edition.display_url) for rule in self._encrypt):
            reason = "what a rule encrypts is not taken over in plain"
            log.warning("import_refused", host=host.host_id, reason=reason)
            return
        if not self._policy.allows(is_named_by_digest=message.is_named_by_digest):
            log.warning("import_refused", host=host.host_id, url=edition.display_url)
            return
        edition_id = edition.edition_id
        if edition_id in self._running:
            return
        known = self._store.find(edition_id)
        if known is not None and known.is_sealed:
            on_held(edition_id)
            return
        self._running.add(edition_id)
        self._tasks.create_task(
            self._take_over(host, edition, on_held), name=f"import {edition_id[:12]}"
        )

    async def _take_over(
        self, host: Host, edition: Edition, on_held: Callable[[EditionId], None]
    ) -> None:
        try:
            async with self._slots:
                entry = await self._bring(host, edition)
                try:
                    await asyncio.to_thread(self._mark, entry)
                finally:
                    entry.unpin()
        except DamselflyError as exc:
            log.warning("import_failed", host=host.host_id, reason=str(exc))
        else:
            log.info("import_taken_over", host=host.host_id, url=edition.display_url)
            on_held(edition.edition_id)
        finally:
            self._running.discard(edition.edition_id)

    async def copy(self, host: Host, edition: Edition, pace: Pace) -> StoredEdition:
        """Return a content that a host has whole, pinned, for a preheat.

        Raises:
            DamselflyError: It cannot be had there, or somebody waits for it by now.
        """
        return await self._bring(host, edition, pace)

    async def _bring(self, host: Host, edition: Edition, pace: Pace | None = None) -> StoredEdition:
        """Return a content that a host has whole, sealed and pinned.

        Raises:
            ParentError: The host gave a part of it; that of an import is kept for the next time.
            DamselflyError: It cannot be had there, or somebody waits for it by now.
        """
        unproven = await open_pinned(partial(self._store.open, _unproven(edition)))
        is_kept = False
        try:
            await self._fill(host, edition, unproven, pace)
            return await open_pinned(partial(self._adopt, unproven, edition))
        except ParentError:
            is_kept = pace is None
            raise
        finally:
            unproven.unpin()
            if not is_kept:
                self._store.drop(unproven)

    async def _fill(
        self, host: Host, edition: Edition, entry: StoredEdition, pace: Pace | None
    ) -> None:
        assert edition.digest is not None
        hasher = new_hasher(edition.digest.algorithm)
        for index in range(edition.layout.block_count):
            if entry.digest_of(index) is None:
                if pace is not None:
                    await pace.take(len(edition.layout.span(index)))
                    if pace.is_lifted:
                        raise DamselflyError("somebody waits for it now")
                body = await self._fetch(host, edition, index, is_preheat=pace is not None)
                await asyncio.to_thread(store_block, entry, index, body, None)
            plain = await asyncio.to_thread(entry.read_span, edition.layout.span(index))
            await asyncio.to_thread(hasher.update, plain)
        actual = Digest(edition.digest.algorithm, hasher.hexdigest())
        if actual != edition.digest:
            raise DigestMismatchError(expected=str(edition.digest), actual=str(actual))

    async def _fetch(
        self, host: Host, edition: Edition, index: int, *, is_preheat: bool
    ) -> memoryview:
        fetch = partial(fetch_body, self._connections, host, edition, index, is_preheat=is_preheat)
        for _ in range(BUSY_TRIES_MAX):
            try:
                return await fetch()
            except ParentBusyError as exc:
                await asyncio.sleep(exc.retry_after_s)
        return await fetch()

    def _adopt(self, proven: StoredEdition, edition: Edition) -> StoredEdition:
        """Give a content its own name, now that it is right; what is there already may stay."""
        entry = self._store.open(edition)
        try:
            for index in range(edition.layout.block_count):
                body = proven.read_span(edition.layout.span(index))
                stored = store_block(entry, index, body, proven.digest_of(index))
                assert stored is not None, "the disk changed a block that was right a moment ago"
            entry.seal(edition.digest)
        except BaseException:
            entry.unpin()
            raise
        return entry

    def _mark(self, entry: StoredEdition) -> None:
        entry.mark_imported()
        entry.mark_validated(self._now_wall_s())


def _unproven(edition: Edition) -> Edition:
    """Return the same content under a name that nobody asks for."""
    name = hashlib.sha256(f"unproven\n{edition.edition_id}".encode()).hexdigest()
    return replace(edition, task_id=TaskId(name), edition_id=EditionId(name[:32]))


def edition_of(message: wire.Imported) -> Edition:
    """Return the edition that a host imported.

    Raises:
        RemoteProtocolError: It cannot be.
    """
    try:
        digest = Digest.parse(message.digest)
        spec = TaskSpec(
            url=message.url,
            digest=digest if message.is_named_by_digest else None,
            tag=message.task_tag,
        )
    except UsageError as exc:
        raise RemoteProtocolError(str(exc)) from exc
    edition = cut_edition(spec, digest, message.size_bytes, block_bytes=message.block_bytes)
    is_possible = (
        (edition.task_id, edition.edition_id) == (message.task_id, message.edition_id)
        and 0 < message.block_bytes <= BLOCK_BYTES_MAX
        and message.size_bytes >= 0
    )
    if not is_possible:
        raise RemoteProtocolError("an import that cannot be")
    return edition
