"""AES-256-GCM: cipher 1. A sealed body is the nonce, the ciphertext and the tag.

The nonce is drawn anew for each body and travels with it. A number made from the block's
index would save 12 bytes and be a trap: one block of one edition is sealed more than once, by
a SuperNode that was killed between two steps or by two hosts that read the source themselves,
and GCM with one nonce for two bodies gives both away (docs/decisions/0034).
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from damselfly.errors import RemoteProtocolError
from damselfly.wire.ciphers.cipher import Buffer

AES_256_GCM: Final = 1
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class Aes256Gcm:
    """The cipher that comes with damselfly; see `Cipher`."""

    cipher_id = AES_256_GCM
    name = "aes-256-gcm"
    key_bytes = 32
    nonce_bytes = NONCE_BYTES
    overhead_bytes = NONCE_BYTES + TAG_BYTES

    def seal(self, body: Buffer, *, associated: bytes, key: bytes, nonce: bytes) -> bytes:
        """Return a body encrypted; no nonce comes twice with one key."""
        assert len(nonce) == NONCE_BYTES
        return nonce + AESGCM(key).encrypt(nonce, body, associated)

    def open(self, sealed: Buffer, *, associated: bytes, key: bytes) -> bytes:
        """Return the body that was sealed with the same key and associated data.

        Raises:
            RemoteProtocolError: It was not.
        """
        view = memoryview(sealed)
        if len(view) < self.overhead_bytes:
            raise RemoteProtocolError(f"a sealed body of {len(view)} bytes, too short to be one")
        try:
            return AESGCM(key).decrypt(view[:NONCE_BYTES], view[NONCE_BYTES:], associated)
        except InvalidTag as exc:
            raise RemoteProtocolError(
                "a sealed body that does not open: it or its header was changed, "
                "or it was sealed with another key"
            ) from exc
