"""Blocks of a cache that went wrong, got again from other hosts."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Final

import crc32c

from damselfly.core.peer import Host
from damselfly.core.task import Edition, TaskSpec
from damselfly.errors import NoProviderError, ParentError, RemoteProtocolError
from damselfly.services.downloading.downloads import Downloads
from damselfly.services.seeding.storing import store_answer
from damselfly.storage.store import StoredEdition
from damselfly.transport.block_connection import BlockAnswer, BlockConnections
from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.local_messages import DownloadRequest
from damselfly.wire.packed_block import frame_bytes_max, trailer
from damselfly.wire.packing import Codecs, Packed, unpack

HOLDERS_ASKED_MAX: Final = 8


def spec_again(entry: StoredEdition) -> TaskSpec | None:
    """Return the task of an entry, as far as the cache knows it.

    The cache keeps no secrets: a task that has some in its URL, or a tag, comes again only when
    somebody asks for it. Of what was put in by hand the whole name was kept.
    """
    edition = entry.edition
    if entry.import_url:
        imported = TaskSpec(url=entry.import_url, tag=entry.import_tag)
        if imported.task_id == edition.task_id:
            return imported
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
    spec = spec_again(entry)
    if spec is None:
        raise NoProviderError(reason="the cache does not know all that names its task")
    request = DownloadRequest(
        url=spec.url,
        digest=str(spec.digest or ""),
        can_use_source=False,
        is_encrypted=spec.is_encrypted,
        is_placed=False,
    )
    finished = await downloads.get(request, lambda _: None)
    downloads.release(finished.download_id)


async def repair_from_holders(
    connections: BlockConnections,
    holders: Sequence[Host],
    entry: StoredEdition,
    digests: dict[int, bytes],
    *,
    codecs: Codecs,
) -> None:
    """Get missing blocks whose digests are known, one by one, from hosts that hold the edition.

    They come as they travel in any download, compressed and sealed as the edition lies there; of
    an encrypted one the key must be here, since digests are over plain bytes.

    Raises:
        NoProviderError: None of them gave one.
        PluginError: The edition's cipher failed, or a codec.
        StorageError: It cannot be written.
    """
    entry.pin()
    try:
        for index, digest in digests.items():
            asked = holders[:HOLDERS_ASKED_MAX]
            await _repair_block(connections, asked, entry, index, digest, codecs)
        await asyncio.to_thread(entry.seal, None)
    finally:
        entry.unpin()


async def _repair_block(
    connections: BlockConnections,
    holders: Sequence[Host],
    entry: StoredEdition,
    index: int,
    digest: bytes,
    codecs: Codecs,
) -> None:
    def unpacked(packed: Packed) -> Buffer:
        return unpack(packed.header, packed.body, codecs=codecs, key=entry.data_key)

    store = partial(store_answer, entry, expected=digest, unpack=unpacked)
    for holder in holders:
        try:
            answer = await fetch_block(connections, holder, entry.edition, index, codecs=codecs)
        except ParentError:
            continue
        with contextlib.suppress(RemoteProtocolError):
            await asyncio.to_thread(store, answer)
            return
    raise NoProviderError(reason="no host that holds it gave it", missing_count=1)


async def fetch_block(
    connections: BlockConnections,
    holder: Host,
    edition: Edition,
    index: int,
    *,
    codecs: Codecs,
    is_preheat: bool = False,
) -> BlockAnswer:
    """Return a block as a host gave it, whole, but not yet compared with anything.

    Raises:
        ParentError: It did not give it.
    """
    length = len(edition.layout.span(index))
    frame = memoryview(bytearray(frame_bytes_max(length, is_packed=edition.is_packed)))
    return await connections.fetch(
        *(holder.address, edition.edition_id, index, frame),
        parent=holder.host_id,
        is_preheat=is_preheat,
        codecs=codecs,
        ciphers=(edition.cipher,) if edition.cipher else (),
    )


async def fetch_body(
    connections: BlockConnections,
    holder: Host,
    edition: Edition,
    index: int,
    *,
    is_preheat: bool = False,
) -> memoryview:
    """Return the bytes of a block of a plain edition from a host, not compared with a digest.

    Raises:
        ParentError: It did not give them.
    """
    answer = await fetch_block(
        connections, holder, edition, index, codecs={}, is_preheat=is_preheat
    )
    crc = await asyncio.to_thread(crc32c.crc32c, answer.body)
    is_whole = len(answer.body) == len(edition.layout.span(index))
    if not is_whole or trailer(answer.header_bytes, crc) != answer.trailer:
        raise ParentError(parent=holder.host_id, reason="it sent a broken block")
    return answer.body
