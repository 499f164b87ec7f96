"""Outputs: files that a user asked for. Each appears whole or not at all.

`dfget`, many files as one, `cache export` and the Python client all put them in place here.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

from damselfly.errors import OutputError
from damselfly.storage.placing import place
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadFinished

if TYPE_CHECKING:
    from damselfly.storage.store import StoredEdition  # not for dfget

READ_BYTES: Final = 1 << 20
NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Output:
    """A file beside the output that becomes it, by rename.

    Whatever goes wrong, what was there before is still there, and nothing else.
    """

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path)
        self._path = path
        self._part = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.damselfly-part")

    def place(self, content_path: str) -> str:
        """Make the output of a content on this machine; return how.

        Raises:
            OutputError: It cannot be written.
        """
        with self._whole():
            how = place(content_path, self._part)
            self._open_to_others()
        return how

    def place_entry(self, entry: "StoredEdition") -> str:
        """Make the output of an entry of a store of this process; return how.

        Raises:
            OutputError: It cannot be written.
            StorageDamagedError: The entry is not what it was.
        """
        with self._whole():
            how = entry.place(self._part)
            self._open_to_others()
        return how

    def copy(self, content: BinaryIO, size_bytes: int) -> None:
        """Make the output of a stream.

        Raises:
            OutputError: It cannot be written, or the stream ended early.
        """
        with self._whole(), open(self._part, "xb") as file:
            left = size_bytes
            while left and (data := content.read(min(left, READ_BYTES))):
                file.write(data)
                left -= len(data)
            if left:
                raise OutputError(path=self._path, reason="the daemon stopped sending it")

    def write(self, data: bytes) -> None:
        """Make the output of a few bytes.

        Raises:
            OutputError: It cannot be written.
        """
        with self._whole():
            file = os.open(self._part, NEW, 0o666)
            try:
                left = memoryview(data)
                while left:  # a disk that fills up takes a part first, and then says so
                    left = left[os.write(file, left) :]
            finally:
                os.close(file)

    def _open_to_others(self) -> None:
        """Give a link the rights of a new file: the cache's folder is closed, its files may be."""
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(self._part, 0o666 & ~mask)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
            os.replace(self._part, self._path)
        except BaseException as exc:
            with contextlib.suppress(OSError):
                os.unlink(self._part)
            if isinstance(exc, OSError):
                raise OutputError(path=self._path, reason=exc.strerror or str(exc)) from exc
            if isinstance(exc, OutputError):
                raise OutputError(path=self._path, reason=exc.reason) from exc
            raise


def take_from(client: LocalClient, finished: DownloadFinished, path: str) -> None:
    """Make an output of what a daemon has finished, and tell it that this is done.

    Raises:
        OutputError: It cannot be written.
        DamselflyError: The daemon does not give it.
    """
    try:
        if finished.content_path and os.access(finished.content_path, os.R_OK):
            Output(path).place(finished.content_path)
        else:
            client.read_content(finished, Output(path).copy)
    finally:
        client.release(finished)
