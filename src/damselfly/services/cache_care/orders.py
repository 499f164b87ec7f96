"""What an operator orders of a cache; with a process that runs, or on a folder at rest."""

import io
from collections.abc import Callable, Sequence

from damselfly.core.blocks import Span
from damselfly.core.caching.naming import EntryName
from damselfly.core.digest import Digest
from damselfly.errors import CacheBusyError, NotCachedError, UsageError
from damselfly.services.options import CacheOptions
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.wire.cache_messages import (
    ACTIONS,
    CacheChanged,
    CachedTask,
    CacheListing,
    CacheOrder,
)
from damselfly.wire.hashing import new_hasher

OnDamaged = Callable[[StoredEdition, Sequence[int]], None]


def seen(entry: StoredEdition) -> CachedTask:
    """Return an entry as an operator sees it."""
    edition = entry.edition
    return CachedTask(
        edition_id=edition.edition_id,
        task_id=edition.task_id,
        url=edition.display_url,
        size_bytes=-1 if edition.size_bytes is None else edition.size_bytes,
        stored_bytes=entry.stored_bytes,
        digest=str(edition.digest or ""),
        is_sealed=entry.is_sealed,
        is_pinned=entry.is_kept,
        is_imported=entry.is_imported,
        is_in_use=entry.is_pinned,
        is_elsewhere=entry.is_elsewhere,
        used_wall_s=entry.used_wall_s,
    )


def forget_blocks(entry: StoredEdition, blocks: Sequence[int]) -> None:
    """Forget blocks, where nobody is there who could get them again."""
    for index in blocks:
        entry.forget_block(index)


class EntryStream(io.RawIOBase):
    """The content of an entry as a file, in whatever layout it lies."""

    def __init__(self, entry: StoredEdition) -> None:
        self._entry = entry
        self._size_bytes = entry.edition.size_bytes or 0
        self._position = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]  # bytes-like
        """Fill a buffer as far as the content goes."""
        view = memoryview(buffer)
        count = min(len(view), self._size_bytes - self._position)
        view[:count] = self._entry.read_span(Span(self._position, self._position + count))
        self._position += count
        return count


class CacheOrders:
    """Carries orders out; may wait for the disk, so it is called in threads."""

    def __init__(
        self,
        store: BlockStore,
        options: CacheOptions,
        *,
        data: str,
        on_damaged: OnDamaged = forget_blocks,
    ) -> None:
        """Take a store.

        Args:
            store: The cache.
            options: Its limits.
            data: Its folder.
            on_damaged: Called in the thread for each entry with wrong blocks, to mend it.
        """
        self._store = store
        self._options = options
        self._data = data
        self._on_damaged = on_damaged

    def listing(self) -> CacheListing:
        """Return all that is there, the last used first."""
        entries = sorted(self._store.entries(), key=lambda entry: -entry.used_wall_s)
        return CacheListing(
            data=self._data,
            used_bytes=self._store.used_bytes(),
            quota_bytes=self._options.quota_bytes,
            tasks=tuple(map(seen, entries)),
        )

    def carry_out(self, order: CacheOrder) -> CacheChanged:
        """Do what is ordered.

        Raises:
            UsageError: It is no order, or names nothing that is there.
            CacheBusyError: What is to be removed is in use; nothing was removed.
        """
        if order.action not in ACTIONS:
            raise UsageError(f"{order.action!r} is none of {', '.join(ACTIONS)}")
        if not order.names and order.action != "verify":
            raise UsageError(f"{order.action} needs the name of at least one entry")
        entries = self._meant(order.names)
        match order.action:
            case "pin" | "unpin":
                for entry in entries:
                    entry.keep(is_kept=order.action == "pin")
            case "rm":
                return self._remove(entries)
            case _:
                return self._verify(entries)
        return CacheChanged(tasks=tuple(map(seen, entries)))

    def find(self, name: str) -> StoredEdition:
        """Return the one whole entry that a name means.

        Of several, one of the task that it is the URL of, and the last validated.

        Raises:
            NotCachedError: There is none.
        """
        called = EntryName.parse(name)
        whole = [entry for entry in self._meant((name,)) if entry.is_sealed]
        if not whole:
            raise NotCachedError(name=called.shown, is_part=True)
        best = max(
            whole,
            key=lambda each: (each.edition.task_id == called.task_id, each.validated_wall_s),
        )
        if (found := self._store.find(best.edition.edition_id)) is None:
            raise NotCachedError(name=called.shown)
        return found

    def _meant(self, names: Sequence[str]) -> list[StoredEdition]:
        entries = self._store.entries()
        if not names:
            return [entry for entry in entries if entry.is_sealed]
        meant: dict[str, StoredEdition] = {}
        for name in map(EntryName.parse, names):
            found = [entry for entry in entries if _is_meant(name, entry)]
            if not found:
                raise NotCachedError(name=name.shown)
            meant.update((entry.edition.edition_id, entry) for entry in found)
        return list(meant.values())

    def _remove(self, entries: Sequence[StoredEdition]) -> CacheChanged:
        for entry in entries:
            if entry.is_pinned:
                raise CacheBusyError(name=entry.edition.display_url or entry.edition.edition_id)
        tasks = tuple(map(seen, entries))
        for entry in entries:
            self._store.drop(entry)
        return CacheChanged(tasks=tasks)

    def _verify(self, entries: Sequence[StoredEdition]) -> CacheChanged:
        damaged: list[str] = []
        for entry in entries:
            edition_id = entry.edition.edition_id
            if self._store.find(edition_id) is None:
                damaged.append(edition_id)  # it was changed from outside, and is dropped
            elif bad := [index for index in entry.held if not entry.is_block_right(index)]:
                damaged.append(edition_id)
                self._on_damaged(entry, bad)
            elif not _is_whole_right(entry):
                damaged.append(edition_id)
                self._store.drop(entry)
        return CacheChanged(tasks=tuple(map(seen, entries)), damaged=tuple(damaged))


def _is_meant(name: EntryName, entry: StoredEdition) -> bool:
    edition = entry.edition
    return name.means(
        edition_id=edition.edition_id,
        task_id=edition.task_id,
        digest=str(edition.digest or ""),
        url=edition.display_url,
    )


def _is_whole_right(entry: StoredEdition) -> bool:
    """Say whether a sealed content is what its digest promises; True where none is known."""
    edition = entry.edition
    if not entry.is_sealed or edition.digest is None:
        return True
    hasher = new_hasher(edition.digest.algorithm)
    for index in range(edition.layout.block_count):
        hasher.update(entry.read_span(edition.layout.span(index)))
    return Digest(edition.digest.algorithm, hasher.hexdigest()) == edition.digest
