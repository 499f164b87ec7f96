"""How a task's bytes divide into blocks, and who holds which of them.

An edition of `size_bytes` is cut into blocks of `block_bytes`; only the last one may be
shorter. Blocks are numbered from 0. Everything here is arithmetic on integers, so that
daemon and SuperNode cannot disagree about where a block lies.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

BLOCK_BYTES_MIN = 256 << 10  # below it, the cost per block exceeds the cost of its bytes
BLOCK_BYTES_MAX = 32 << 20  # above it, a block held in memory per slot is too dear
BLOCKS_MAX = 1 << 24  # 4 TiB in blocks of 256 KiB; a wild index must not cost memory
BLOCK_BYTES_UNKNOWN_SIZE = 4 << 20  # right for 1 GB at 1 Gb/s, the middle of the table

# The rule of block_bytes_for() with the constants that scheduling.md section 9 fits:
_LATENCY_S = 0.005  # per block, hidden by parallel requests to 12 %
_LATENCY_SHARE = 0.12
_CPU_S = 0.002  # per block, at both ends, not hidden by anything (bench/arena.py)
_SPREAD = 1.6 * math.log2(1000)  # block times until a block has reached 1,000 peers
# ... and these from the arena: at least this many blocks, so that a swarm has work to share.
_BLOCKS_WANTED_MIN = 64

# 1 Gbit/s: what is assumed of a link of which nobody told or measured anything.
USUAL_LINK_BYTES_PER_S: Final = 125e6


def block_bytes_for(size_bytes: int | None, *, link_rate_bytes_per_s: float) -> int:
    """Return the block size for a content: the longer and the faster, the larger.

    Small blocks reach the last peer sooner, large ones cost less per byte; the best is
    `sqrt((0.12 latency + cpu) * rate * size / (1.6 log2 N))`, rounded to a power of two.
    The square root forgives a wrong guess of the number of peers.

    Args:
        size_bytes: Length of the content, or None when the source does not tell.
        link_rate_bytes_per_s: What one host's link carries.

    Source: shared scheduling study, section 9.
    """
    if size_bytes is None:
        return BLOCK_BYTES_UNKNOWN_SIZE
    best = math.sqrt(
        (_LATENCY_SHARE * _LATENCY_S + _CPU_S)
        * link_rate_bytes_per_s
        * max(size_bytes, 1)
        / _SPREAD
    )
    best = min(best, size_bytes / _BLOCKS_WANTED_MIN)
    power = 1 << round(math.log2(max(best, 1)))
    return min(max(power, BLOCK_BYTES_MIN), BLOCK_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of bytes: `start_byte <= x < stop_byte`."""

    start_byte: int
    stop_byte: int

    def __post_init__(self) -> None:
        assert 0 <= self.start_byte <= self.stop_byte

    def __len__(self) -> int:
        return self.stop_byte - self.start_byte


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLayout:
    """The cut of one edition into blocks.

    Attributes:
        size_bytes: Length of the whole content; 0 is a content without blocks. While a
            source of unknown length is being read, the length known so far.
        block_bytes: Length of every block but the last.
    """

    size_bytes: int
    block_bytes: int

    def __post_init__(self) -> None:
        assert self.size_bytes >= 0
        assert self.block_bytes > 0

    @property
    def block_count(self) -> int:
        """Number of blocks; the last may be short."""
        return -(-self.size_bytes // self.block_bytes)

    def span(self, block_index: int) -> Span:
        """Return the bytes of one block.

        Raises:
            IndexError: `block_index` is not in `0 <= block_index < block_count`.
        """
        if not 0 <= block_index < self.block_count:
            msg = f"block {block_index} of {self.block_count}"
            raise IndexError(msg)
        start_byte = block_index * self.block_bytes
        return Span(start_byte, min(start_byte + self.block_bytes, self.size_bytes))


class BlockSet:
    """A set of block indices as one integer: bit i stands for block i.

    Python's integers do set arithmetic on 10,000 blocks in about a microsecond, which no
    set of objects can.

    Attributes:
        bits: The integer; read it freely, change it by the methods.
    """

    __slots__ = ("bits",)

    def __init__(self, bits: int = 0) -> None:
        assert bits >= 0
        self.bits = bits

    @classmethod
    def of(cls, indices: Iterable[int]) -> Self:
        """Return the set of these indices."""
        bits = 0
        for index in indices:
            bits |= 1 << index
        return cls(bits)

    @classmethod
    def full(cls, block_count: int) -> Self:
        """Return the set of all indices below `block_count`."""
        return cls((1 << block_count) - 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the set that `to_bytes` wrote: little-endian, bit 0 of byte 0 is block 0."""
        return cls(int.from_bytes(data, "little"))

    def to_bytes(self) -> bytes:
        """Return the set as bytes, little-endian, without trailing zero bytes."""
        return self.bits.to_bytes((self.bits.bit_length() + 7) // 8, "little")

    def add(self, block_index: int) -> None:
        """Put one block in."""
        self.bits |= 1 << block_index

    def discard(self, block_index: int) -> None:
        """Take one block out, if it is in."""
        self.bits &= ~(1 << block_index)

    def update(self, other: "BlockSet") -> None:
        """Put all blocks of another set in."""
        self.bits |= other.bits

    def copy(self) -> "BlockSet":
        """Return an independent set with the same blocks."""
        return BlockSet(self.bits)

    def __contains__(self, block_index: object) -> bool:
        return isinstance(block_index, int) and bool(self.bits >> block_index & 1)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __iter__(self) -> Iterator[int]:
        return iter_bits(self.bits)

    def __and__(self, other: "BlockSet") -> "BlockSet":
        return BlockSet(self.bits & other.bits)

    def __or__(self, other: "BlockSet") -> "BlockSet":
        return BlockSet(self.bits | other.bits)

    def __sub__(self, other: "BlockSet") -> "BlockSet":
        return BlockSet(self.bits & ~other.bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockSet) and self.bits == other.bits

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"BlockSet({runs_text(self.bits)})"


def iter_bits(bits: int) -> Iterator[int]:
    """Yield the positions of the set bits, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def lowest_bit(bits: int) -> int:
    """Return the position of the lowest set bit; `bits` is not 0."""
    assert bits > 0
    return (bits & -bits).bit_length() - 1


def runs_text(bits: int) -> str:
    """Return the set bits as runs, such as `0-3,7`; empty is `-`."""
    runs: list[str] = []
    position = 0
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        length = (~bits & (bits + 1)).bit_length() - 1
        start = position + gap
        runs.append(str(start) if length == 1 else f"{start}-{start + length - 1}")
        bits >>= length
        position = start + length
    return ",".join(runs) or "-"


def gap_spans(layout: BlockLayout, held: BlockSet) -> list[Span]:
    """Return the bytes that are missing, as few spans as possible, in file order."""
    spans: list[Span] = []
    for block_index in iter_bits(((1 << layout.block_count) - 1) & ~held.bits):
        span = layout.span(block_index)
        if spans and spans[-1].stop_byte == span.start_byte:
            spans[-1] = Span(spans[-1].start_byte, span.stop_byte)
        else:
            spans.append(span)
    return spans
