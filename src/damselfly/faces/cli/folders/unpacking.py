"""A bundle into its files: each appears whole or not at all."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from damselfly.core.members import Member
from damselfly.errors import DamselflyError, DigestMismatchError, OutputError, RemoteProtocolError
from damselfly.services.outputs import Output
from damselfly.wire.bundles import LENGTH_BYTES, listing_bytes_told, members_told


def unpack(bundle: Path, folder: Path) -> tuple[list[Member], dict[str, DamselflyError]]:
    """Write the files of a bundle below a folder; return those, and {path: why it is not}.

    Raises:
        RemoteProtocolError: It is no bundle.
    """
    done: list[Member] = []
    failed: dict[str, DamselflyError] = {}
    with bundle.open("rb") as file:
        members = members_told(file.read(listing_bytes_told(file.read(LENGTH_BYTES))))
        ready: dict[str, str] = {}  # {what is above files: that folder, which was looked at}
        for member in members:
            data = _body(file, member)
            above, _, name = member.path.rpartition("/")
            try:
                _check(member, data)
                if above not in ready:
                    ready[above] = str(make_room_for(folder, member.path).parent)
                Output(os.path.join(ready[above], name)).write(data)
            except (DigestMismatchError, OutputError) as exc:
                failed[member.path] = exc
            else:
                done.append(member)
    return done, failed


def _body(file: BinaryIO, member: Member) -> bytes:
    size = member.size_bytes or 0
    data = file.read(size)
    if len(data) != size:
        raise RemoteProtocolError("a bundle that ends early")
    return data


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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(path=str(target), reason=exc.strerror or str(exc)) from exc
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(folder)):
        raise OutputError(path=str(target), reason="a link leads out of the folder there")
    if target.is_dir():
        raise OutputError(path=str(target), reason="there is a folder of that name")
    return target
