"""Guards the codecs: what is encoded is decoded; what is no body of theirs is refused."""

import random
import struct

import pytest
import zstandard
from hypothesis import given, strategies as st

from damselfly.errors import RemoteProtocolError
from damselfly.wire.codecs.byte_planes import four_byte_planes, two_byte_planes
from damselfly.wire.codecs.codec import BlockCodec, Buffer
from damselfly.wire.codecs.zstd import WINDOW_BYTES_MAX, ZstdCodec

CODECS: tuple[BlockCodec, ...] = (ZstdCodec(), two_byte_planes(), four_byte_planes())
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def weights(count: int, *, width: int) -> bytes:
    """Return numbers as a model has them: of a normal distribution, cut to `width` bytes."""
    rng = random.Random(4)
    packed = (struct.pack("<f", rng.gauss(0, 0.02)) for _ in range(count))
    return b"".join(each[4 - width :] for each in packed)


@each_codec
@given(plain=st.binary(max_size=300), data=st.data())
def test_what_is_encoded_is_decoded(codec: BlockCodec, plain: bytes, data: st.DataObject) -> None:
    level = data.draw(st.sampled_from(codec.levels))

    body = codec.encode(plain, level=level)

    assert codec.decode(body, plain_bytes=len(plain)) == plain


@each_codec
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(
    codec: BlockCodec, kind: type[bytes] | type[bytearray] | type[memoryview]
) -> None:
    plain: Buffer = kind(b"the same words, the same words, the same words")

    body = codec.encode(plain, level=1)

    assert codec.decode(kind(body), plain_bytes=len(plain)) == bytes(plain)


def test_planes_are_the_documents() -> None:
    plain = bytes.fromhex("00110213041506170819")

    body = two_byte_planes().encode(plain, level=1)

    assert zstandard.decompress(body) == bytes.fromhex("00020406081113151719")


def test_planes_halve_what_the_exponents_of_weights_take() -> None:
    bf16, fp32 = weights(1 << 17, width=2), weights(1 << 17, width=4)

    bf16_planes = len(two_byte_planes().encode(bf16, level=1))

    assert bf16_planes < 0.75 * len(bf16)
    assert bf16_planes < 0.95 * len(ZstdCodec().encode(bf16, level=1))
    assert len(four_byte_planes().encode(fp32, level=1)) < 0.88 * len(fp32)


@each_codec
@given(body=st.binary(max_size=60), plain_bytes=st.integers(0, 1000))
def test_any_bytes_are_a_block_or_refused(codec: BlockCodec, body: bytes, plain_bytes: int) -> None:
    try:
        plain = codec.decode(body, plain_bytes=plain_bytes)
    except RemoteProtocolError:
        return

    assert len(plain) == plain_bytes


@each_codec
def test_another_length_than_told_is_refused(codec: BlockCodec) -> None:
    body = codec.encode(bytes(1000), level=1)

    for wrong in (0, 999, 1001, 1 << 25):
        with pytest.raises(RemoteProtocolError, match=f"1000 bytes for a block of {wrong}"):
            codec.decode(body, plain_bytes=wrong)


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 30))
    assert len(bomb) < 1 << 17

    with pytest.raises(RemoteProtocolError, match=f"{1 << 30} bytes for a block of 1000"):
        ZstdCodec().decode(bomb, plain_bytes=1000)


def test_a_frame_that_lies_about_its_length_is_refused() -> None:
    bomb = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(200_000)))
    honest = zstandard.get_frame_parameters(bytes(bomb)).content_size
    at = bytes(bomb).index(honest.to_bytes(4, "little"))
    bomb[at : at + 4] = (70_000).to_bytes(4, "little")
    assert zstandard.get_frame_parameters(bytes(bomb)).content_size == 70_000

    with pytest.raises(RemoteProtocolError, match="broken"):
        ZstdCodec().decode(bytes(bomb), plain_bytes=70_000)


def test_a_frame_without_its_length_is_refused() -> None:
    body = zstandard.ZstdCompressor(write_content_size=False).compress(b"some words")

    with pytest.raises(RemoteProtocolError, match="unknown"):
        ZstdCodec().decode(body, plain_bytes=10)


def test_a_frame_that_needs_a_dictionary_is_refused() -> None:
    samples: list[bytes | bytearray | memoryview] = [
        b"block %d of the edition, block %d" % (i, 7 * i) for i in range(2000)
    ]
    words = zstandard.train_dictionary(4096, samples)
    body = zstandard.ZstdCompressor(dict_data=words).compress(samples[3])

    with pytest.raises(RemoteProtocolError, match=f"dictionary {words.dict_id()}"):
        ZstdCodec().decode(body, plain_bytes=len(samples[3]))


def test_a_window_beyond_any_block_is_refused() -> None:
    window_log = WINDOW_BYTES_MAX.bit_length()  # twice as long
    wide = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj(size=1 << 27)
    head = stream.compress(bytes(1 << 20)) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    assert zstandard.get_frame_parameters(head).window_size > WINDOW_BYTES_MAX

    with pytest.raises(RemoteProtocolError, match="window"):
        ZstdCodec().decode(head, plain_bytes=1 << 27)


def test_a_frame_that_is_no_content_is_refused() -> None:
    skippable = bytes.fromhex("502a4d18") + (10).to_bytes(4, "little") + bytes(10)

    with pytest.raises(RemoteProtocolError):
        ZstdCodec().decode(skippable, plain_bytes=10)


@each_codec
def test_a_cut_or_longer_body_is_refused(codec: BlockCodec) -> None:
    plain = random.Random(1).randbytes(2000) + bytes(2000)
    body = codec.encode(plain, level=1)

    for wrong in (body[:-1], body[: len(body) // 2], body + b"x", body + body):
        with pytest.raises(RemoteProtocolError):
            codec.decode(wrong, plain_bytes=len(plain))
