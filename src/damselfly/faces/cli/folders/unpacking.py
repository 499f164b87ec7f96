"""A bundle into its files: each appears whole or not at all."""

import hashlib
import os
from pathlib import Path

from damselfly.core.members import Member
from damselfly.errors import DamselflyError, DigestMismatchError, OutputError, RemoteProtocolError
from damselfly.faces.cli.folders.getting import Read
from damselfly.services.outputs import Output
from damselfly.wire.bundles import LENGTH_BYTES, listing_bytes_told, members_told


class Unpacking:
    """Writes the files of a bundle below a folder, as its bytes come.

    Attributes:
        done: Those that are there.
        failed: {path: why it is not}.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready: dict[str, str] = {}  # {what is above files: that folder, which was looked at}
        self.done: list[Member] = []
        self.failed: dict[str, DamselflyError] = {}

    def take(self, read: Read) -> None:
        """Read a bundle to its end.

        Raises:
            RemoteProtocolError: It is no bundle, or ends early.
            DamselflyError: What `read` raised.
        """
        for member in members_told(read(listing_bytes_told(read(LENGTH_BYTES)))):
            data = read(member.size_bytes or 0)
            if len(data) != (member.size_bytes or 0):
                raise RemoteProtocolError("a bundle that ends early")
            try:
                self._write(member, data)
            except (DigestMismatchError, OutputError) as exc:
                self.failed[member.path] = exc
            else:
                self.done.append(member)

    def _write(self, member: Member, data: bytes) -> None:
        _check(member, data)
        above, _, name = member.path.rpartition("/")
        if above not in self._ready:
            self._ready[above] = str(make_room_for(self._folder, member.path).parent)
        Output(os.path.join(self._ready[above], name)).write(data)


def _check(member: Member, data: bytes) -> None:
    algorithm, _, value = member.digest.partition(":")
    if algorithm == "sha256" and (actual := hashlib.sha256(data).hexdigest()) != value:
        raise DigestMismatchError(expected=member.digest, actual=f"sha256:{actual}")


def write_file(folder: Path, path: str, data: bytes) -> None:
    """Write a short file below a folder.

    Raises:
        OutputError: It cannot be written.
    """
    Output(str(make_room_for(folder, path))).write(data)


def make_room_for(folder: Path, path: str) -> Path:
    """Return where a file of a listing goes; its folder is there then.

    Links that lie in the way are not followed: they could lead anywhere.

    Raises:
        OutputError: It would be outside the folder, or cannot be made.
    """
    target = folder / path
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(folder)):
        raise OutputError(path=str(target), reason="a link leads out of the folder there")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(path=str(target), reason=exc.strerror or str(exc)) from exc
    if target.is_dir():
        raise OutputError(path=str(target), reason="there is a folder of that name")
    return target
