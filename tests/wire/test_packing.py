"""Guards packing: compressed first, sealed then, and nothing else comes out than went in."""

import random
from dataclasses import replace

import pytest

from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError
from damselfly.wire.ciphers.aes256gcm import Aes256Gcm
from damselfly.wire.ciphers.data_keys import DataKey
from damselfly.wire.codecs.codec import BlockCodec
from damselfly.wire.codecs.zstd import CODEC_ID, ZstdCodec
from damselfly.wire.packing import Packed, pack, unpack

EDITION_ID = EditionId("967392f298d9d88a61cd97e43a00c657")
PLAIN = b"the same words " * 100
ZSTD = ZstdCodec()
CODECS: dict[int, BlockCodec] = {CODEC_ID: ZSTD}


KEY = DataKey.of(Aes256Gcm(), bytes(range(32)), draw=random.Random(0).randbytes)
OTHER_KEY = DataKey.of(Aes256Gcm(), bytes(32), draw=random.Random(0).randbytes)


def packed(*, is_compressed: bool = False, key: DataKey | None = None) -> Packed:
    compressed = ZSTD.encode(PLAIN, level=1) if is_compressed else None
    return pack(
        PLAIN,
        edition_id=EDITION_ID,
        block_index=3,
        codec=CODEC_ID,
        compressed=compressed,
        key=key,
    )


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("is_compressed", [True, False])
def test_what_is_packed_is_unpacked(*, is_compressed: bool, key: DataKey | None) -> None:
    block = packed(is_compressed=is_compressed, key=key)

    assert block.header.block_index == 3
    assert block.header.plain_bytes == len(PLAIN)
    assert block.header.body_bytes == len(block.body)
    assert bool(block.header.codec) == is_compressed
    assert bool(block.header.cipher) == bool(block.header.key_id) == bool(key)
    assert (len(block.body) < len(PLAIN)) == is_compressed
    assert unpack(block.header, block.body, codecs=CODECS, key=key) == PLAIN


def test_a_sealed_body_is_the_compressed_one() -> None:
    block = packed(is_compressed=True, key=KEY)

    compressed = KEY.open(block.body, block.header.encode())

    assert ZSTD.decode(compressed, plain_bytes=len(PLAIN)) == PLAIN


def test_another_header_does_not_open() -> None:
    block = packed(key=KEY)

    with pytest.raises(RemoteProtocolError, match="does not open"):
        unpack(replace(block.header, block_index=4), block.body, codecs={}, key=KEY)


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_without_its_key_a_body_is_refused(key: DataKey | None) -> None:
    block = packed(key=KEY)

    with pytest.raises(RemoteProtocolError, match=f"key {KEY.key_id}"):
        unpack(block.header, block.body, codecs=CODECS, key=key)


def test_without_its_codec_a_body_is_refused() -> None:
    block = packed(is_compressed=True)

    with pytest.raises(RemoteProtocolError, match=f"codec {CODEC_ID}"):
        unpack(block.header, block.body, codecs={})


def test_a_plain_body_of_another_length_is_refused() -> None:
    block = packed()

    with pytest.raises(RemoteProtocolError, match="1499 bytes in a block of 1500"):
        unpack(block.header, block.body[:-1], codecs={})
