"""The talk of dfget and other programs with the daemon over its Unix socket.

HTTP/1.0, in which an answer ends with its connection, is little enough to be spoken here: the
standard library's client would take a third of a short download's start.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import quote

import msgspec

from damselfly.errors import (
    DaemonUnreachableError,
    DamselflyError,
    DownloadTimeoutError,
    RemoteProtocolError,
)
from damselfly.wire.local_messages import (
    DownloadFailed,
    DownloadFinished,
    DownloadProgress,
    DownloadRequest,
    decode_report,
    encode_line,
)
from damselfly.wire.told_errors import revive

if TYPE_CHECKING:
    from damselfly.wire.cache_messages import CacheChanged, CacheListing, CacheOrder, ImportOrder
    from damselfly.wire.status_messages import HostStatus

CONNECT_TIMEOUT_S: Final = 2.0
STATUS_TIMEOUT_S: Final = 5.0
SILENCE_S: Final = 60.0  # the daemon tells news while things move; a stall ends before that
LINE_BYTES_MAX: Final = 1 << 20
STATUS_BYTES_MAX: Final = 16 << 20  # a thousand downloads have some 500 kB
HEAD_LINES_MAX: Final = 100
OK: Final = b"200"

T = TypeVar("T")


class LocalClient:
    """A daemon, by the path of its socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def is_there(self) -> bool:
        """Say whether somebody answers on the socket."""
        try:
            self._connect().close()
        except OSError:
            return False
        return True

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
                            raise _revived(failed)
        except TimeoutError as exc:
            raise DownloadTimeoutError(timeout_s=request.timeout_s) from exc
        except OSError as exc:
            raise self._unreachable(exc) from exc
        raise DaemonUnreachableError(
            socket=self.path,
            reason="it ended during the download; run the same command again to resume",
        )

    def read_content(
        self, finished: DownloadFinished, copy: Callable[[BinaryIO, int], None]
    ) -> None:
        """Pass the content to `copy` as a stream, for who may not read the cache."""
        what = f"GET /v1/downloads/{finished.download_id}/content"
        try:
            with self._asked(what, SILENCE_S) as answer:
                copy(answer, finished.size_bytes)
        except OSError as exc:
            raise self._unreachable(exc) from exc

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
            raise self._unreachable(exc) from exc

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
                status, length = _read_head(answer)
                if status != OK:
                    raise _told(answer.read(LINE_BYTES_MAX))
                copy(answer, length)
        except OSError as exc:
            raise self._unreachable(exc) from exc

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
                status, length = _read_head(answer)
                if status != OK:
                    raise RemoteProtocolError(f"it answered {status.decode('ascii', 'replace')}")
                told: object = decode_json(answer.read(length), CacheAnswer)
        except OSError as exc:
            raise self._unreachable(exc) from exc
        if isinstance(told, DownloadFailed):
            raise _revived(told)
        if not isinstance(told, kind):
            raise RemoteProtocolError("the answer to another question")
        return told

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _asked(self, what: str, timeout_s: float | None, body: bytes = b"") -> Iterator[BinaryIO]:
        """Ask the daemon, and give the body of its answer as a stream.

        Raises:
            OSError: It does not answer, or stopped doing so.
            RemoteProtocolError: It does not do what was asked.
        """
        with self._sent(what, timeout_s, body) as answer:
            status, _ = _read_head(answer)
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
        with self._connect() as connection:
            connection.settimeout(timeout_s)
            head = f"{what} HTTP/1.0\r\nContent-Length: {len(body) + file_bytes}\r\n\r\n"
            connection.sendall(head.encode() + body)
            if file is not None:
                # An answer may come early, with what is wrong: it is read then.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendfile(file, count=file_bytes or None)
            with connection.makefile("rb") as answer:
                yield answer

    def _unreachable(self, exc: OSError) -> DaemonUnreachableError:
        reason = (exc.strerror or str(exc) or type(exc).__name__).lower()
        return DaemonUnreachableError(
            socket=self.path, reason=f"{reason}; start it, or name another"
        )


def _read_head(answer: BinaryIO) -> tuple[bytes, int]:
    """Read the head of an answer; return its status, and the length of what follows."""
    status = b"".join(answer.readline(LINE_BYTES_MAX).split(b" ")[1:2])
    length = 0
    for _ in range(HEAD_LINES_MAX):
        line = answer.readline(LINE_BYTES_MAX).strip()
        if not line:
            break
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
    return status, length


def _encoded(message: object) -> bytes:
    return msgspec.json.encode(message)


def _told(data: bytes) -> DamselflyError:
    report = decode_report(data)
    if isinstance(report, DownloadFailed):
        return _revived(report)
    return RemoteProtocolError("the answer to another question")


def _revived(failed: DownloadFailed) -> DamselflyError:
    return revive(failed.error, failed.message, http_status=failed.http_status)
