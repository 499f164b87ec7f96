"""A content of the daemon that a program reads while it comes.

One connection keeps it open; a second one carries bytes from where the program reads, on and on,
until it reads elsewhere. So what is needed next is what the swarm is asked for next. Who may read
the daemon's cache reads the bytes there, and the second connection only tells how far they are.
"""

import contextlib
import os
import socket
from typing import BinaryIO, Final

from damselfly.errors import DaemonUnreachableError, DamselflyError, RemoteProtocolError
from damselfly.transport.local_socket import LINE_BYTES_MAX, OK, LocalSocket, read_head, revived
from damselfly.wire.local_messages import (
    ContentOpened,
    DownloadFailed,
    DownloadRequest,
    decode_report,
    encode_line,
)

SKIP_BYTES_MAX: Final = 1 << 20  # read over, rather than asked for anew
FAILURE_WAIT_S: Final = 5.0


class OpenContent:
    """A content that can be read from any byte on.

    Attributes:
        opened: What the daemon says of it.
    """

    def __init__(
        self, client: LocalSocket, request: DownloadRequest, connection: socket.socket
    ) -> None:
        """Open it.

        Args:
            client: The daemon.
            request: What is wanted.
            connection: To the daemon; it is this object's from now on.

        Raises:
            DamselflyError: What the daemon told.
            OSError: It does not answer.
        """
        self._client = client
        self._holding = connection
        body = encode_line(request)
        head = f"POST /v1/contents HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        self._told = connection.makefile("rb")
        self.opened = self._read_opened()
        path = self.opened.content_path
        self._file = os.open(path, os.O_RDONLY) if os.access(path, os.R_OK) else None
        self._answer: BinaryIO | None = None  # the second connection, from where, and how far
        self._from = self._at = 0
        self._next = 0  # what `read` returns next

    def _read_opened(self) -> ContentOpened:
        status, _ = read_head(self._told)
        if status != OK:
            raise RemoteProtocolError(f"the daemon answered {status.decode('ascii', 'replace')}")
        report = decode_report(self._told.readline(LINE_BYTES_MAX))
        if isinstance(report, DownloadFailed):
            raise revived(report)
        if not isinstance(report, ContentOpened):
            raise RemoteProtocolError("the answer to another question")
        return report

    def read_at(self, start_byte: int, count: int) -> bytes:
        """Return so many bytes from there on, as soon as they are here; fewer only at the end.

        Raises:
            DamselflyError: They will not come.
        """
        size = self.opened.size_bytes
        if size >= 0:
            count = min(count, max(size - start_byte, 0))
        if count <= 0:
            return b""
        try:
            read = self._from_answer if self._file is None else self._from_file
            data = read(start_byte, count)
        except OSError as exc:
            raise self._failure() from exc
        self._next = start_byte + len(data)
        if len(data) < count and size >= 0:
            raise self._failure()
        return data

    def read(self, count: int) -> bytes:
        """Return the next so many bytes, as `read_at`."""
        return self.read_at(self._next, count)

    def _from_answer(self, start_byte: int, count: int) -> bytes:
        """Return bytes as the daemon sends them."""
        skipped = start_byte - self._at
        if self._answer is not None and 0 <= skipped <= SKIP_BYTES_MAX:
            self._at += len(self._answer.read(skipped))
        if self._answer is None or self._at != start_byte:
            self._answer = self._ask("bytes", start_byte)
        data = self._answer.read(count)
        self._at += len(data)
        return data

    def _from_file(self, start_byte: int, count: int) -> bytes:
        """Return bytes of the daemon's file, as soon as it says that they are there."""
        assert self._file is not None
        if self._answer is None or not self._from <= start_byte <= self._at + SKIP_BYTES_MAX:
            self._answer = self._ask("reach", start_byte)
            self._from = start_byte
        while self._at < start_byte + count and (line := self._answer.readline(LINE_BYTES_MAX)):
            self._at = int(line)
        return os.pread(self._file, max(min(count, self._at - start_byte), 0), start_byte)

    def _ask(self, what: str, start_byte: int) -> BinaryIO:
        """Open the second connection anew, at a position."""
        self._end_stream()
        connection = self._client.connect()
        connection.settimeout(None)
        asked = f"/v1/contents/{self.opened.content_id}/{what}?start={start_byte}"
        with connection:
            connection.sendall(f"GET {asked} HTTP/1.0\r\n\r\n".encode())
            answer = connection.makefile("rb")
        self._at = start_byte
        self._skip_head(answer)
        return answer

    def _skip_head(self, answer: BinaryIO) -> None:
        status, _ = read_head(answer)
        if status != OK:
            raise self._failure()

    def _failure(self) -> DamselflyError:
        """Return why there are no more bytes, as the daemon tells it on the other connection."""
        self._end_stream()
        line = b""
        with contextlib.suppress(OSError, ValueError):
            self._holding.settimeout(FAILURE_WAIT_S)
            line = self._told.readline(LINE_BYTES_MAX)
        if line:
            report = decode_report(line)
            if isinstance(report, DownloadFailed):
                return revived(report)
        reason = "it ended while a content was read; open it again to go on"
        return DaemonUnreachableError(socket=self._client.path, reason=reason)

    def _end_stream(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def close(self) -> None:
        """Give it up."""
        self._end_stream()
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._told.close()
        self._holding.close()
