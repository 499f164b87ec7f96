"""Blocks into the store: verified first, then laid as the edition lies, plain or packed.

All functions are meant for threads: what they do leaves the interpreter free for others.
"""

from collections.abc import Callable

import blake3
import crc32c

from damselfly.errors import RemoteProtocolError
from damselfly.services.compressing.compressor import Compressor
from damselfly.storage.store import HeldBlock, StoredEdition
from damselfly.transport.block_connection import BlockAnswer
from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.packed_block import CODEC_IDENTITY, is_plain, trailer
from damselfly.wire.packing import Packed, pack


def store_block(
    entry: StoredEdition,
    block_index: int,
    plain: Buffer,
    expected: bytes | None,
    *,
    compressor: Compressor | None = None,
) -> bytes | None:
    """Verify a plain block and store it; return its digest, None when it is not `expected`.

    In a packed edition it is compressed, if there is a `compressor` and that pays.

    Raises:
        PluginError: The edition's cipher failed.
        StorageError: It cannot be stored.
    """
    digest = blake3.blake3(plain).digest()
    if expected is not None and digest != expected:
        return None
    if entry.edition.is_packed:
        edition_id = entry.edition.edition_id
        chosen = compressor.compress(memoryview(plain)) if compressor else None
        codec, compressed = chosen or (CODEC_IDENTITY, None)
        packed = pack(
            plain,
            edition_id=edition_id,
            block_index=block_index,
            codec=codec,
            compressed=compressed,
            key=entry.data_key,
        )
        entry.write_block(_held(packed, plain, digest, crc32c.crc32c(packed.body)))
    else:
        entry.write_block(HeldBlock(block_index, plain, digest, crc32c.crc32c(plain)))
    return digest


def store_answer(
    entry: StoredEdition,
    answer: BlockAnswer,
    *,
    expected: bytes,
    unpack: Callable[[Packed], Buffer],
) -> memoryview:
    """Verify a block as it travelled and store it; return its plain bytes.

    Args:
        entry: Where it goes.
        answer: The block.
        expected: The digest that it must have.
        unpack: Returns its plain bytes; see `wire/packing.py`.

    Raises:
        RemoteProtocolError: It is not right.
        PluginError: The edition's cipher failed.
        StorageError: It cannot be stored.
    """
    header, edition = answer.header, entry.edition
    body_crc32c = crc32c.crc32c(answer.body)
    if trailer(answer.header_bytes, body_crc32c) != answer.trailer:
        raise RemoteProtocolError("its CRC is wrong")
    if (header.cipher, header.key_id) != (edition.cipher, edition.key_id):
        raise RemoteProtocolError("it is sealed with another key than the edition")
    packed = Packed(header, answer.body)
    plain = unpack(packed)
    if blake3.blake3(plain).digest() != expected:
        raise RemoteProtocolError("its digest is wrong")
    if edition.is_packed:
        entry.write_block(_held(packed, plain, expected, body_crc32c))
    else:
        crc = body_crc32c if is_plain(header) else crc32c.crc32c(plain)
        entry.write_block(HeldBlock(header.block_index, plain, expected, crc))
    return memoryview(plain)


def _held(packed: Packed, plain: Buffer, digest: bytes, body_crc32c: int) -> HeldBlock:
    header = packed.header
    return HeldBlock(
        header.block_index,
        packed.body,
        digest,
        body_crc32c,
        header=header,
        plain=None if is_plain(header) else plain,
    )
