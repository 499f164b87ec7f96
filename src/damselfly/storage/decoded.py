"""Blocks that were decoded last, so that who reads on in the same block need not decode again."""

import threading
from collections import OrderedDict
from typing import Final

BYTES_MAX: Final = 16 << 20  # four blocks of the usual longest size, of all readers together


class DecodedBlocks:
    """Plain bytes by their digest; the ones that were used longest ago leave first."""

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        # {BLAKE3 digest: the block}; invariant: together at most `bytes_max` long.
        self._blocks: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, digest: bytes) -> bytes | None:
        """Return a block, if it is still here."""
        with self._lock:
            plain = self._blocks.get(digest)
            if plain is not None:
                self._blocks.move_to_end(digest)
            return plain

    def put(self, digest: bytes, plain: bytes) -> None:
        """Keep a block for a while."""
        with self._lock:
            if digest in self._blocks or len(plain) > self._bytes_max:
                return
            self._blocks[digest] = plain
            self._bytes += len(plain)
            while self._bytes > self._bytes_max:
                _, oldest = self._blocks.popitem(last=False)
                self._bytes -= len(oldest)
