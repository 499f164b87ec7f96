"""Packed blocks made wrong in all ways we can think of, and a reader that must not mind.

Blocks of all codecs, plain and sealed, are mutated: bits, fields of the header, lengths, bodies
of other blocks, frames of zstd that promise the moon. Many get a right checksum again, as from
a host that lies, and some a right seal, as from one that has the key. What comes is a
refusal, or the bytes of the block: nothing else.
"""

import random
import re
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import blake3
import crc32c
import zstandard

from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError
from damselfly.wire.ciphers.aes256gcm import AES_256_GCM, Aes256Gcm
from damselfly.wire.ciphers.data_keys import DataKey
from damselfly.wire.codecs.byte_planes import four_byte_planes, two_byte_planes
from damselfly.wire.codecs.codec import BlockCodec
from damselfly.wire.codecs.zstd import ZstdCodec
from damselfly.wire.packed_block import HEADER_BYTES, TRAILER_BYTES, PackedHeader, trailer
from damselfly.wire.packing import pack, unpack

EDITION, OTHER_EDITION = EditionId("ab" * 16), EditionId("cd" * 16)
CODECS: dict[int, BlockCodec] = {
    codec.codec_id: codec for codec in (ZstdCodec(), two_byte_planes(), four_byte_planes())
}
CIPHERS = (AES_256_GCM,)
FIELDS = ((0, 4), (4, 1), (5, 1), (6, 1), (7, 1), (8, 4), (12, 4), (16, 4), (20, 16), (36, 4))
DEEP, DEEPER = 0.7, 0.5  # how often a mutated body gets a right checksum, and a right seal
BOMB_BYTES = 64 << 20
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


@dataclass(frozen=True)
class Sample:
    """A right block.

    Attributes:
        plain: Its bytes.
        packed: As it travels.
        key: What seals it.
        compressed: What was sealed, or is the body.
    """

    plain: bytes
    packed: bytes
    key: DataKey | None
    compressed: bytes

    @property
    def header(self) -> PackedHeader:
        return PackedHeader.decode(self.packed, codecs=CODECS, ciphers=CIPHERS)


@dataclass
class Tally:
    """What became of mutated blocks.

    Attributes:
        refused: {words of the refusal without its numbers: how many}.
        accepted: How many were still the block.
    """

    refused: Counter[str] = field(default_factory=Counter)
    accepted: int = 0


def samples(rng: random.Random) -> list[Sample]:
    """Return blocks of all codecs, plain and sealed, of several lengths."""
    keys = [None, DataKey.of(Aes256Gcm(), rng.randbytes(32), draw=rng.randbytes)]
    plains = [
        b"",
        b"x",
        rng.randbytes(700),
        b"the same words again " * 60,
        b"".join(struct.pack("<f", rng.gauss(0, 0.02)) for _ in range(300)) + b"end",
    ]
    made = []
    for plain in plains:
        for codec in (None, *CODECS.values()):
            compressed = codec.encode(plain, level=1) if codec else None
            for key in keys:
                packed = pack(
                    plain,
                    edition_id=EDITION,
                    block_index=17,
                    codec=codec.codec_id if codec else 0,
                    compressed=compressed,
                    key=key,
                )
                body = bytes(packed.body)
                data = closed(packed.header, body)
                made.append(Sample(plain, data, key, plain if compressed is None else compressed))
    return made


def closed(header: PackedHeader, body: bytes) -> bytes:
    """Return a header and a body with the trailer that belongs to them."""
    head = header.encode()
    return head + body + trailer(head, crc32c.crc32c(body))


def read(data: bytes, key: DataKey | None, digest: bytes) -> bytes:
    """Return the plain bytes of block 17, as a host lets them in.

    Raises:
        RemoteProtocolError: It is not that block.
    """
    header = PackedHeader.decode(data, codecs=CODECS, ciphers=CIPHERS)
    if (header.edition_id, header.block_index) != (EDITION, 17):
        raise RemoteProtocolError("another block")
    if len(data) != HEADER_BYTES + header.body_bytes + TRAILER_BYTES:
        raise RemoteProtocolError("another length")
    body = memoryview(data)[HEADER_BYTES:-TRAILER_BYTES]
    if trailer(data[:HEADER_BYTES], crc32c.crc32c(body)) != data[-TRAILER_BYTES:]:
        raise RemoteProtocolError("another checksum")
    if bool(header.cipher) != bool(key):  # an edition is encrypted or not, and its host knows
        raise RemoteProtocolError("another form than the edition's")
    plain = bytes(unpack(header, body, codecs=CODECS, key=key))
    if blake3.blake3(plain).digest() != digest:
        raise RemoteProtocolError("another digest")
    return plain


# --- mutations


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def write_number(data: bytearray, rng: random.Random) -> None:
    """Put a number that programmers forget somewhere."""
    count = rng.choice((1, 2, 4, 8))
    numbers = (0, 1, 2, 127, 128, 255, 1 << 15, 1 << 25, 1 << 31, (1 << 32) - 1, (1 << 64) - 1)
    value = (rng.choice(numbers) & ((1 << 8 * count) - 1)).to_bytes(
        count, rng.choice(("big", "little"))
    )
    start = rng.randrange(len(data) + 1)
    data[start : start + count] = value


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def repeat_part(data: bytearray, rng: random.Random) -> None:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    data[start:start] = data[start:stop]


def insert_noise(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.randint(1, 40))


ANYWHERE: list[Callable[[bytearray, random.Random], None]] = [
    *(flip_bits, flip_bits, write_number, cut, repeat_part, insert_noise)
]


def with_field(data: bytes, rng: random.Random) -> bytes:
    """Write over one field of a header, and make the checksum right again."""
    start, count = rng.choice(FIELDS)
    values = (0, 1, 2, 3, 255, 1 << 25, (1 << 8 * count) - 1, rng.getrandbits(8 * count))
    value = rng.choice(values) & ((1 << 8 * count) - 1)
    head = bytearray(data[:HEADER_BYTES])
    head[start : start + count] = value.to_bytes(count, "big")
    body = data[HEADER_BYTES:-TRAILER_BYTES]
    return bytes(head) + body + trailer(bytes(head), crc32c.crc32c(body))


class Mutator:
    """Makes wrong blocks out of right ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.samples = samples(rng)
        zeros = bytes(BOMB_BYTES)
        bomb = zstandard.ZstdCompressor(level=1).compress(zeros)
        no_size = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(zeros)
        dictionary = zstandard.train_dictionary(
            1024, [rng.randbytes(8) * 30 + b"word" * 20 for _ in range(200)]
        )
        needs_words = zstandard.ZstdCompressor(dict_data=dictionary).compress(b"word" * 200)
        self.frames = [bomb, no_size, needs_words, bomb + bomb, b""]

    def mutate(self) -> tuple[Sample, bytes]:
        """Return a right block, and what somebody sends in its place."""
        sample = self.rng.choice(self.samples)
        way = self.rng.random()
        if way < 0.15:
            data = bytearray(sample.packed)
            self._spoil(data)
            return sample, bytes(data)
        if way < 0.3:
            return sample, with_field(sample.packed, self.rng)
        if way < 0.4:
            return sample, self._with_other_body(sample)
        return sample, self._with_spoiled_body(sample)

    def _spoil(self, data: bytearray) -> None:
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            self.rng.choice(ANYWHERE)(data, self.rng)

    def _with_other_body(self, sample: Sample) -> bytes:
        """Send the body of another block, under the header that is wanted."""
        other = self.rng.choice(self.samples)
        body = other.packed[HEADER_BYTES:-TRAILER_BYTES]
        return closed(replace(sample.header, body_bytes=len(body)), body)

    def _with_spoiled_body(self, sample: Sample) -> bytes:
        header = sample.header
        is_deep = self.rng.random() < DEEP
        if sample.key is None or self.rng.random() > DEEPER:
            body = bytearray(sample.packed[HEADER_BYTES:-TRAILER_BYTES])
            self._spoil(body)
        else:  # by somebody who has the key
            inner = bytearray(sample.compressed)
            self._spoil_frame(inner)
            header = replace(header, body_bytes=len(inner) + sample.key.overhead_bytes)
            body = bytearray(sample.key.seal(inner, header.encode()))
        if sample.key is None and header.codec and self.rng.random() < 0.1:
            body[:] = self.rng.choice(self.frames)
        if self.rng.random() < 0.8:
            header = replace(header, body_bytes=len(body))
        if is_deep:
            return closed(header, bytes(body))
        return header.encode() + bytes(body) + self.rng.randbytes(TRAILER_BYTES)

    def _spoil_frame(self, inner: bytearray) -> None:
        if self.rng.random() < 0.1:
            inner[:] = self.rng.choice(self.frames)
        else:
            self._spoil(inner)


def run(count: int, seed: int) -> Tally:
    """Read so many wrong blocks; what is neither refused nor the block is an AssertionError."""
    mutator = Mutator(random.Random(seed))
    digests = {id(each): blake3.blake3(each.plain).digest() for each in mutator.samples}
    tally = Tally()
    for number in range(count):
        sample, data = mutator.mutate()
        try:
            plain = read(data, sample.key, digests[id(sample)])
        except RemoteProtocolError as exc:
            tally.refused[_NUMBERS.sub("N", str(exc)).partition(":")[0][:70]] += 1
            continue
        except Exception as exc:
            shown = f"seed {seed}, block {number}: {data[:200].hex()}"
            raise AssertionError(shown) from exc
        assert plain == sample.plain, f"seed {seed}, block {number}: {data[:200].hex()}"
        tally.accepted += 1
    return tally
