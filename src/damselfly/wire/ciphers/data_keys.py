"""The key of one edition: what all of its bodies are sealed with.

It is drawn when the edition starts and has an id that follows from it, which the header of
each block carries. At rest it lies wrapped, by a key that a key provider holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

import blake3

from damselfly.errors import RemoteProtocolError
from damselfly.wire.ciphers.cipher import OVERHEAD_BYTES_MAX, Buffer, Cipher

KEY_ID_CONTEXT: Final = "damselfly 2026-11-25 key id of a data key"


def key_id_of(secret: bytes) -> int:
    """Return the id of a data key: 32 bits that tell it from others, and nothing about it."""
    hashed = blake3.blake3(secret, derive_key_context=KEY_ID_CONTEXT).digest(4)
    return int.from_bytes(hashed, "big") or 1  # 0 is no key


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """What seals and opens the bodies of one edition.

    Attributes:
        cipher: How.
        secret: The key; never shown.
        key_id: Its id.
        draw: Gives as many random bytes as it is asked for.
    """

    cipher: Cipher
    secret: bytes = field(repr=False)
    key_id: int
    draw: Callable[[int], bytes] = field(repr=False)

    @classmethod
    def of(cls, cipher: Cipher, secret: bytes, *, draw: Callable[[int], bytes]) -> Self:
        """Return a key with the id that follows from it.

        Raises:
            RemoteProtocolError: It has another length than the cipher's keys.
        """
        if len(secret) != cipher.key_bytes:
            wanted = f"{cipher.name} has keys of {cipher.key_bytes}"
            raise RemoteProtocolError(f"a data key of {len(secret)} bytes; {wanted}")
        return cls(cipher=cipher, secret=secret, key_id=key_id_of(secret), draw=draw)

    @property
    def cipher_id(self) -> int:
        """What the header says of the cipher."""
        return self.cipher.cipher_id

    @property
    def overhead_bytes(self) -> int:
        """By how much a sealed body is longer than what is in it."""
        assert 0 <= self.cipher.overhead_bytes <= OVERHEAD_BYTES_MAX
        return self.cipher.overhead_bytes

    def seal(self, body: Buffer, header: bytes) -> bytes:
        """Return a body sealed, to travel with a header."""
        nonce = self.draw(self.cipher.nonce_bytes)
        return self.cipher.seal(body, associated=header, key=self.secret, nonce=nonce)

    def open(self, sealed: Buffer, header: bytes) -> bytes:
        """Return what is in a sealed body that travelled with a header.

        Raises:
            RemoteProtocolError: Body, header or key are not those with which it was sealed.
        """
        return self.cipher.open(sealed, associated=header, key=self.secret)
