"""SMB shares by fsspec, each file system with a session of its own.

fsspec's file system leaves its sessions to a pool that the whole process shares, and takes of it
whichever it finds for a server: one with a wrong password, or none, would read what the session of
somebody else may. It also opens files so that nobody else can open them.
"""

import importlib
import weakref
from functools import cache
from typing import Any


@cache
def with_own_session(kind: type[Any]) -> type[Any]:
    """Return a kind of file system whose sessions are not shared, nor the files that it opens."""
    smbclient = importlib.import_module("smbclient")

    class OwnShares(kind):  # type: ignore[misc]  # known when smbprotocol is there
        """`fsspec.implementations.smb.SMBFileSystem`, to itself."""

        def __init__(self, **options: Any) -> None:  # noqa: ANN401
            super().__init__(**options, register_session_retries=-1, share_access="rwd")
            pool: dict[str, Any] = {}
            self._as_whom = {"username": self.username, "password": self.password}
            self._as_whom |= {"connection_cache": pool}
            smbclient.register_session(
                self.host, port=self._port, connection_timeout=self.timeout, **self._as_whom
            )
            weakref.finalize(self, _disconnect, pool)

        def info(self, path: str, **kwargs: Any) -> Any:  # noqa: ANN401
            return super().info(path, **self._as_whom, **kwargs)

        def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:  # noqa: ANN401, FBT001, FBT002  # as fsspec has it
            return super().ls(path, detail, **self._as_whom, **kwargs)

        def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:  # noqa: ANN401
            return super()._open(path, mode, **self._as_whom, **kwargs)

    return OwnShares


def _disconnect(pool: dict[str, Any]) -> None:
    for connection in pool.values():
        connection.transport.close()  # its thread ends with it, and the session there
