"""The client: downloads and files through the daemon of this host, or as a peer of its own."""

import asyncio
import contextlib
import copy
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from damselfly.errors import DaemonUnreachableError, OutputError
from damselfly.faces.python.files import buffered
from damselfly.faces.python.own_peer import OwnPeer
from damselfly.services.outputs import take_from
from damselfly.services.places import daemon_sockets
from damselfly.transport.local_client import LocalClient, StoppableClient
from damselfly.wire.local_messages import DownloadFinished, DownloadProgress, DownloadRequest

OnProgress = Callable[[DownloadProgress], None]
T = TypeVar("T")


def _request(
    url: str,
    *,
    digest: str,
    headers: Mapping[str, str] | None,
    tag: str,
    filter_query: Sequence[str],
    timeout_s: float,
) -> DownloadRequest:
    request = DownloadRequest(
        url=url,
        digest=digest,
        headers=tuple(f"{name}: {value}" for name, value in (headers or {}).items()),
        tag=tag,
        filter_query=tuple(filter_query),
        timeout_s=timeout_s,
    )
    request.spec()  # at the door: what is wrong with it is said before anything starts
    return request


class Client:
    """Downloads through the swarm; safe to be used by several threads.

    Without arguments it speaks with the daemon of this host. Where there is none it is a peer
    itself, in a thread, as `dfget` is; it is quick to start, and slower for many small files.
    """

    def __init__(self, *, socket: str = "", supernode: str = "") -> None:
        """Find the daemon, or start a peer.

        Args:
            socket: Path of a daemon's socket; it must be there then.
            supernode: `host:port`; be a peer of its own, whether there is a daemon or not.

        Raises:
            DaemonUnreachableError: Nobody answers on the socket that was named.
            DamselflyError: A peer of this program cannot start.
        """
        self._peer: OwnPeer | None = None
        self._local = self._found(socket, supernode)

    def _found(self, socket: str, supernode: str) -> LocalClient:
        if socket:
            named = LocalClient(socket)
            if not named.is_there():
                reason = "nobody answers on this socket; start the daemon, or name no socket"
                raise DaemonUnreachableError(socket=socket, reason=reason)
            return named
        if not supernode:
            for path in daemon_sockets():
                usual = LocalClient(path)
                if os.path.exists(path) and usual.is_there():  # noqa: PTH110  # no Path is needed
                    return usual
        self._peer = OwnPeer(supernode)
        return LocalClient(self._peer.socket)

    def download(
        self,
        url: str,
        output: str | os.PathLike[str],
        *,
        digest: str = "",
        headers: Mapping[str, str] | None = None,
        tag: str = "",
        filter_query: Sequence[str] = (),
        timeout_s: float = 0.0,
        progress: bool | OnProgress = False,
    ) -> DownloadFinished:
        """Download a file, which appears whole, checked, or not at all.

        Args:
            url: The source.
            output: The file.
            digest: What it must hash to, as `sha256:…`.
            headers: For the source; never stored or shown.
            tag: Keeps contents of one URL apart.
            filter_query: Names of query parameters that do not name the content.
            timeout_s: Limit in time; 0 is none.
            progress: Show a bar, or call this with what moved.

        Raises:
            DamselflyError: Whatever ended it; its class says what.
        """
        request = _request(
            url,
            digest=digest,
            headers=headers,
            tag=tag,
            filter_query=filter_query,
            timeout_s=timeout_s,
        )
        path = Path(output)
        if path.is_dir() or not path.parent.is_dir():
            raise OutputError(path=str(path), reason="name a file in a folder that is there")
        with contextlib.ExitStack() as stack:
            on_progress: OnProgress = progress if callable(progress) else lambda _: None
            if progress is True:
                from damselfly.faces.python.progress import shown  # noqa: PLC0415  # 30 ms

                on_progress = stack.enter_context(shown(path.name))
            finished = self._local.download(request, on_progress)
        take_from(self._local, finished, str(path))
        return finished

    def open(
        self,
        url: str,
        *,
        digest: str = "",
        headers: Mapping[str, str] | None = None,
        tag: str = "",
        filter_query: Sequence[str] = (),
    ) -> io.BufferedReader:
        """Open a content as a file that is read while it comes, from anywhere.

        What is read next is fetched next; each byte was checked before. Arguments as in
        `download`.

        Raises:
            DamselflyError: It cannot be had. Reading raises them, too.
        """
        request = _request(
            url, digest=digest, headers=headers, tag=tag, filter_query=filter_query, timeout_s=0.0
        )
        return buffered(self._local.open_content(request))

    def in_words_of(self, local: LocalClient) -> Self:
        """Return the same client, but for who speaks with the daemon."""
        other = copy.copy(self)
        other._local, other._peer = local, None  # noqa: SLF001  # it is one of us
        return other

    @property
    def socket(self) -> str:
        """The path of the daemon's socket, or of the peer's own."""
        return self._local.path

    def close(self) -> None:
        """Stop the peer, if there is one."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """The same for programs that run in an event loop; each call waits in a thread.

    A call that is cancelled ends there as well; what came stays in the cache.
    """

    def __init__(self, *, socket: str = "", supernode: str = "") -> None:
        """Say where; see `Client`. It is looked for when the client is entered."""
        self._socket, self._supernode = socket, supernode
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        self._client = await asyncio.to_thread(
            Client, socket=self._socket, supernode=self._supernode
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def download(
        self,
        url: str,
        output: str | os.PathLike[str],
        *,
        digest: str = "",
        headers: Mapping[str, str] | None = None,
        tag: str = "",
        filter_query: Sequence[str] = (),
        timeout_s: float = 0.0,
        progress: bool | OnProgress = False,
    ) -> DownloadFinished:
        """Download a file; see `Client.download`. Progress is told in another thread."""
        return await self._in_thread(
            lambda client: client.download(
                url,
                output,
                digest=digest,
                headers=headers,
                tag=tag,
                filter_query=filter_query,
                timeout_s=timeout_s,
                progress=progress,
            )
        )

    async def read(
        self,
        url: str,
        start_byte: int = 0,
        stop_byte: int | None = None,
        *,
        digest: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the bytes `start_byte <= x < stop_byte` of a content; None is to its end."""

        def read(client: Client) -> bytes:
            with client.open(url, digest=digest, headers=headers) as file:
                file.seek(start_byte)
                return file.read(-1 if stop_byte is None else max(stop_byte - start_byte, 0))

        return await self._in_thread(read)

    async def _in_thread(self, work: Callable[[Client], T]) -> T:
        assert self._client is not None, "use it in `async with`"
        local = StoppableClient(self._client.socket)
        try:
            return await asyncio.to_thread(work, self._client.in_words_of(local))
        except asyncio.CancelledError:
            local.stop()
            raise


def download(
    url: str, output: str | os.PathLike[str], *, digest: str = "", progress: bool = True
) -> DownloadFinished:
    """Download a file with a progress bar, in one line; for more there is `Client`."""
    with Client() as client:
        return client.download(url, output, digest=digest, progress=progress)
