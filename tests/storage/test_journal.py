"""Guards the journal's records: what is torn or wrong ends it, and nothing after it counts."""

import crc32c
from hypothesis import given, strategies as st

from damselfly.storage.journal import RECORD_BYTES, Record, read_records

records = st.builds(
    Record,
    block_index=st.integers(0, 2**32 - 1),
    plain_bytes=st.integers(0, 2**32 - 1),
    digest=st.binary(min_size=32, max_size=32),
    body_crc32c=st.integers(0, 2**32 - 1),
)


def test_a_record_is_48_bytes_laid_out_as_documented() -> None:
    data = Record(0x01020304, 0x05060708, bytes(range(32)), 0x090A0B0C).encode()

    head = bytes.fromhex("01020304 05060708") + bytes(range(32)) + bytes.fromhex("090a0b0c")
    assert RECORD_BYTES == 48
    assert data == head + crc32c.crc32c(head).to_bytes(4, "big")


@given(st.lists(records, max_size=5))
def test_what_is_written_is_read(written: list[Record]) -> None:
    data = b"".join(record.encode() for record in written)

    assert list(read_records(data)) == written


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_journal_that_is_cut_has_the_records_before_the_cut(
    written: list[Record], data: st.DataObject
) -> None:
    whole = b"".join(record.encode() for record in written)
    length = data.draw(st.integers(0, len(whole)))

    assert list(read_records(whole[:length])) == written[: length // RECORD_BYTES]


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_flipped_bit_ends_the_journal_before_its_record(
    written: list[Record], data: st.DataObject
) -> None:
    journal = bytearray(b"".join(record.encode() for record in written))
    bit = data.draw(st.integers(0, 8 * len(journal) - 1))
    journal[bit // 8] ^= 1 << bit % 8

    assert list(read_records(bytes(journal))) == written[: bit // 8 // RECORD_BYTES]


def test_zeros_that_a_crash_left_are_no_record() -> None:
    """A file system may lengthen a file before it has its bytes."""
    record = Record(0, 10, bytes(32), 0)

    assert list(read_records(record.encode() + bytes(10 * RECORD_BYTES))) == [record]


@given(st.binary(max_size=4 * RECORD_BYTES))
def test_any_bytes_are_read_as_far_as_they_are_records(data: bytes) -> None:
    found = list(read_records(data))

    read = b"".join(record.encode() for record in found)
    assert data.startswith(read)
