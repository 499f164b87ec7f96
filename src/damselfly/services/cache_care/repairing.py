"""Blocks of a cache that went wrong, got again from other hosts."""

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import Final

import crc32c

from damselfly.core.peer import Host
from damselfly.core.task import Edition, TaskSpec
from damselfly.errors import NoProviderError, ParentError
from damselfly.services.downloading.downloads import Downloads
from damselfly.services.seeding.storing import store_block
from damselfly.storage.store import StoredEdition
from damselfly.transport.block_connection import BlockConnections
from damselfly.wire.local_messages import DownloadRequest
from damselfly.wire.packed_block import HEADER_BYTES, TRAILER_BYTES, trailer

HOLDERS_ASKED_MAX: Final = 8


def spec_again(edition: Edition) -> TaskSpec | None:
    """Return the task of an edition, as far as the cache knows it.

    The cache keeps no secrets: a task that has some in its URL, or a tag, comes again only when
    somebody asks for it.
    """
    wishes = product((edition.digest, None), (False, True))
    for digest, is_encrypted in wishes:
        spec = TaskSpec(url=edition.display_url, digest=digest, is_encrypted=is_encrypted)
        if spec.task_id == edition.task_id:
            return spec
    return None


async def repair_by_download(downloads: Downloads, entry: StoredEdition) -> None:
    """Get missing blocks as a download does, from the swarm alone.

    Raises:
        DamselflyError: They cannot be had; the rest stays.
    """
    spec = spec_again(entry.edition)
    if spec is None:
        raise NoProviderError(reason="the cache does not know all that names its task")
    request = DownloadRequest(
        url=spec.url,
        digest=str(spec.digest or ""),
        can_use_source=False,
        is_encrypted=spec.is_encrypted,
    )
    finished = await downloads.get(request, lambda _: None)
    downloads.release(finished.download_id)


async def repair_from_holders(
    connections: BlockConnections,
    holders: Sequence[Host],
    entry: StoredEdition,
    digests: dict[int, bytes],
) -> None:
    """Get missing blocks whose digests are known, one by one, from hosts that hold the edition.

    Raises:
        NoProviderError: None of them gave one.
        StorageError: It cannot be written.
    """
    entry.pin()
    try:
        for index, digest in digests.items():
            await _repair_block(connections, holders[:HOLDERS_ASKED_MAX], entry, index, digest)
        await asyncio.to_thread(entry.seal, None)
    finally:
        entry.unpin()


async def _repair_block(
    connections: BlockConnections,
    holders: Sequence[Host],
    entry: StoredEdition,
    index: int,
    digest: bytes,
) -> None:
    for holder in holders:
        try:
            body = await fetch_body(connections, holder, entry.edition, index)
        except ParentError:
            continue
        if await asyncio.to_thread(store_block, entry, index, body, digest):
            return
    raise NoProviderError(reason="no host that holds it gave it", missing_count=1)


async def fetch_body(
    connections: BlockConnections, holder: Host, edition: Edition, index: int
) -> memoryview:
    """Return the plain bytes of a block from a host, whole, but not yet compared with a digest.

    Raises:
        ParentError: It did not give them.
    """
    length = len(edition.layout.span(index))
    frame = memoryview(bytearray(HEADER_BYTES + length + TRAILER_BYTES))
    answer = await connections.fetch(
        holder.address, edition.edition_id, index, frame, parent=holder.host_id
    )
    crc = await asyncio.to_thread(crc32c.crc32c, answer.body)
    if len(answer.body) != length or trailer(answer.header_bytes, crc) != answer.trailer:
        raise ParentError(parent=holder.host_id, reason="it sent a broken block")
    return answer.body
