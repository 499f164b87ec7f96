"""A data key on its way from the SuperNode to one host: nobody who listens can read it.

The host draws a key pair for each question and sends the public half; the SuperNode draws
one, too, and what both can compute, and nobody else, encrypts the data key (X25519, HKDF with
SHA-256, AES-256-GCM). This holds against whoever listens. Whoever can change what the two say
could pose as either: against that, the session needs TLS.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError

PUBLIC_BYTES: Final = 32
_CONTEXT: Final = b"damselfly data key for one host, version 1\n"
_NONCE: Final = bytes(12)  # each key encrypts once


class KeyQuestion:
    """A host's question for one data key, and what opens the answer.

    Args:
        seed: 32 random bytes.
    """

    def __init__(self, seed: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()

    def open(self, sealed_key: bytes, edition_id: EditionId) -> bytes:
        """Return the data key in an answer.

        Raises:
            RemoteProtocolError: It is no answer to this question, or about another edition.
        """
        public, sealed = sealed_key[:PUBLIC_BYTES], sealed_key[PUBLIC_BYTES:]
        shared = _shared(self._private, public)
        pair = _key(shared, asked=self.public_key, answered=public)
        try:
            return AESGCM(pair).decrypt(_NONCE, sealed, bytes.fromhex(edition_id))
        except InvalidTag as exc:
            raise RemoteProtocolError("a data key that was not sealed for this host") from exc


def answer_key(secret: bytes, edition_id: EditionId, public_key: bytes, *, seed: bytes) -> bytes:
    """Return a data key that only whoever asked with `public_key` can open.

    Args:
        secret: The data key.
        edition_id: Its edition.
        public_key: Of the question.
        seed: 32 random bytes.

    Raises:
        RemoteProtocolError: `public_key` is none.
    """
    private = X25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    pair = _key(_shared(private, public_key), asked=public_key, answered=public)
    return public + AESGCM(pair).encrypt(_NONCE, secret, bytes.fromhex(edition_id))


def _shared(private: X25519PrivateKey, public_key: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as exc:  # of another length, or a point that gives the key away
        raise RemoteProtocolError("a public key that cannot be one") from exc


def _key(shared: bytes, *, asked: bytes, answered: bytes) -> bytes:
    info = _CONTEXT + asked + answered
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(shared)
