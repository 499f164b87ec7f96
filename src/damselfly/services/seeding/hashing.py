"""Hash functions by the names that digests have."""

import hashlib
from typing import Protocol

import blake3

from damselfly.core.digest import ALGORITHMS


class Hasher(Protocol):
    """What all of them can do."""

    def update(self, data: bytes, /) -> object:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the value of all bytes so far."""


def new_hasher(algorithm: str) -> Hasher:
    """Return a hasher for an algorithm of `core.digest.ALGORITHMS`."""
    assert algorithm in ALGORITHMS
    if algorithm == "blake3":
        return blake3.blake3()
    return hashlib.new(algorithm)
