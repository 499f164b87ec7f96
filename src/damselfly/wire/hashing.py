"""Hash functions by the names that digests and checksums have."""

import hashlib
from typing import Protocol

import blake3
import crc32c

from damselfly.core.digest import ALGORITHMS

CHECKSUMS = ("md5", "sha1", "crc32c")  # good against accidents alone


class Hasher(Protocol):
    """What all of them can do."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the value of all bytes so far."""


class _Crc32c:
    """CRC-32C, in the shape of the others."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = crc32c.crc32c(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def new_hasher(algorithm: str) -> Hasher:
    """Return a hasher for an algorithm of `core.digest.ALGORITHMS`, or of a checksum."""
    assert algorithm in (*ALGORITHMS, *CHECKSUMS)
    if algorithm == "crc32c":
        return _Crc32c()
    if algorithm == "blake3":
        return blake3.blake3()
    return hashlib.new(algorithm, usedforsecurity=algorithm in ALGORITHMS)


def other_than_told(told: str, data: bytes | memoryview) -> str:
    """Return what a content hashes to, if that is not what was told of it; else nothing.

    Args:
        told: A digest or a checksum, `md5:0123…`; empty: nothing was told.
        data: The content.
    """
    if not told:
        return ""
    name, _, _ = told.partition(":")
    hasher = new_hasher(name)
    hasher.update(data)
    found = f"{name}:{hasher.hexdigest()}"
    return "" if found == told else found
