"""Guards the format of a packed block: what is written can be read, anything else is refused."""

import re
import struct
from pathlib import Path

import crc32c
import pytest
from hypothesis import given, strategies as st

from damselfly.core.blocks import BLOCK_BYTES_MAX
from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError
from damselfly.wire.packed_block import (
    BODY_BYTES_MAX,
    HEADER_BYTES,
    TRAILER_BYTES,
    PackedHeader,
    body_bytes_max,
    frame_bytes_max,
    is_plain,
    plain_header,
    trailer,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocols" / "packed-block.md"
EDITION_ID = EditionId("967392f298d9d88a61cd97e43a00c657")


def a_header(*, block_index: int = 17, plain_bytes: int = 10) -> PackedHeader:
    return PackedHeader(
        edition_id=EDITION_ID,
        block_index=block_index,
        plain_bytes=plain_bytes,
        body_bytes=plain_bytes,
    )


def with_field(offset: int, field: bytes) -> bytes:
    """Return the bytes of a right header with one field written over."""
    data = bytearray(a_header().encode())
    data[offset : offset + len(field)] = field
    return bytes(data)


headers = st.builds(
    lambda edition, index, size: PackedHeader(
        edition_id=EditionId(edition.hex()), block_index=index, plain_bytes=size, body_bytes=size
    ),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1),
    st.integers(0, BLOCK_BYTES_MAX),
)


# --- the header


def test_header_and_trailer_have_the_lengths_that_the_document_tells() -> None:
    assert (HEADER_BYTES, TRAILER_BYTES) == (40, 4)


@given(headers)
def test_what_is_encoded_is_decoded(header: PackedHeader) -> None:
    data = header.encode()

    assert len(data) == HEADER_BYTES
    assert PackedHeader.decode(data) == header


@given(headers, st.binary(max_size=50))
def test_decoding_reads_any_buffer_and_only_its_head(header: PackedHeader, body: bytes) -> None:
    data = header.encode() + body

    assert PackedHeader.decode(data) == header
    assert PackedHeader.decode(bytearray(data)) == header
    assert PackedHeader.decode(memoryview(data)) == header


def test_each_field_lies_where_the_document_says() -> None:
    data = PackedHeader(
        edition_id=EDITION_ID,
        block_index=0x01020304,
        plain_bytes=0x00050607,
        body_bytes=0x0008090A,
        codec=0x0B,
        cipher=0x0C,
        key_id=0x0D0E0F10,
    ).encode()

    assert data == bytes.fromhex(
        "444d4642 01 0b 0c 00 01020304 00050607 0008090a967392f298d9d88a61cd97e43a00c657 0d0e0f10"
    )


@given(st.binary(max_size=2 * HEADER_BYTES))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    try:
        header = PackedHeader.decode(data)
    except RemoteProtocolError:
        return

    assert header.encode() == data[:HEADER_BYTES]


@given(headers, st.dictionaries(st.integers(0, HEADER_BYTES - 1), st.integers(0, 255), max_size=3))
def test_a_header_with_wrong_bytes_is_another_header_or_refused(
    header: PackedHeader, wrong: dict[int, int]
) -> None:
    data = bytearray(header.encode())
    for offset, value in wrong.items():
        data[offset] = value

    try:
        decoded = PackedHeader.decode(data)
    except RemoteProtocolError:
        return

    assert decoded.encode() == bytes(data)
    assert decoded.body_bytes <= BODY_BYTES_MAX


@pytest.mark.parametrize("count", range(HEADER_BYTES))
def test_a_header_that_is_cut_is_refused(count: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"packed block of {count} bytes"):
        PackedHeader.decode(a_header().encode()[:count])


@pytest.mark.parametrize(
    ("data", "named"),
    [
        pytest.param(with_field(0, b"HTTP"), "not DMFB", id="magic"),
        pytest.param(with_field(4, b"\0"), "version 0, not 1", id="version-0"),
        pytest.param(with_field(4, b"\2"), "version 2, not 1", id="version-2"),
        pytest.param(with_field(5, b"\1"), "codec 1", id="codec"),
        pytest.param(with_field(6, b"\3"), "cipher 3", id="cipher"),
        pytest.param(with_field(36, b"\0\0\0\5"), "key 5", id="key-without-cipher"),
        pytest.param(with_field(6, b"\1"), "cipher 1", id="unknown-cipher"),
        pytest.param(with_field(7, b"\x80"), "flags 0x80", id="flags"),
        pytest.param(with_field(15, b"\x0b"), "11 bytes in a body of 10", id="lengths-differ"),
        pytest.param(
            with_field(12, struct.pack(">II", BLOCK_BYTES_MAX + 1, BLOCK_BYTES_MAX + 1)),
            f"{BLOCK_BYTES_MAX + 1} bytes",
            id="longer-than-any-block",
        ),
        pytest.param(
            with_field(16, b"\xff\xff\xff\xff"), f"a body of {2**32 - 1}", id="a-body-of-4-gib"
        ),
    ],
)
def test_a_wrong_field_is_refused_and_named(data: bytes, named: str) -> None:
    with pytest.raises(RemoteProtocolError, match=re.escape(named)):
        PackedHeader.decode(data)


def test_a_codec_and_a_cipher_that_are_known_are_accepted() -> None:
    header = PackedHeader(
        edition_id=EDITION_ID,
        block_index=1,
        plain_bytes=1000,
        body_bytes=300,
        codec=2,
        cipher=1,
        key_id=9,
    )
    data = header.encode()

    assert PackedHeader.decode(data, codecs={1, 2}, ciphers={1}) == header
    with pytest.raises(RemoteProtocolError, match="codec 2"):
        PackedHeader.decode(data, codecs={1}, ciphers={1})
    with pytest.raises(RemoteProtocolError, match="cipher 1"):
        PackedHeader.decode(data, codecs={2}, ciphers=())


@pytest.mark.parametrize(
    ("codec", "cipher", "key_id", "plain_bytes", "body_bytes"),
    [
        pytest.param(1, 0, 0, 1000, body_bytes_max(1000) + 1, id="body-beyond-its-block"),
        pytest.param(1, 0, 0, BLOCK_BYTES_MAX + 1, 10, id="block-beyond-any"),
        pytest.param(1, 0, 0, 0xFFFFFFFF, 10, id="bomb"),
        pytest.param(0, 1, 0, 1000, 1028, id="cipher-without-key"),
        pytest.param(1, 0, 5, 1000, 300, id="key-without-cipher"),
    ],
)
def test_a_body_that_cannot_be_is_refused(
    codec: int, cipher: int, key_id: int, plain_bytes: int, body_bytes: int
) -> None:
    data = PackedHeader(
        edition_id=EDITION_ID,
        block_index=1,
        plain_bytes=plain_bytes,
        body_bytes=body_bytes,
        codec=codec,
        cipher=cipher,
        key_id=key_id,
    ).encode()

    with pytest.raises(RemoteProtocolError):
        PackedHeader.decode(data, codecs={1}, ciphers={1})


def test_a_plain_header_is_that_of_a_plain_body() -> None:
    header = plain_header(EDITION_ID, 17, 10)

    assert header == a_header()
    assert is_plain(header)


def test_a_body_may_be_a_little_longer_than_its_block() -> None:
    header = PackedHeader(
        edition_id=EDITION_ID,
        block_index=1,
        plain_bytes=BLOCK_BYTES_MAX,
        body_bytes=BODY_BYTES_MAX,
        codec=1,
    )

    assert PackedHeader.decode(header.encode(), codecs={1}) == header
    assert BODY_BYTES_MAX == 33_882_112


def test_the_longest_block_and_the_empty_one_are_accepted() -> None:
    longest, empty = a_header(plain_bytes=BLOCK_BYTES_MAX), a_header(plain_bytes=0)

    assert PackedHeader.decode(longest.encode()) == longest
    assert PackedHeader.decode(empty.encode()) == empty


# --- the trailer


@given(headers, st.binary(max_size=200))
def test_trailer_is_the_crc_over_body_then_header(header: PackedHeader, body: bytes) -> None:
    told = trailer(header.encode(), crc32c.crc32c(body))

    assert told == crc32c.crc32c(body + header.encode()).to_bytes(4, "big")


@given(headers, st.binary(min_size=1, max_size=60), st.data())
def test_trailer_tells_each_flipped_bit(
    header: PackedHeader, body: bytes, data: st.DataObject
) -> None:
    sent = bytearray(header.encode() + body)
    told = trailer(header.encode(), crc32c.crc32c(body))
    bit = data.draw(st.integers(0, 8 * len(sent) - 1))
    sent[bit // 8] ^= 1 << bit % 8

    came = trailer(bytes(sent[:HEADER_BYTES]), crc32c.crc32c(sent[HEADER_BYTES:]))

    assert came != told


# --- the document


def fenced(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), flags=re.MULTILINE | re.DOTALL
    )


def test_the_documents_example_is_what_the_code_sends() -> None:
    (shown,) = fenced("hex")
    told = bytes.fromhex("".join(line.partition("#")[0] for line in shown.splitlines()))

    body = told[HEADER_BYTES:-TRAILER_BYTES]
    header = a_header(block_index=17, plain_bytes=len(body))

    assert body == b"damselfly\n"
    sent = header.encode() + body + trailer(header.encode(), crc32c.crc32c(body))
    assert sent == told


def test_the_documents_program_reads_the_documents_example() -> None:
    (shown,) = fenced("hex")
    (program,) = fenced("python")
    packed = bytes.fromhex("".join(line.partition("#")[0] for line in shown.splitlines()))

    names: dict[str, bytes] = {"packed": packed}
    exec(program, names)  # the document's own text

    assert names["body"] == b"damselfly\n"


def test_the_documents_table_has_the_fields_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE)

    assert [(int(offset), int(count), name) for offset, count, name in rows] == [
        (0, 4, "magic"),
        (4, 1, "version"),
        (5, 1, "codec"),
        (6, 1, "cipher"),
        (7, 1, "flags"),
        (8, 4, "block_index"),
        (12, 4, "plain_bytes"),
        (16, 4, "body_bytes"),
        (20, 16, "edition_id"),
        (36, 4, "key_id"),
    ]


def test_a_frame_has_room_for_the_longest_body_and_no_more() -> None:
    around = HEADER_BYTES + TRAILER_BYTES

    assert frame_bytes_max(1000, is_packed=False) == 1000 + around
    assert frame_bytes_max(1000, is_packed=True) == body_bytes_max(1000) + around
