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
CRC_BYTES: Final = _CRC.size
RECORD_BYTES: Final = _RECORD.size + CRC_BYTES


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
        return with_crc(
            _RECORD.pack(self.block_index, self.plain_bytes, self.digest, self.body_crc32c)
        )


def read_records(data: bytes) -> Iterator[Record]:
    """Yield the records of a journal up to the first that is torn or wrong."""
    for head in right_heads(data, _RECORD.size):
        yield Record(*_RECORD.unpack(head))


def with_crc(head: bytes) -> bytes:
    """Return a record: its fields, and the CRC-32C over them."""
    return head + _CRC.pack(crc32c.crc32c(head))


def right_heads(data: bytes, head_bytes: int) -> Iterator[bytes]:
    """Yield the fields of records of one length, up to the first that is torn or wrong."""
    record_bytes = head_bytes + CRC_BYTES
    for start in range(0, len(data) - record_bytes + 1, record_bytes):
        head = data[start : start + head_bytes]
        (crc,) = _CRC.unpack_from(data, start + head_bytes)
        if crc32c.crc32c(head) != crc:
            return
        yield head
