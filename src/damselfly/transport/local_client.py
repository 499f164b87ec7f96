"""The talk of dfget and other programs with the daemon over its Unix socket.

How it is spoken stands in local_socket.py.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import quote
from weakref import WeakSet

import msgspec

from damselfly.errors import (
    DaemonUnreachableError,
    DamselflyError,
    DownloadTimeoutError,
    RemoteProtocolError,
)
from damselfly.transport.local_socket import (
    CONNECT_TIMEOUT_S,
    LINE_BYTES_MAX,
    OK,
    LocalSocket,
    read_head,
    revived,
)
from damselfly.wire.local_messages import (
    ContentOpened,
    DownloadFailed,
    DownloadFinished,
    DownloadProgress,
    DownloadRequest,
    decode_report,
    encode_line,
)

if TYPE_CHECKING:
    from damselfly.transport.open_content import OpenContent
    from damselfly.wire.cache_messages import CacheChanged, CacheListing, CacheOrder, ImportOrder
    from damselfly.wire.status_messages import HostStatus

STATUS_TIMEOUT_S: Final = 5.0
SILENCE_S: Final = 60.0  # the daemon tells news while things move; a stall ends before that
STATUS_BYTES_MAX: Final = 16 << 20  # a thousand downloads have some 500 kB

T = TypeVar("T")


class LocalClient(LocalSocket):
    """A daemon, by the path of its socket."""

    def download(
        self, request: DownloadRequest, on_progress: Callable[[DownloadProgress], None]
    ) -> DownloadFinished:
        """Let the daemon download, and return what it has then.

        Raises:
            DamselflyError: What the daemon told, or that it cannot be reached.
        """
        timeout_s = request.timeout_s + 5.0 if request.timeout_s else None
        try:
            with self._asked("POST /v1/downloads", timeout_s, encode_line(request)) as answer:
                while line := answer.readline(LINE_BYTES_MAX):
                    match decode_report(line):
                        case DownloadProgress() as progress:
                            on_progress(progress)
                        case DownloadFinished() as finished:
                            return finished
                        case DownloadFailed() as failed:
                            raise revived(failed)
                        case ContentOpened():
                            raise RemoteProtocolError("the answer to another question")
        except TimeoutError as exc:
            raise DownloadTimeoutError(timeout_s=request.timeout_s) from exc
        except OSError as exc:
            raise self.unreachable(exc) from exc
        raise DaemonUnreachableError(
            socket=self.path,
            reason="it ended during the download; run the same command again to resume",
        )

    def open_content(self, request: DownloadRequest) -> "OpenContent":
        """Open a content that is read while it comes; close it when it is no longer wanted.

        Raises:
            DamselflyError: What the daemon told, or that it cannot be reached.
        """
        from damselfly.transport.open_content import OpenContent  # noqa: PLC0415  # not for dfget

        try:
            connection = self.connect()
            connection.settimeout(request.timeout_s or None)
            try:
                return OpenContent(self, request, connection)
            except BaseException:
                connection.close()
                raise
        except TimeoutError as exc:
            raise DownloadTimeoutError(timeout_s=request.timeout_s) from exc
        except OSError as exc:
            raise self.unreachable(exc) from exc

    def read_content(
        self, finished: DownloadFinished, copy: Callable[[BinaryIO, int], None]
    ) -> None:
        """Pass the content to `copy` as a stream, for who may not read the cache."""
        what = f"GET /v1/downloads/{finished.download_id}/content"
        try:
            with self._asked(what, SILENCE_S) as answer:
                copy(answer, finished.size_bytes)
        except OSError as exc:
            raise self.unreachable(exc) from exc

    def release(self, finished: DownloadFinished) -> None:
        """Tell the daemon that the content is no longer needed; failures do not matter."""
        with (
            contextlib.suppress(OSError, RemoteProtocolError),
            self._asked(f"DELETE /v1/downloads/{finished.download_id}", CONNECT_TIMEOUT_S),
        ):
            pass

    def status(self) -> "HostStatus":
        """Ask the daemon how it is.

        Raises:
            DamselflyError: It cannot be reached, or answers something else.
        """
        from damselfly.wire.status_messages import decode_status  # noqa: PLC0415  # not for dfget

        try:
            with self._asked("GET /v1/status", STATUS_TIMEOUT_S) as answer:
                return decode_status(answer.read(STATUS_BYTES_MAX))
        except OSError as exc:
            raise self.unreachable(exc) from exc

    # --- the cache

    def cache(self) -> "CacheListing":
        """Ask what is in the cache.

        Raises:
            DamselflyError: It cannot be reached, or answers something else.
        """
        from damselfly.wire.cache_messages import CacheListing  # noqa: PLC0415  # not for dfget

        return self._cache_answer("GET /v1/cache", b"", CacheListing)

    def order(self, order: "CacheOrder") -> "CacheChanged":
        """Have something done with entries of the cache.

        Raises:
            DamselflyError: What the process told, or that it cannot be reached.
        """
        from damselfly.wire.cache_messages import CacheChanged  # noqa: PLC0415  # not for dfget

        return self._cache_answer("POST /v1/cache", _encoded(order), CacheChanged)

    def import_file(self, order: "ImportOrder", file: BinaryIO) -> "CacheChanged":
        """Put a file into the cache.

        Raises:
            DamselflyError: What the process told, or that it cannot be reached.
        """
        from damselfly.wire.cache_messages import CacheChanged  # noqa: PLC0415  # not for dfget

        line = _encoded(order) + b"\n"
        return self._cache_answer(
            "POST /v1/cache/imports", line, CacheChanged, file=file, file_bytes=order.size_bytes
        )

    def export(self, name: str, copy: Callable[[BinaryIO, int], None]) -> None:
        """Pass a cached content to `copy` as a stream.

        Raises:
            DamselflyError: What the process told, or that it cannot be reached.
        """
        try:
            with self._sent(f"GET /v1/cache/content?name={quote(name, safe='')}", None) as answer:
                status, length = read_head(answer)
                if status != OK:
                    raise _told(answer.read(LINE_BYTES_MAX))
                copy(answer, length)
        except OSError as exc:
            raise self.unreachable(exc) from exc

    def _cache_answer(
        self,
        what: str,
        body: bytes,
        kind: type[T],
        *,
        file: BinaryIO | None = None,
        file_bytes: int = 0,
    ) -> T:
        from damselfly.wire.cache_messages import CacheAnswer, decode_json  # noqa: PLC0415

        try:
            with self._sent(what, None, body, file=file, file_bytes=file_bytes) as answer:
                status, length = read_head(answer)
                if status != OK:
                    raise RemoteProtocolError(f"it answered {status.decode('ascii', 'replace')}")
                told: object = decode_json(answer.read(length), CacheAnswer)
        except OSError as exc:
            raise self.unreachable(exc) from exc
        if isinstance(told, DownloadFailed):
            raise revived(told)
        if not isinstance(told, kind):
            raise RemoteProtocolError("the answer to another question")
        return told

    @contextlib.contextmanager
    def _asked(self, what: str, timeout_s: float | None, body: bytes = b"") -> Iterator[BinaryIO]:
        """Ask the daemon, and give the body of its answer as a stream.

        Raises:
            OSError: It does not answer, or stopped doing so.
            RemoteProtocolError: It does not do what was asked.
        """
        with self._sent(what, timeout_s, body) as answer:
            status, _ = read_head(answer)
            if status != OK:
                shown = status.decode("ascii", "replace") or "nothing"
                raise RemoteProtocolError(f"the daemon answered {shown}")
            yield answer

    @contextlib.contextmanager
    def _sent(
        self,
        what: str,
        timeout_s: float | None,
        body: bytes = b"",
        *,
        file: BinaryIO | None = None,
        file_bytes: int = 0,
    ) -> Iterator[BinaryIO]:
        """Send a request, its body and perhaps a file, and give the answer from its head on."""
        with self.connect() as connection:
            connection.settimeout(timeout_s)
            head = f"{what} HTTP/1.0\r\nContent-Length: {len(body) + file_bytes}\r\n\r\n"
            connection.sendall(head.encode() + body)
            if file is not None:
                # An answer may come early, with what is wrong: it is read then.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendfile(file, count=file_bytes or None)
            with connection.makefile("rb") as answer:
                yield answer


class StoppableClient(LocalClient):
    """Speaks with a daemon until another thread stops it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._open: WeakSet[socket.socket] = WeakSet()
        self._is_stopped = False

    def connect(self) -> socket.socket:
        """Return a connection to the daemon, unless it is too late for one."""
        connection = super().connect()
        with self._lock:
            self._open.add(connection)
            is_stopped = self._is_stopped
        if is_stopped:
            self.stop()
        return connection

    def stop(self) -> None:
        """Let whoever waits for the daemon wait no longer."""
        with self._lock:
            self._is_stopped = True
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # it has ended
                connection.shutdown(socket.SHUT_RDWR)


def _encoded(message: object) -> bytes:
    return msgspec.json.encode(message)


def _told(data: bytes) -> DamselflyError:
    report = decode_report(data)
    if isinstance(report, DownloadFailed):
        return revived(report)
    return RemoteProtocolError("the answer to another question")
