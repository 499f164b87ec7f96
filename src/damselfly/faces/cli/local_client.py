"""dfget's talk with the daemon over its Unix socket.

HTTP/1.0, in which an answer ends with its connection, is little enough to be spoken here: the
standard library's client would take a third of a short download's start.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

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
    from damselfly.wire.status_messages import HostStatus

CONNECT_TIMEOUT_S: Final = 2.0
STATUS_TIMEOUT_S: Final = 5.0
SILENCE_S: Final = 60.0  # the daemon tells news while things move; a stall ends before that
LINE_BYTES_MAX: Final = 1 << 20
STATUS_BYTES_MAX: Final = 16 << 20  # a thousand downloads have some 500 kB
HEAD_LINES_MAX: Final = 100
OK: Final = b"200"


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
        with self._connect() as connection:
            connection.settimeout(timeout_s)
            head = f"{what} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            with connection.makefile("rb") as answer:
                status = answer.readline(LINE_BYTES_MAX).split(b" ")[1:2]
                if status != [OK]:
                    shown = b"".join(status).decode("ascii", "replace") or "nothing"
                    raise RemoteProtocolError(f"the daemon answered {shown}")
                for _ in range(HEAD_LINES_MAX):
                    if not answer.readline(LINE_BYTES_MAX).strip():
                        break
                yield answer

    def _unreachable(self, exc: OSError) -> DaemonUnreachableError:
        reason = (exc.strerror or str(exc) or type(exc).__name__).lower()
        return DaemonUnreachableError(
            socket=self.path, reason=f"{reason}; start it, or name another"
        )


def _revived(failed: DownloadFailed) -> DamselflyError:
    return revive(failed.error, failed.message, http_status=failed.http_status)
