"""Files of a host below a root: read whole, replaced whole, never through a link out of it."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from damselfly.errors import EngineConfigError

FILE_BYTES_MAX: Final = 4 << 20  # the largest containerd configuration has 10 kB
NEW_MODE: Final = 0o644


class HostFiles:
    """The files below a root, by the paths that they have on the host itself.

    Attributes:
        root: `/`, or the folder of an image that is being built.
    """

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file, or None: there is none.

        Raises:
            EngineConfigError: It is no plain file, or may not be read.
        """
        place = self._place(path)
        with _told(path):
            try:
                if place.stat().st_size > FILE_BYTES_MAX or not place.is_file():
                    raise EngineConfigError(path=path, reason="it is no file of an engine")
                return place.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty: there is none."""
        with _told(folder), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return sorted(each.name for each in self._place(folder).iterdir())
        return []

    def mode(self, path: str) -> int:
        """Return the permissions of a file, those of a new one if there is none."""
        with contextlib.suppress(OSError):
            return self._place(path).stat().st_mode & 0o7777
        return NEW_MODE

    def write(self, path: str, data: bytes, *, mode: int) -> list[str]:
        """Replace a file at once, or make it, with its owner kept; returns folders it made.

        Raises:
            EngineConfigError: It cannot be written.
        """
        place = self._place(path)
        with _told(path):
            made = self._make_folders(path)
            temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            try:
                with temporary.open("xb") as file:
                    os.fchmod(file.fileno(), mode)
                    with contextlib.suppress(FileNotFoundError):
                        there = place.stat()
                        os.fchown(file.fileno(), there.st_uid, there.st_gid)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(place)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return made

    def remove(self, path: str) -> None:
        """Remove a file, if it is there.

        Raises:
            EngineConfigError: It cannot be removed.
        """
        with _told(path):
            self._place(path).unlink(missing_ok=True)

    def remove_empty(self, folders: Iterable[str]) -> None:
        """Remove those of the folders that are empty, the innermost first."""
        for folder in sorted(folders, key=len, reverse=True):
            with contextlib.suppress(OSError):
                self._place(folder).rmdir()

    @contextlib.contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Let one process at a time work inside the block.

        Raises:
            EngineConfigError: Another one does.
        """
        with _told(folder):
            made = self._make_folders(f"{folder}/any")
            lock = os.open(self._place(folder), os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                os.close(lock)
                reason = "another install or uninstall is running; wait for it"
                raise EngineConfigError(path=folder, reason=reason) from exc
        try:
            yield
        finally:
            os.close(lock)
            self.remove_empty(made)

    def _make_folders(self, path: str) -> list[str]:
        folders = [str(folder) for folder in PurePosixPath(path).parents][:-1]
        missing = [folder for folder in reversed(folders) if not self._place(folder).exists()]
        for folder in missing:
            self._place(folder).mkdir(mode=0o755)
        return missing

    def _place(self, path: str) -> Path:
        """Return where a path lies; a link would lead past the root, or be replaced by a file.

        Raises:
            EngineConfigError: There is a link on the way, or the path is none of a host.
        """
        parts = path.split("/")[1:]
        if not path.startswith("/") or not all(part not in ("", ".", "..") for part in parts):
            raise EngineConfigError(path=path, reason="it is no path from the root")
        place = self.root
        for part in parts:
            place = place / part
            is_last = place == self.root.joinpath(*parts)
            if place.is_symlink() and (is_last or self.root != Path("/")):
                reason = f"{place} is a symbolic link; set up what it leads to by hand"
                raise EngineConfigError(path=path, reason=reason)
        return place


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn what the system says into an error of ours."""
    try:
        yield
    except PermissionError as exc:
        raise EngineConfigError(path=path, reason="permission denied; run it as root") from exc
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise EngineConfigError(path=path, reason=reason) from exc
