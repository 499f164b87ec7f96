"""A block as it travels: header, body, trailer. See docs/protocols/packed-block.md.

The trailer is the CRC-32C of the body followed by the header: in this order a sender that
knows the CRC of the body as it lies on its disk need not read the body again.
"""

import struct
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, Self

import crc32c

from damselfly.core.blocks import BLOCK_BYTES_MAX
from damselfly.core.task import EditionId, is_edition_id
from damselfly.errors import RemoteProtocolError

MAGIC: Final = b"DMFB"
VERSION: Final = 1
_HEADER: Final = struct.Struct(">4sBBBBIII16sI")
HEADER_BYTES: Final = _HEADER.size
TRAILER_BYTES: Final = 4
CODEC_IDENTITY: Final = 0
CIPHER_NONE: Final = 0


def body_bytes_max(plain_bytes: int) -> int:
    """Return the longest body that a block may have.

    A codec may make a block that does not compress a little longer (zstd adds below 0.5 %), a
    cipher adds a nonce and a tag.
    """
    return plain_bytes + (64 << 10) + plain_bytes // 128


BODY_BYTES_MAX: Final = body_bytes_max(BLOCK_BYTES_MAX)


def frame_bytes_max(plain_bytes: int, *, is_packed: bool) -> int:
    """Return how long a block can be as it travels, with header and trailer.

    Args:
        plain_bytes: Its own length.
        is_packed: Its body may be compressed or sealed.
    """
    body_bytes = body_bytes_max(plain_bytes) if is_packed else plain_bytes
    return HEADER_BYTES + body_bytes + TRAILER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedHeader:
    """What stands before the body.

    Attributes:
        edition_id: The edition.
        block_index: The block.
        plain_bytes: Length of the block as its digest is over it.
        body_bytes: Length of the body that follows.
        codec: How the body is compressed; 0 is not at all.
        cipher: How the body is encrypted; 0 is not at all.
        key_id: Which key opens it; 0 without a cipher.
    """

    edition_id: EditionId
    block_index: int
    plain_bytes: int
    body_bytes: int
    codec: int = CODEC_IDENTITY
    cipher: int = CIPHER_NONE
    key_id: int = 0

    def encode(self) -> bytes:
        """Return the header as `HEADER_BYTES` bytes."""
        assert is_edition_id(self.edition_id)
        return _HEADER.pack(
            MAGIC,
            VERSION,
            self.codec,
            self.cipher,
            0,
            self.block_index,
            self.plain_bytes,
            self.body_bytes,
            bytes.fromhex(self.edition_id),
            self.key_id,
        )

    @classmethod
    def decode(
        cls,
        data: bytes | bytearray | memoryview,
        *,
        codecs: Container[int] = (),
        ciphers: Container[int] = (),
    ) -> Self:
        """Return the header in the first `HEADER_BYTES` bytes.

        Args:
            data: They, and perhaps more.
            codecs: Ids of the codecs that are known here, besides 0.
            ciphers: Ids of the ciphers that are known here, besides 0.

        Raises:
            RemoteProtocolError: It is none, or one that cannot be read here.
        """
        if len(data) < HEADER_BYTES:
            raise RemoteProtocolError(f"a packed block of {len(data)} bytes")
        magic, version, codec, cipher, flags, index, plain, body, edition, key_id = (
            _HEADER.unpack_from(data)
        )
        if magic != MAGIC:
            raise RemoteProtocolError("no packed block: its first bytes are not DMFB")
        if version != VERSION:
            raise RemoteProtocolError(f"a packed block of version {version}, not {VERSION}")
        if codec != CODEC_IDENTITY and codec not in codecs:
            raise RemoteProtocolError(f"a packed block with codec {codec}, which is not known here")
        if cipher != CIPHER_NONE and cipher not in ciphers:
            text = f"a packed block with cipher {cipher}, which is not known here"
            raise RemoteProtocolError(text)
        if bool(cipher) != bool(key_id):
            raise RemoteProtocolError(f"a packed block with cipher {cipher} and key {key_id}")
        if flags:
            raise RemoteProtocolError(f"a packed block with flags {flags:#04x}; none are defined")
        header = cls(
            edition_id=EditionId(edition.hex()),
            block_index=index,
            plain_bytes=plain,
            body_bytes=body,
            codec=codec,
            cipher=cipher,
            key_id=key_id,
        )
        if not header.has_possible_lengths:
            raise RemoteProtocolError(f"a packed block of {plain} bytes in a body of {body}")
        return header

    @property
    def has_possible_lengths(self) -> bool:
        """Its lengths are within their limits, so that memory may be taken for them."""
        if self.plain_bytes > BLOCK_BYTES_MAX:
            return False
        if is_plain(self):
            return self.plain_bytes == self.body_bytes
        return self.body_bytes <= body_bytes_max(self.plain_bytes)


def plain_header(edition_id: EditionId, block_index: int, plain_bytes: int) -> PackedHeader:
    """Return the header of a block that is neither compressed nor encrypted."""
    return PackedHeader(
        edition_id=edition_id,
        block_index=block_index,
        plain_bytes=plain_bytes,
        body_bytes=plain_bytes,
    )


def is_plain(header: PackedHeader) -> bool:
    """Say whether a body is the block itself, neither compressed nor encrypted."""
    return header.codec == CODEC_IDENTITY and header.cipher == CIPHER_NONE


def trailer(header: bytes, body_crc32c: int) -> bytes:
    """Return the trailer for a header and a body of which the CRC-32C is known."""
    return crc32c.crc32c(header, body_crc32c).to_bytes(TRAILER_BYTES, "big")
