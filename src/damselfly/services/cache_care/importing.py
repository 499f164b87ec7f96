"""A local file into the cache, as a task of its own: there is no source to ask about it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from damselfly.core.blocks import USUAL_LINK_BYTES_PER_S
from damselfly.core.digest import Digest
from damselfly.core.task import Edition
from damselfly.core.urls import identity_url, normalise_url, signature_names
from damselfly.errors import DigestMismatchError, UsageError
from damselfly.services.seeding.naming import edition_by_digest
from damselfly.services.seeding.storing import store_block
from damselfly.services.stores import open_pinned
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.wire.cache_messages import ImportOrder
from damselfly.wire.hashing import new_hasher

Read = Callable[[int], Awaitable[bytes]]


def imported_edition(order: ImportOrder) -> Edition:
    """Return the edition that an import makes: of the same content always the same.

    Raises:
        TaskSpecError: Its URL, digest or tag is none.
    """
    spec, digest = order.spec(), Digest.parse(order.digest)
    return edition_by_digest(
        spec, digest, order.size_bytes, link_rate_bytes_per_s=USUAL_LINK_BYTES_PER_S
    )


async def import_content(
    store: BlockStore, order: ImportOrder, read: Read, *, now_wall_s: float
) -> StoredEdition:
    """Put a content into a store, and return its sealed entry, not pinned.

    Args:
        store: Where it goes.
        order: What it is.
        read: Returns the next so many bytes, fewer only at the end.
        now_wall_s: Seconds since 1970.

    Raises:
        DigestMismatchError: It is not what the order says.
        UsageError: It is longer or shorter than the order says.
        StorageFullError: There is no room.
    """
    edition = imported_edition(order)
    entry = await open_pinned(partial(store.open, edition))
    try:
        await _fill(entry, read, Digest.parse(order.digest))
        await asyncio.to_thread(_seal, entry, order, now_wall_s)
    except BaseException:
        if not entry.is_sealed:
            await asyncio.to_thread(store.drop, entry)
        raise
    finally:
        entry.unpin()
    return entry


async def _fill(entry: StoredEdition, read: Read, digest: Digest) -> None:
    hasher = new_hasher(digest.algorithm)
    layout = entry.edition.layout
    for index in range(layout.block_count):
        length = len(layout.span(index))
        body = await read(length)
        if len(body) != length:
            raise UsageError(
                f"the file ended after {layout.span(index).start_byte + len(body)} bytes instead "
                f"of {layout.size_bytes}; do not write to it while it is imported"
            )
        await asyncio.to_thread(hasher.update, body)
        if entry.digest_of(index) is None:
            await asyncio.to_thread(store_block, entry, index, memoryview(body), None)
    if await read(1):
        raise UsageError(
            f"the file is longer than {layout.size_bytes} bytes; do not write to it while it is "
            "imported"
        )
    actual = Digest(digest.algorithm, hasher.hexdigest())
    if actual != digest:
        raise DigestMismatchError(expected=str(digest), actual=str(actual))


def _seal(entry: StoredEdition, order: ImportOrder, now_wall_s: float) -> None:
    entry.seal(entry.edition.digest)
    url = order.url and normalise_url(order.url)
    # What names the task, for the next session with a SuperNode: no password, no signature.
    entry.mark_imported(identity_url(url, signature_names(url)) if url else "", order.tag)
    entry.mark_validated(now_wall_s)
