"""The daemon's Unix socket: connecting, the head of an answer, and errors in our words.

HTTP/1.0, in which an answer ends with its connection, is little enough to be spoken here: the
standard library's client would take a third of a short download's start.
"""

import socket
from typing import BinaryIO, Final

from damselfly.errors import DaemonUnreachableError, DamselflyError
from damselfly.wire.local_messages import DownloadFailed
from damselfly.wire.told_errors import revive

CONNECT_TIMEOUT_S: Final = 2.0
LINE_BYTES_MAX: Final = 1 << 20
HEAD_LINES_MAX: Final = 100
OK: Final = b"200"


class LocalSocket:
    """A daemon, by the path of its socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def is_there(self) -> bool:
        """Say whether somebody answers on the socket."""
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def connect(self) -> socket.socket:
        """Return a connection to the daemon.

        Raises:
            OSError: There is none.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def unreachable(self, exc: OSError) -> DaemonUnreachableError:
        """Return what a broken connection means."""
        reason = (exc.strerror or str(exc) or type(exc).__name__).lower()
        return DaemonUnreachableError(
            socket=self.path, reason=f"{reason}; start it, or name another"
        )


def read_head(answer: BinaryIO) -> tuple[bytes, int]:
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


def revived(failed: DownloadFailed) -> DamselflyError:
    """Return an error that the daemon told."""
    return revive(failed.error, failed.message, http_status=failed.http_status)
