"""zstd: one frame per block, that says its length and needs no dictionary."""

from typing import Final

import zstandard

from damselfly.errors import RemoteProtocolError
from damselfly.wire.codecs.codec import Buffer

CODEC_ID: Final = 1
# A decoder takes the memory of the window that a frame asks for; no block is longer than this.
WINDOW_BYTES_MAX: Final = 32 << 20
LEVELS: Final[tuple[int, ...]] = (
    1,
    3,
    6,
    9,
)  # the ones between gain too little to be told apart by a sample


class ZstdCodec:
    """The codec `zstd`, RFC 8878."""

    codec_id = CODEC_ID
    name = "zstd"
    levels = LEVELS

    def encode(self, plain: Buffer, *, level: int) -> bytes:
        """Return a block as one frame."""
        return zstandard.ZstdCompressor(level=level).compress(plain)

    def decode(self, body: Buffer, *, plain_bytes: int) -> bytes:
        """Return the block in a frame.

        Raises:
            RemoteProtocolError: It is none, has another length, or wants a dictionary.
        """
        try:
            frame = zstandard.get_frame_parameters(body)
        except zstandard.ZstdError as exc:
            raise RemoteProtocolError(f"a body that is no zstd frame: {exc}") from exc
        if frame.dict_id:
            raise RemoteProtocolError(f"a zstd frame that needs dictionary {frame.dict_id}")
        # The decoder takes its memory by what the frame says, so that is looked at first.
        if frame.content_size != plain_bytes:
            raise RemoteProtocolError(
                f"a zstd frame of {_shown(frame.content_size)} bytes for a block of {plain_bytes}"
            )
        if frame.window_size > WINDOW_BYTES_MAX:
            raise RemoteProtocolError(f"a zstd frame with a window of {frame.window_size} bytes")
        try:
            plain = zstandard.ZstdDecompressor().decompress(
                body, max_output_size=plain_bytes, allow_extra_data=False
            )
        except zstandard.ZstdError as exc:
            raise RemoteProtocolError(f"a zstd frame that is broken: {exc}") from exc
        assert len(plain) == plain_bytes  # the library holds frames to what they say
        return plain


def _shown(content_size: int) -> str:
    unknown = (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR)
    return "unknown" if content_size in unknown else str(content_size)
