"""The journal of a packed entry: where each packed block lies, and what its body is.

A record is 68 bytes, big-endian: block index u32, length u32, BLAKE3 of the plain block 32
bytes, CRC-32C of the body u32, offset of the packed block in the file u64, length of the body
u32, codec u8, cipher u8, two bytes 0, key id u32, CRC-32C of the 64 bytes before u32. A block
is written before its record, as in the plain layout.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from damselfly.storage.journal import CRC_BYTES, Record, right_heads, with_crc

_RECORD: Final = struct.Struct(">II32sIQIBBxxI")
PACKED_RECORD_BYTES: Final = _RECORD.size + CRC_BYTES


@dataclass(frozen=True, slots=True)
class PackedRecord(Record):
    """One verified block in a packed entry."""

    offset: int
    body_bytes: int
    codec: int
    cipher: int
    key_id: int

    @property
    def stored_bytes(self) -> int:
        """What the block occupies, but for the 44 bytes around its body."""
        return self.body_bytes

    def encode(self) -> bytes:
        """Return the record as bytes."""
        return with_crc(
            _RECORD.pack(
                self.block_index,
                self.plain_bytes,
                self.digest,
                self.body_crc32c,
                self.offset,
                self.body_bytes,
                self.codec,
                self.cipher,
                self.key_id,
            )
        )


def read_packed_records(data: bytes) -> Iterator[PackedRecord]:
    """Yield the records of a journal up to the first that is torn or wrong."""
    for head in right_heads(data, _RECORD.size):
        yield PackedRecord(*_RECORD.unpack(head))
