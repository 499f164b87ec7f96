"""Outputs: files that a user asked for. Each appears whole or not at all.

`dfget`, many files as one, `cache export` and the Python client all put them in place here.

A device, a pipe or what this process has open cannot appear, and nothing may take its place:
root who writes to /dev/null shall have it still. The whole content, checked, is written into it.
"""

import contextlib
import fcntl
import os
import re
import stat
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

from damselfly.errors import OutputError
from damselfly.storage.placing import place
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadFinished

if TYPE_CHECKING:
    from damselfly.storage.store import StoredEdition  # not for dfget

READ_BYTES: Final = 1 << 20
NAME_BYTES_MAX: Final = 200  # file systems have 255
STANDARD_OUTPUT: Final = "/dev/stdout"

_OPEN_HERE: Final = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/([0-9]{1,6})")
_STANDARD: Final = {"stdout": 1, "stderr": 2}


def is_stream(path: str) -> bool:
    """Say whether a path names what is written into, and not a file that can be put in place."""
    if _open_here(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def may_write(stream: str) -> bool:
    """Say whether a stream, see `is_stream`, takes anything from us."""
    number = _open_here(stream)
    if number is None:
        return os.access(stream, os.W_OK)
    try:
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
    except OSError:
        return False
    return flags & os.O_ACCMODE != os.O_RDONLY


def _open_here(path: str) -> int | None:
    """Return which descriptor of this process a path names, None: it is none of them."""
    found = _OPEN_HERE.fullmatch(path)
    if found is None:
        return None
    standard, number = found.groups()
    return _STANDARD[standard] if standard else int(number)


def beside(path: str, what: str = "") -> str:
    """Return where something of an output lies while that is on its way.

    That is beside it, under a name of its own. What belongs to a folder lies inside, where the
    user may not write beside it, or where that is another disk, which may have no room.
    """
    folder, name = os.path.split(path)
    if os.path.isdir(path) and not _is_like(path, folder):
        folder = path
    return os.path.join(folder, f".{_short(name)}.damselfly{what}")


def _is_like(path: str, above: str) -> bool:
    return os.access(above or ".", os.W_OK) and os.stat(above or ".").st_dev == os.stat(path).st_dev


def _short(name: str) -> str:
    """Return a name that leaves room for more in it; each has its own."""
    encoded = os.fsencode(name)
    if len(encoded) <= NAME_BYTES_MAX:
        return name
    return f"{name[:40]}.{zlib.crc32(encoded):08x}"


class Output:
    """A file beside the output that becomes it, by rename; or a stream, see `is_stream`.

    Whatever goes wrong, what was there before is still there, and nothing else.
    """

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path)
        self._path = path
        self._is_stream = is_stream(path)
        self._part = os.path.join(folder, f".{_short(name)}.{os.urandom(4).hex()}.damselfly-part")

    def place(self, content_path: str) -> str:
        """Make the output of a content on this machine; return how.

        Raises:
            OutputError: It cannot be written.
        """
        if self._is_stream:
            with self._told(), open(content_path, "rb") as content:
                self.copy(content, os.fstat(content.fileno()).st_size)
            return "copy"
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
        if self._is_stream:
            layout = entry.edition.layout
            with self._file() as stream:
                for index in range(layout.block_count):
                    stream.write(entry.read_span(layout.span(index)))
            return "copy"
        with self._whole():
            how = entry.place(self._part)
            self._open_to_others()
        return how

    def copy(self, content: BinaryIO, size_bytes: int) -> None:
        """Make the output of what is read.

        Raises:
            OutputError: It cannot be written, or the content ended early.
        """
        with self._file() as file:
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
        with self._file() as file:
            file.write(data)

    def _open_to_others(self) -> None:
        """Give a link the rights of a new file: the cache's folder is closed, its files may be."""
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(self._part, 0o666 & ~mask)

    @contextlib.contextmanager
    def _file(self) -> Iterator[BinaryIO]:
        """Give what to write into."""
        if self._is_stream:
            with self._told(), open(self._opened(), "wb") as stream:
                yield stream
        else:
            with self._whole(), open(self._part, "xb") as file:
                yield file

    def _opened(self) -> int:
        """Return a descriptor of the stream.

        What this process has open is not opened anew, which would cut off what is in it already.
        """
        if (number := _open_here(self._path)) is not None:
            return os.dup(number)
        return os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        with self._told():
            try:
                yield
                os.replace(self._part, self._path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(self._part)
                raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say of the output what goes wrong with it."""
        try:
            yield
        except OSError as exc:
            raise OutputError(path=self._path, reason=exc.strerror or str(exc)) from exc
        except OutputError as exc:
            raise OutputError(path=self._path, reason=exc.reason) from exc


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
