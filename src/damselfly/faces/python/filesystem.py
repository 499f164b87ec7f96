"""A file system for fsspec: `damselfly::https://…`, and `dfly://host/path` for https.

Found by its entry points, so that pandas, pyarrow and all that speaks fsspec reads through the
swarm. It reads; it lists and writes nothing.
"""

import io
from typing import Any, ClassVar, Final

from fsspec.spec import AbstractFileSystem

from damselfly.errors import DamselflyError, SourceRefusedError
from damselfly.faces.python.client import Client

NOT_FOUND: Final = 404
_SCHEMES: Final = ("damselfly://", "dfly://")


class SwarmFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Contents of the swarm, by the URLs of their sources."""

    protocol: ClassVar[tuple[str, ...]] = ("damselfly", "dfly")
    cachable = True

    def __init__(
        self,
        *,
        fo: str = "",
        socket: str = "",
        supernode: str = "",
        headers: dict[str, str] | None = None,
        target_protocol: str = "",
        target_options: dict[str, Any] | None = None,
        **options: Any,  # noqa: ANN401  # what fsspec passes to all
    ) -> None:
        """Make one.

        Args:
            fo: The URL behind `damselfly::`.
            socket: Of the daemon; else the usual places.
            supernode: `host:port`; be a peer of its own.
            headers: For the source.
            target_protocol: What fsspec found behind `damselfly::`; the URL says it, too.
            target_options: Options for it; `headers` among them are used.
            options: Others of fsspec's own.
        """
        super().__init__(**options)
        del target_protocol
        self._fo = fo
        self._headers = headers or (target_options or {}).get("headers")
        self._client = Client(socket=socket, supernode=supernode)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Return the URL of the source that a path means."""
        for scheme in _SCHEMES:
            if path.startswith(scheme):
                rest = path.removeprefix(scheme)
                return rest if "://" in rest or not rest else f"https://{rest}"
        return path

    def _url(self, path: str) -> str:
        url = self._strip_protocol(path)
        return url if "://" in url else self._fo

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,  # noqa: ARG002  # the swarm has blocks of its own
        autocommit: bool = True,  # noqa: ARG002, FBT001, FBT002  # fsspec's signature
        cache_options: dict[str, Any] | None = None,  # noqa: ARG002
        **_: Any,  # noqa: ANN401
    ) -> io.BufferedReader:
        if mode != "rb":
            raise NotImplementedError(f"mode {mode!r}: contents of the swarm can only be read")
        try:
            return self._client.open(self._url(path), headers=self._headers)
        except SourceRefusedError as exc:
            if exc.http_status == NOT_FOUND:
                raise FileNotFoundError(str(exc)) from exc
            raise

    def info(self, path: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return name, size and kind of a content."""
        with self._open(path) as file:
            size = getattr(file.raw, "size", None)
        return {"name": self._strip_protocol(path), "size": size, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:  # noqa: ANN401
        """Say whether a content can be had."""
        try:
            self.info(path)
        except (DamselflyError, FileNotFoundError):
            return False
        return True

    def isfile(self, path: str) -> bool:
        """Say whether a content can be had."""
        return self.exists(path)

    def isdir(self, path: str) -> bool:  # noqa: ARG002  # fsspec's signature
        """Say that there are no folders."""
        return False

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: ANN401, FBT001, FBT002
        """Return the content itself: there are no folders."""
        told = self.info(path)
        return [told if detail else told["name"]]
