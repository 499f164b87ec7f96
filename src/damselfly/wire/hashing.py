"""Hash functions by the names that digests and checksums have."""

import hashlib
import importlib.util
import zlib
from collections.abc import Callable
from typing import Final, Protocol

import blake3
import crc32c

from damselfly.core.digest import ALGORITHMS

# {name: hexadecimal digits of its value}; good against accidents alone.
CHECKSUMS: Final = {"md5": 32, "sha1": 40, "crc32": 8, "crc32c": 8, "crc64nvme": 16}


class Hasher(Protocol):
    """What all of them can do."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the value of all bytes so far."""


class _Crc:
    """A cyclic redundancy check, in the shape of the others."""

    def __init__(self, name: str) -> None:
        self._update = _crc_of(name)
        self._hex_digits = CHECKSUMS[name]
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._update(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:0{self._hex_digits}x}"


def _crc_of(name: str) -> Callable[[bytes | memoryview, int], int]:
    if name == "crc32":
        return zlib.crc32
    if name == "crc32c":
        return crc32c.crc32c
    checksums = importlib.import_module("awscrt.checksums")
    return checksums.crc64nvme  # type: ignore[no-any-return]


def can_hash(algorithm: str) -> bool:
    """Say whether `new_hasher` knows an algorithm here: one needs a package that may be missing."""
    if algorithm == "crc64nvme":
        return importlib.util.find_spec("awscrt") is not None
    return algorithm in ALGORITHMS or algorithm in CHECKSUMS


def new_hasher(algorithm: str) -> Hasher:
    """Return a hasher for an algorithm of `core.digest.ALGORITHMS`, or of a checksum."""
    assert can_hash(algorithm)
    if algorithm.startswith("crc"):
        return _Crc(algorithm)
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
