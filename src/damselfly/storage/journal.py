"""The journal of an entry: one record for each block that was verified and written.

A record is 48 bytes, big-endian: block index u32, length u32, BLAKE3 of the block 32 bytes,
CRC-32C of the block u32, CRC-32C of the 44 bytes before u32. A block is written before its
record, so a process that is killed at any moment leaves at most a block without record.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import crc32c

_RECORD: Final = struct.Struct(">II32sI")
_CRC: Final = struct.Struct(">I")
RECORD_BYTES: Final = _RECORD.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Record:
    """One verified block."""

    block_index: int
    plain_bytes: int
    digest: bytes
    body_crc32c: int

    @property
    def stored_bytes(self) -> int:
        """What the block occupies."""
        return self.plain_bytes

    def encode(self) -> bytes:
        """Return the record as bytes."""
        head = _RECORD.pack(self.block_index, self.plain_bytes, self.digest, self.body_crc32c)
        return head + _CRC.pack(crc32c.crc32c(head))


def read_records(data: bytes) -> Iterator[Record]:
    """Yield the records of a journal up to the first that is torn or wrong."""
    for start in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        head = data[start : start + _RECORD.size]
        (crc,) = _CRC.unpack_from(data, start + _RECORD.size)
        if crc32c.crc32c(head) != crc:
            return
        yield Record(*_RECORD.unpack(head))
