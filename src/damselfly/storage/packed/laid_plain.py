"""The content of a packed edition in plain, laid while its blocks come, for whoever places it.

A user who asked for a file waits for its last block alone: each block is in memory decoded when
it has been verified, and to decode all of them once more at the end costs as much again. The file
lies in `ROOT/plain`, is given to one who links or copies it, and goes when nobody uses the
entry; what a kill leaves goes when the store is opened again.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from damselfly.wire.codecs.codec import Buffer

FOLDER: Final = "plain"


class LaidPlain:
    """One content in plain.

    Attributes:
        laid: Blocks that are in it.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, root: Path, name: str) -> None:
        folder = root / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / name
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file: int | None = os.open(self._path, flags, 0o600)
        self.laid: set[int] = set()
        self._is_taken = False

    def lay(self, block_index: int, offset: int, plain: Buffer) -> None:
        """Write a block; several threads may do so at a time.

        A file that cannot be written is none any more: the cache has what it needs without it.
        """
        if self._file is None:
            return
        view = memoryview(plain)
        try:
            while view:
                count = os.pwrite(self._file, view, offset)
                view, offset = view[count:], offset + count
        except OSError:
            self.close()
        else:
            self.laid.add(block_index)

    def take(self, size_bytes: int) -> str:
        """Return the path of the whole for one who places it; empty: another one has it.

        Two must not share it: who linked it may write into it.
        """
        if self._file is None or self._is_taken:
            return ""
        os.ftruncate(self._file, size_bytes)  # of no bytes no block was laid
        self._is_taken = True
        return str(self._path)

    def close(self) -> None:
        """Remove it; what was made of it stays."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        with contextlib.suppress(OSError):
            self._path.unlink()
