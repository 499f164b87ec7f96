"""A gate before a registry: all passes but a manifest that is pushed, which waits until it may."""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Final

WAIT_S: Final = 30.0
_OF_ONE_CONNECTION: Final = ("connection", "transfer-encoding", "keep-alive")


class Gate:
    """Listens on a port of its own; its name is what clients know the registry by.

    Attributes:
        has_come: A manifest waits.
        opened: It may pass.
    """

    ca_file = None

    def __init__(self, behind: str) -> None:
        self._behind = behind
        self.has_come, self.opened = Event(), Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                if self.command == "PUT" and "/manifests/" in self.path:
                    gate.has_come.set()
                    assert gate.opened.wait(WAIT_S)
                connection = HTTPConnection(gate._behind)
                connection.request(self.command, self.path, self._body(), dict(self.headers))
                told = connection.getresponse()
                body = told.read()
                self.send_response_only(told.status)
                for name, value in told.getheaders():
                    if name.lower() not in _OF_ONE_CONNECTION:
                        self.send_header(name, value)
                if told.getheader("Content-Length") is None:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                connection.close()

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", "0")))
                del self.headers["Transfer-Encoding"]
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _pass  # noqa: N815  # the names

            def log_message(self, *_: object) -> None:
                pass

        return Handler
