"""zstd over byte planes: all first bytes of a block's numbers, then all second ones, and so on.

The weights of a model are numbers of 2 or 4 bytes. Their exponents are alike and compress,
their mantissas are noise and do not; as they lie, side by side, they spoil each other's
statistics. Taken apart, the plane of exponents becomes a third of its size and the planes of
mantissas stay as they are.

Slices with a step do the work: they run at 1 GB/s and need no library.
"""

from typing import Final

from damselfly.wire.codecs.codec import Buffer
from damselfly.wire.codecs.zstd import LEVELS, ZstdCodec

BF16_CODEC_ID: Final = 2
FP32_CODEC_ID: Final = 3


class BytePlanes:
    """A codec that takes numbers of `width` bytes apart before it compresses."""

    levels = LEVELS

    def __init__(self, *, codec_id: int, width: int) -> None:
        self.codec_id = codec_id
        self.name = f"zstd-planes-{width}"
        self._width = width
        self._zstd = ZstdCodec()

    def encode(self, plain: Buffer, *, level: int) -> bytes:
        """Return a block as one zstd frame of its planes."""
        # Of bytes alone a slice with a step is copied in C.
        data = plain if isinstance(plain, bytes) else bytes(plain)
        planes = b"".join(data[place :: self._width] for place in range(self._width))
        return self._zstd.encode(planes, level=level)

    def decode(self, body: Buffer, *, plain_bytes: int) -> bytearray:
        """Return the block of which a frame has the planes.

        Raises:
            RemoteProtocolError: It is no such frame.
        """
        planes = self._zstd.decode(body, plain_bytes=plain_bytes)
        plain = bytearray(plain_bytes)
        start = 0
        for place in range(self._width):
            # The last number may be cut: the first planes have one byte more.
            stop = start + len(range(place, plain_bytes, self._width))
            plain[place :: self._width] = planes[start:stop]
            start = stop
        return plain


def two_byte_planes() -> BytePlanes:
    """Return the codec for bf16 and fp16."""
    return BytePlanes(codec_id=BF16_CODEC_ID, width=2)


def four_byte_planes() -> BytePlanes:
    """Return the codec for fp32."""
    return BytePlanes(codec_id=FP32_CODEC_ID, width=4)
