"""What we changed on a host, so that it can be undone: a list, and the files as they were.

It lies below the root like the files themselves. The list is written before the files that
it speaks of: after a kill in between it names files that are still as they were, and undoing
those is nothing.
"""

from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final

import msgspec

from damselfly.errors import EngineConfigError
from damselfly.services.engine_setup.engines import REMOVERS
from damselfly.services.engine_setup.host_files import HostFiles
from damselfly.services.engine_setup.plans import Engine, FileKind

FOLDER: Final = "/var/lib/damselfly/engines"
LIST: Final = f"{FOLDER}/installed.json"
BEFORE: Final = f"{FOLDER}/before"  # files as they were, below their own paths
EDITED: Final = f"{FOLDER}/edited"  # files of ours that somebody edited and we removed
SECRET_MODE: Final = 0o600  # engines keep passwords in these files


class InstalledFile(msgspec.Struct, kw_only=True):
    """A file that we changed.

    Attributes:
        path: On the host.
        kind: How our part is found.
        engines: For whose sake.
        proxy_url: What our part says.
        mode: Its permissions before.
        digest: Of what we wrote.
        folders: Those that we made for it.
    """

    path: str
    kind: FileKind
    engines: tuple[Engine, ...]
    proxy_url: str
    mode: int
    digest: str
    folders: tuple[str, ...] = ()


class _List(msgspec.Struct):
    files: list[InstalledFile]


def digest_of(data: bytes) -> str:
    """Return what tells whether a file is still as we wrote it."""
    return f"sha256:{sha256(data).hexdigest()}"


def text_of(data: bytes | None, path: str) -> str | None:
    """Return the text of a file.

    Raises:
        EngineConfigError: It is no text.
    """
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError as exc:
        reason = "it is no text in UTF-8; correct it (nothing was changed)"
        raise EngineConfigError(path=path, reason=reason) from exc


class Installed:
    """The list, and the files as they would be without us.

    Attributes:
        files: {path: what we did to it}.
    """

    def __init__(self, host: HostFiles) -> None:
        self._host = host
        self.files = {file.path: file for file in self._load()}

    def _load(self) -> list[InstalledFile]:
        data = self._host.read(LIST)
        if data is None:
            return []
        try:
            return msgspec.json.decode(data, type=_List).files
        except msgspec.MsgspecError as exc:
            reason = f"it is not the list that we wrote: {exc}; the files before are in {BEFORE}"
            raise EngineConfigError(path=LIST, reason=reason) from exc

    def save(self) -> None:
        """Write the list; without files it goes."""
        if not self.files:
            self._host.remove(LIST)
            self._host.remove_empty([FOLDER, str(PurePosixPath(FOLDER).parent)])
            return
        files = sorted(self.files.values(), key=lambda file: file.path)
        data = msgspec.json.format(msgspec.json.encode(_List(files=files)), indent=1)
        self._host.write(LIST, data + b"\n", mode=SECRET_MODE)

    def without_us(self, path: str) -> bytes | None:
        """Return a file as it would be without us, or None: there would be none.

        Byte for byte as it was, unless somebody edited it since: then without our part. A
        file that is ours alone is our part, whatever was added to it.

        Raises:
            EngineConfigError: It was edited, and cannot be parsed any more.
        """
        now, file = self._host.read(path), self.files.get(path)
        if file is None or now is None:
            return now
        before = self._host.read(BEFORE + path)
        if digest_of(now) == file.digest or now == before or file.kind not in REMOVERS:
            return before
        try:
            text = REMOVERS[file.kind](text_of(now, path) or "", file.proxy_url)
        except EngineConfigError as exc:
            raise EngineConfigError(path=path, reason=exc.reason) from exc
        return text.encode() or None

    def is_edited(self, path: str) -> bool:
        """Say whether a file that we wrote is there, and not as we wrote it."""
        now, file = self._host.read(path), self.files.get(path)
        if file is None or now is None:
            return False
        return digest_of(now) != file.digest and now != self._host.read(BEFORE + path)

    # --- as the planners see it

    def read(self, path: str) -> str | None:
        """Return the text of a file as it would be without us."""
        return text_of(self.without_us(path), path)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        return self._host.names(folder)
