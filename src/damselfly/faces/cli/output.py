"""The output of dfget: it appears whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from damselfly.errors import OutputError
from damselfly.storage.placing import place


def output_path(asked: str, url: str) -> str:
    """Return the path to write: as asked, in a folder by the name in the URL.

    Raises:
        OutputError: There is no such folder, or no name.
    """
    path = asked or "."
    if os.path.isdir(path):
        name = os.path.basename(unquote(urlsplit(url).path))
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise OutputError(path=path, reason="it is a folder, and the URL has no file name")
        path = os.path.join(path, name)
    if os.path.isdir(path):
        raise OutputError(path=path, reason="it is a folder; name a file with -O")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise OutputError(path=path, reason=f"there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(path=path, reason=f"you may not write into {folder}")
    return path


class Output:
    """A file beside the output that becomes it, by rename."""

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path)
        self._path = path
        self._part = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.damselfly-part")

    def place(self, content_path: str) -> str:
        """Make the output of a content on this machine; return how.

        Raises:
            OutputError: It cannot be written; what was there before is still there.
        """
        with self._cleaned():
            how = place(content_path, self._part)
            mask = os.umask(0)
            os.umask(mask)
            # Also of a link: the cache's folder is closed to others, its files need not be.
            os.chmod(self._part, 0o666 & ~mask)
            os.replace(self._part, self._path)
        return how

    def copy(self, content: BinaryIO, size_bytes: int) -> None:
        """Make the output of a stream.

        Raises:
            OutputError: It cannot be written, or the stream ended early.
        """
        with self._cleaned():
            with open(self._part, "xb") as file:
                left = size_bytes
                while left and (data := content.read(min(left, 1 << 20))):
                    file.write(data)
                    left -= len(data)
            if left:
                raise OutputError(path=self._path, reason="the daemon stopped sending it")
            os.replace(self._part, self._path)

    @contextlib.contextmanager
    def _cleaned(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise OutputError(path=self._path, reason=exc.strerror or str(exc)) from exc
        finally:
            with contextlib.suppress(OSError):
                os.unlink(self._part)
