"""What a look at a few pieces of a block tells: whether compressing all of it would gain."""

from typing import Final

from damselfly.core.blocks import Span

# Three pieces of a 64th of the block, together: to compress them costs as much less.
PIECES: Final = 3
SHARE: Final = 64
PIECE_BYTES_MIN: Final = 4 << 10  # in less there is nothing that repeats
PIECE_BYTES_MAX: Final = 32 << 10

# First bytes of what is compressed already; nothing is tried on it.
_MAGICS: Final = (
    b"\x1f\x8b",  # gzip
    b"\x28\xb5\x2f\xfd",  # zstd
    b"\xfd7zXZ\x00",
    b"BZh",
    b"PK\x03\x04",  # zip, wheels, jars, office documents
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x04\x22\x4d\x18",  # lz4
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"OggS",
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"fLaC",
)
_BRANDED: Final = ((4, b"ftyp"), (8, b"WEBP"))  # MP4 and its kin; pictures in RIFF


def is_compressed_already(head: bytes) -> bool:
    """Say whether a content begins like one that no codec makes shorter."""
    return head.startswith(_MAGICS) or any(
        head[at : at + len(brand)] == brand for at, brand in _BRANDED
    )


def sample_spans(block_bytes: int) -> tuple[Span, ...]:
    """Return the pieces of a block to look at: at its start, in its middle, at its end."""
    piece = block_bytes // SHARE // PIECES
    piece = min(max(piece, PIECE_BYTES_MIN), PIECE_BYTES_MAX)
    piece -= piece % 4  # numbers of a model stay whole
    if PIECES * piece >= block_bytes:
        return (Span(0, block_bytes),)
    middle = (block_bytes - piece) // 2
    last = block_bytes - piece
    starts = (0, middle - middle % 4, last - last % 4)
    return tuple(Span(start, start + piece) for start in starts)
