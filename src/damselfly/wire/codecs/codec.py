"""What a codec is. See docs/protocols/codecs.md.

A codec is a pure function of a block's plain bytes: it holds no state and knows no other
block, so that each block can be decoded by itself, in any order, by anybody.

Codecs are plug-ins by the entry point `damselfly.codecs`; whoever loads them is
`services/compressing/codec_plugins.py`.
"""

from typing import Final, Protocol

Buffer = bytes | bytearray | memoryview

CODEC_ID_MAX: Final = 255  # one byte of the header


class BlockCodec(Protocol):
    """A way to compress bodies; several threads may use it at the same time.

    Attributes:
        codec_id: What the header says, 1 to 255; 192 and above are nobody's for ever.
        name: What settings and messages call it.
        levels: Levels that `encode` may be given, the fastest first; never empty.
    """

    codec_id: int
    name: str
    levels: tuple[int, ...]

    def encode(self, plain: Buffer, *, level: int) -> bytes:
        """Return a block compressed; what comes out may be longer than what went in."""

    def decode(self, body: Buffer, *, plain_bytes: int) -> bytes | bytearray:
        """Return the block, of exactly `plain_bytes`; takes no more memory than a few times that.

        Raises:
            RemoteProtocolError: The body is none of this codec, or of another length.
        """
