"""dfget's talk with the daemon over its Unix socket; the standard library is enough for it."""

import http.client
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, cast

from damselfly.errors import (
    DaemonUnreachableError,
    DamselflyError,
    DownloadTimeoutError,
    RemoteProtocolError,
    revive,
)
from damselfly.wire.local_messages import (
    DownloadFailed,
    DownloadFinished,
    DownloadProgress,
    DownloadRequest,
    decode_report,
    encode_line,
)

if TYPE_CHECKING:
    from damselfly.wire.status_messages import HostStatus

CONNECT_TIMEOUT_S = 2.0
STATUS_TIMEOUT_S = 5.0
SILENCE_S = 60.0  # the daemon tells news while things move; a stalled download ends before that
LINE_BYTES_MAX = 1 << 20


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_TIMEOUT_S)
        self.sock.connect(self._path)
        self.sock.settimeout(self.timeout)


class LocalClient:
    """A daemon, by the path of its socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def is_there(self) -> bool:
        """Say whether somebody answers on the socket."""
        try:
            connection = _UnixConnection(self.path, CONNECT_TIMEOUT_S)
            connection.connect()
        except OSError:
            return False
        connection.close()
        return True

    def download(
        self, request: DownloadRequest, on_progress: Callable[[DownloadProgress], None]
    ) -> DownloadFinished:
        """Let the daemon download, and return what it has then.

        Raises:
            DamselflyError: What the daemon told, or that it cannot be reached.
        """
        timeout_s = request.timeout_s + 5.0 if request.timeout_s else None
        connection = _UnixConnection(self.path, timeout_s or 0.0)
        connection.timeout = timeout_s
        try:
            connection.request("POST", "/v1/downloads", body=encode_line(request))
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise RemoteProtocolError(f"the daemon answered {response.status}")
            while line := response.readline(LINE_BYTES_MAX):
                match decode_report(line):
                    case DownloadProgress() as progress:
                        on_progress(progress)
                    case DownloadFinished() as finished:
                        return finished
                    case DownloadFailed() as failed:
                        raise _revived(failed)
        except TimeoutError as exc:
            raise DownloadTimeoutError(timeout_s=request.timeout_s) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise self._unreachable(exc) from exc
        finally:
            connection.close()
        raise DaemonUnreachableError(
            socket=self.path,
            reason="it ended during the download; run the same command again to resume",
        )

    def read_content(
        self, finished: DownloadFinished, copy: Callable[[BinaryIO, int], None]
    ) -> None:
        """Pass the content to `copy` as a stream, for who may not read the cache."""
        connection = _UnixConnection(self.path, SILENCE_S)
        try:
            connection.request("GET", f"/v1/downloads/{finished.download_id}/content")
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise RemoteProtocolError(f"the daemon answered {response.status}")
            copy(cast("BinaryIO", response), finished.size_bytes)
        except (OSError, http.client.HTTPException) as exc:
            raise self._unreachable(exc) from exc
        finally:
            connection.close()

    def release(self, finished: DownloadFinished) -> None:
        """Tell the daemon that the content is no longer needed; failures do not matter."""
        connection = _UnixConnection(self.path, CONNECT_TIMEOUT_S)
        try:
            connection.request("DELETE", f"/v1/downloads/{finished.download_id}")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def status(self) -> "HostStatus":
        """Ask the daemon how it is.

        Raises:
            DamselflyError: It cannot be reached, or answers something else.
        """
        from damselfly.wire.status_messages import decode_status  # noqa: PLC0415  # not for dfget

        connection = _UnixConnection(self.path, STATUS_TIMEOUT_S)
        try:
            connection.request("GET", "/v1/status")
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise self._unreachable(exc) from exc
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RemoteProtocolError(
                f"the daemon answered {response.status}; it may be of an older version"
            )
        return decode_status(data)

    def _unreachable(self, exc: Exception) -> DaemonUnreachableError:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return DaemonUnreachableError(
            socket=self.path, reason=f"{reason or type(exc).__name__}; start it, or name another"
        )


def _revived(failed: DownloadFailed) -> DamselflyError:
    return revive(failed.error, failed.message, http_status=failed.http_status)
