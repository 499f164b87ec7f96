"""What a cipher is. See docs/protocols/ciphers.md.

A cipher is a pure function of a key, a nonce, a body and the associated data: it holds no
state, reads no clock and throws no dice. The associated data of a body are the 40 bytes of
the header that it travels with, so that a body under another header does not open: another
edition, another block, other lengths, another codec or another key.

Ciphers are plug-ins by the entry point `damselfly.ciphers`; whoever loads them is
`services/encrypting/cipher_plugins.py`.
"""

from typing import Final, Protocol

Buffer = bytes | bytearray | memoryview

CIPHER_ID_MAX: Final = 255  # one byte of the header
OVERHEAD_BYTES_MAX: Final = 256  # nonce and tag of any cipher there is; it is memory of readers


class Cipher(Protocol):
    """A way to encrypt bodies; several threads may use it at the same time.

    Attributes:
        cipher_id: What the header says, 1 to 255; 192 and above are nobody's for ever.
        name: What settings and messages call it.
        key_bytes: Length of a key.
        nonce_bytes: Length of the nonce that `seal` is given.
        overhead_bytes: By how much a sealed body is longer, always the same.
    """

    cipher_id: int
    name: str
    key_bytes: int
    nonce_bytes: int
    overhead_bytes: int

    def seal(self, body: Buffer, *, associated: bytes, key: bytes, nonce: bytes) -> bytes:
        """Return a body encrypted; no nonce comes twice with one key."""

    def open(self, sealed: Buffer, *, associated: bytes, key: bytes) -> bytes:
        """Return the body that was sealed with the same key and associated data.

        Raises:
            RemoteProtocolError: It was not.
        """
