"""From a block to its body and back: compressed first, encrypted then.

The associated data of a cipher are the 40 bytes of the header as it is sent, with the length
of the body after encryption: what travels under another header does not open.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError
from damselfly.wire.ciphers.data_keys import DataKey
from damselfly.wire.codecs.codec import BlockCodec, Buffer
from damselfly.wire.packed_block import CIPHER_NONE, CODEC_IDENTITY, PackedHeader

Codecs = Mapping[int, BlockCodec]
"""The codecs that are known here, by their id."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A block as it lies and travels, without its trailer."""

    header: PackedHeader
    body: Buffer


def pack(
    plain: Buffer,
    *,
    edition_id: EditionId,
    block_index: int,
    codec: int = CODEC_IDENTITY,
    compressed: Buffer | None = None,
    key: DataKey | None = None,
) -> Packed:
    """Return a block packed.

    Args:
        plain: Its bytes.
        edition_id: The edition.
        block_index: The block.
        codec: The codec that made `compressed`.
        compressed: The block compressed; None: it is sent as it is.
        key: What seals it; None: it is not encrypted.
    """
    body = plain if compressed is None else compressed
    header = PackedHeader(
        edition_id=edition_id,
        block_index=block_index,
        plain_bytes=len(plain),
        body_bytes=len(body) + (key.overhead_bytes if key else 0),
        codec=CODEC_IDENTITY if compressed is None else codec,
        cipher=key.cipher.cipher_id if key else CIPHER_NONE,
        key_id=key.key_id if key else 0,
    )
    if key is not None:
        body = key.seal(body, header.encode())
        assert len(body) == header.body_bytes
    return Packed(header, body)


def unpack(
    header: PackedHeader, body: Buffer, *, codecs: Codecs, key: DataKey | None = None
) -> Buffer:
    """Return the plain bytes of a packed block, exactly as many as its header says.

    Raises:
        RemoteProtocolError: The body is not what its header says, or cannot be read here.
    """
    if header.cipher != CIPHER_NONE:
        if key is None or (key.cipher.cipher_id, key.key_id) != (header.cipher, header.key_id):
            raise RemoteProtocolError(f"a body sealed with key {header.key_id}, which is not here")
        body = key.open(body, header.encode())
    if header.codec == CODEC_IDENTITY:
        plain = body
    elif (codec := codecs.get(header.codec)) is None:
        raise RemoteProtocolError(f"a body with codec {header.codec}, which is not known here")
    else:
        plain = codec.decode(body, plain_bytes=header.plain_bytes)
    if len(plain) != header.plain_bytes:
        raise RemoteProtocolError(f"{len(plain)} bytes in a block of {header.plain_bytes}")
    return plain
