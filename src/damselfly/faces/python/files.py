"""A content as a file: read from anywhere, while the rest still comes."""

import io
import os
from typing import Final

from damselfly.transport.open_content import OpenContent

BUFFER_BYTES: Final = 256 << 10


class SwarmFile(io.RawIOBase):
    """A seekable file for reading, fed by the swarm.

    Attributes:
        size: Length; None while the source has not told it.
    """

    def __init__(self, content: OpenContent) -> None:
        self._content = content
        self._position = 0
        size = content.opened.size_bytes
        self.size = None if size < 0 else size

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that one may read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Read from there next; costs nothing until it is read."""
        if whence == os.SEEK_SET:
            position = offset
        elif whence == os.SEEK_CUR:
            position = self._position + offset
        elif self.size is not None:
            position = self.size + offset
        else:
            raise io.UnsupportedOperation("the source has not told how long this content is")
        if position < 0:
            raise ValueError(f"a position before the beginning: {position}")
        self._position = position
        return position

    def readinto(self, buffer: "memoryview | bytearray", /) -> int:  # type: ignore[override]  # bytes-like
        """Fill a buffer as far as the content goes."""
        view = memoryview(buffer).cast("B")
        data = self._content.read_at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Give the content up."""
        if not self.closed:
            self._content.close()
        super().close()


def buffered(content: OpenContent) -> io.BufferedReader:
    """Return a content as the file that `open` of Python gives."""
    return io.BufferedReader(SwarmFile(content), BUFFER_BYTES)
