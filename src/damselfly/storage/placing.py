"""From the cache to its place: by reflink, hard link or copy, whichever works first.

A reflink shares the bytes and nothing else: it is always right. A hard link shares the file,
so a user who writes into the output writes into the cache; the store notices that and drops
the entry (`disk.py`), and a file is linked once only, so that two outputs do not share it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from damselfly.errors import OutputError

_FICLONE: Final = 0x40049409  # linux/fs.h
COPY_BYTES: Final = 64 << 20


def place(content_path: str, target: str) -> str:
    """Put a content at `target`, which must not exist; return `reflink`, `link` or `copy`.

    Raises:
        OutputError: It cannot be written there; nothing is left behind.
    """
    try:
        if _reflink(content_path, target):
            return "reflink"
        if _link(content_path, target):
            return "link"
        _copy(content_path, target)
    except FileExistsError as exc:  # not ours to remove
        raise OutputError(path=target, reason="there is something already") from exc
    except OSError as exc:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        raise OutputError(path=target, reason=exc.strerror or str(exc)) from exc
    return "copy"


@contextlib.contextmanager
def fresh_output(target: str) -> Iterator[BinaryIO]:
    """Give a new file at `target` to write a content into; one that is not finished is removed.

    Raises:
        OutputError: It cannot be written there; nothing is left behind.
    """
    try:
        created = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError as exc:  # not ours to remove
        raise OutputError(path=target, reason="there is something already") from exc
    except OSError as exc:
        raise OutputError(path=target, reason=exc.strerror or str(exc)) from exc
    try:
        with os.fdopen(created, "wb") as file:
            yield file
    except OSError as exc:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        raise OutputError(path=target, reason=exc.strerror or str(exc)) from exc
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        raise


def _reflink(content_path: str, target: str) -> bool:
    source = os.open(content_path, os.O_RDONLY)
    try:
        created = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.ioctl(created, _FICLONE, source)
        except OSError:
            os.unlink(target)
            return False
        finally:
            os.close(created)
    finally:
        os.close(source)
    return True


def _link(content_path: str, target: str) -> bool:
    status = os.stat(content_path)
    if status.st_uid != os.getuid() or status.st_nlink > 1:
        return False
    try:
        os.link(content_path, target)
    except OSError:
        return False  # another file system, or one that has no links
    return True


def _copy(content_path: str, target: str) -> None:
    source = os.open(content_path, os.O_RDONLY)
    try:
        created = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            left = os.fstat(source).st_size
            while left:
                try:
                    count = os.copy_file_range(source, created, min(left, COPY_BYTES))
                except OSError:
                    count = os.sendfile(created, source, None, min(left, COPY_BYTES))
                if not count:
                    raise OSError(f"the cache's file ended {left} bytes early")
                left -= count
        finally:
            os.close(created)
    finally:
        os.close(source)
