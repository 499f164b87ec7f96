"""Digests of whole contents: algorithm and value.

Blocks have BLAKE3 digests of 32 bytes and need no algorithm name; see `BLOCK_DIGEST_BYTES`.
"""

import re
from dataclasses import dataclass
from typing import Self

from damselfly.errors import TaskSpecError

BLOCK_DIGEST_BYTES = 32  # BLAKE3

# {algorithm: hexadecimal digits of its value}; those that OCI registers, and BLAKE3.
ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128, "blake3": 64}

_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Digest:
    """What a content must hash to.

    Attributes:
        algorithm: A key of `ALGORITHMS`.
        value: Lower-case hexadecimal.
    """

    algorithm: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest written as `sha256:0123…`; upper-case hexadecimal is accepted.

        Raises:
            TaskSpecError: The text is no digest; the message says what one looks like.
        """
        algorithm, colon, value = text.partition(":")
        algorithm, value = algorithm.lower(), value.lower()
        if not colon or algorithm not in ALGORITHMS:
            expected = f"write it as ALGORITHM:HEX with one of {', '.join(ALGORITHMS)}"
            raise TaskSpecError(what="digest", value=text, expected=expected)
        if len(value) != ALGORITHMS[algorithm] or not _HEX.fullmatch(value):
            expected = f"{algorithm} has {ALGORITHMS[algorithm]} hexadecimal digits"
            raise TaskSpecError(what="digest", value=text, expected=expected)
        return cls(algorithm, value)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"
