"""A source that lies: a real HTTP server on loopback, with faults as options.

In a test::

    async with FakeSource() as source:
        source.add("/file", data, no_ranges=True)
        url = source.url("/file")

As a program it serves random bytes at `/file` and its counts at `/stats`, for demonstration
and benchmarks: `python tests/fakes/source.py --port 0 --size 268435456 --seed 1`.
"""

import argparse
import asyncio
import base64
import hashlib
import itertools
import random
import re
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from aiohttp import web

PIECE_BYTES = 256 << 10
AUTO = "auto"
CHALLENGE = 'Bearer realm="http://127.0.0.1:1/token",service="fake",scope="repository:x:pull"'
DATE = "Wed, 01 Jan 2025 00:00:00 GMT"
DATE_CHANGED = "Thu, 02 Jan 2025 00:00:00 GMT"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Request(NamedTuple):
    """One request that came, in the order of the answers."""

    method: str
    path: str
    range_header: str
    status: int


@dataclass(kw_only=True)
class FakeContent:
    """What lies at a path, and how the source behaves when it is asked for it.

    Attributes:
        data: The content.
        etag: As the header has it; `auto` follows from the content, empty is none.
        last_modified: As the header has it; empty is none.
        headers: Further headers of each answer; they win over the source's own.
        status: Anything but 200: answers with it instead of the content ...
        status_count: ... so many times; -1 is always.
        has_digest: Tells a Repr-Digest of the content.
        required_header: Name and value; a request without it is answered with 403.
        accepted: Authorization headers, of which a request must have one; else it is answered
            with 401 and a challenge. Without any, all may ask.
        challenge: The WWW-Authenticate of that answer.
        redirect_to: Answers with 302 to there.
        no_ranges: Ignores Range: always 200 with the whole.
        no_head: Answers HEAD with 405.
        no_conditions: Ignores If-None-Match and If-Modified-Since: never 304.
        chunked: Tells no length.
        range_shift_bytes: Answers a Range with one so much further on, and says so.
        lie_bytes: So many bytes fewer come than were promised; negative: more.
        reset_after_bytes: The connection is reset after so many bytes of a body, of which the
            last may be lost ...
        reset_count: ... so many times; -1 is always.
        stall_after_bytes: Sends nothing after so many bytes of a body until `release`.
        is_stalled_at_head: Sends nothing at all until `release`.
        is_head_stalled: The same, of answers to HEAD alone.
        rate_bytes_per_s: Limit for each answer; 0 is none.
        changed_data: The content, with other validators, after `change_after_gets` ...
        change_after_gets: ... answers with bytes; -1 is never ...
        change_at_byte: ... or from this byte on in the middle of an answer; -1 is never.
        released: Set when stalled answers may go on.
        has_stalled: Set when an answer stalls.
    """

    data: bytes
    etag: str = AUTO
    last_modified: str = DATE
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    status_count: int = -1
    has_digest: bool = False
    required_header: tuple[str, str] | None = None
    accepted: set[str] = field(default_factory=set)
    challenge: str = CHALLENGE
    redirect_to: str = ""
    no_ranges: bool = False
    no_head: bool = False
    no_conditions: bool = False
    chunked: bool = False
    range_shift_bytes: int = 0
    lie_bytes: int = 0
    reset_after_bytes: int = -1
    reset_count: int = -1
    stall_after_bytes: int = -1
    is_stalled_at_head: bool = False
    is_head_stalled: bool = False
    rate_bytes_per_s: float = 0.0
    changed_data: bytes = b""
    change_after_gets: int = -1
    change_at_byte: int = -1
    released: asyncio.Event = field(default_factory=asyncio.Event)
    has_stalled: asyncio.Event = field(default_factory=asyncio.Event)
    _sha256: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._sha256 = hashlib.sha256(self.data).digest()

    def change(self, data: bytes) -> None:
        """Put other content there, with other validators if it had some."""
        self.data = data
        self._sha256 = hashlib.sha256(data).digest()
        if self.etag:
            self.etag = AUTO
        if self.last_modified:
            self.last_modified = DATE_CHANGED

    def release(self) -> None:
        """Let stalled answers go on."""
        self.released.set()

    async def stall(self) -> None:
        """Wait until released."""
        self.has_stalled.set()
        await self.released.wait()

    @property
    def etag_told(self) -> str:
        """The ETag header; empty is none."""
        if self.etag == AUTO:
            return f'"{self._sha256.hex()[:16]}"'
        return self.etag

    def has_not_modified(self, request: web.Request) -> bool:
        """Say whether the conditions of a request make the answer 304."""
        if self.no_conditions:
            return False
        if etags := request.headers.get("If-None-Match", ""):
            return bool(self.etag_told) and self.etag_told in etags
        since = request.headers.get("If-Modified-Since", "")
        return bool(since) and since == self.last_modified

    def span_asked(self, request: web.Request) -> tuple[int, int] | None:
        """Return the bytes that Range asks for, or None for the whole."""
        match = _RANGE.fullmatch(request.headers.get("Range", ""))
        if not match or self.no_ranges:
            return None
        condition = request.headers.get("If-Range", "")
        if condition and condition not in (self.etag_told, self.last_modified):
            return None
        start_byte = int(match[1]) + self.range_shift_bytes
        stop_byte = int(match[2]) + 1 + self.range_shift_bytes if match[2] else len(self.data)
        return start_byte, min(stop_byte, len(self.data))

    def head(self) -> dict[str, str]:
        """Return the headers of an answer with or about the content."""
        head: dict[str, str] = {"Accept-Ranges": "none" if self.no_ranges else "bytes"}
        if self.etag_told:
            head["ETag"] = self.etag_told
        if self.last_modified:
            head["Last-Modified"] = self.last_modified
        if self.has_digest:
            value = base64.b64encode(self._sha256).decode()
            head["Repr-Digest"] = f"sha-256=:{value}:"
        return head

    def takes(self, name: str) -> bool:
        """Use up one of a fault's times; say whether it happens."""
        count: int = getattr(self, name)
        if count > 0:
            setattr(self, name, count - 1)
        return count != 0


class FakeSource:
    """An HTTP server with contents by path.

    Attributes:
        requests: What was asked for, `/stats` apart.
        headers_seen: The headers of the same requests.
        accepts_seen: Their Accept lines, one by one.
        queries_seen: Their queries.
        connections: Those that they came by, each once.
        bytes_sent: Bytes of bodies that were handed to the connections.
        answering_max: How many were answered at a time, at most.
        given_whole: (begin, end) of each answer whose bytes were all taken, as counted moments.
    """

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.headers_seen: list[Mapping[str, str]] = []
        self.accepts_seen: list[list[str]] = []
        self.queries_seen: list[str] = []
        self.connections: set[object] = set()
        self.bytes_sent = 0
        self._answering = self.answering_max = 0
        self._moments = itertools.count()
        self.given_whole: list[tuple[int, int]] = []
        self.contents: dict[str, FakeContent] = {}
        self._port = port
        self._tls = tls
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._counted)
        # What still stalls at the end is cancelled, not waited for.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    def add(self, path: str, data: bytes, **options: Any) -> FakeContent:  # noqa: ANN401
        """Put a content at a path; the options are the attributes of `FakeContent`."""
        content = self.contents[path] = FakeContent(data=data, **options)
        return content

    def url(self, path: str) -> str:
        """Return where a path is reached."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}{path}"

    def count(self, method: str = "GET", path: str = "") -> int:
        """Return how many requests with this method came, for a path or for any."""
        return sum(
            request.method == method and path in ("", request.path) for request in self.requests
        )

    @property
    def statistics(self) -> dict[str, object]:
        """What `/stats` answers with."""
        methods = sorted({request.method for request in self.requests})
        return {
            "requests": {method: self.count(method) for method in methods},
            "sent_bytes": self.bytes_sent,
        }

    async def _counted(self, request: web.Request) -> web.StreamResponse:
        self._answering += 1
        self.answering_max = max(self.answering_max, self._answering)
        try:
            return await self._handle(request)
        finally:
            self._answering -= 1

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/stats":
            return web.json_response(self.statistics)
        self.connections.add(request.protocol)
        self.headers_seen.append(dict(request.headers))
        self.accepts_seen.append(request.headers.getall("Accept", []))
        self.queries_seen.append(request.query_string)
        content = self.contents.get(request.path)
        if content is None:
            return self._told(request, web.Response(status=404))
        if content.is_stalled_at_head or (content.is_head_stalled and request.method == "HEAD"):
            await content.stall()
        response = self._refusal(request, content) or self._without_body(request, content)
        if response is not None:
            response.headers.update(content.headers)
            return self._told(request, response)
        return await self._give(request, content)

    def _told(self, request: web.Request, response: web.Response) -> web.Response:
        self._note(request, response.status)
        return response

    def _note(self, request: web.Request, status: int) -> None:
        asked = request.headers.get("Range", "")
        self.requests.append(Request(request.method, request.path, asked, status))

    def _refusal(self, request: web.Request, content: FakeContent) -> web.Response | None:
        if content.redirect_to:
            return web.Response(status=302, headers={"Location": content.redirect_to})
        if content.status != 200 and content.takes("status_count"):
            return web.Response(status=content.status)
        if content.required_header:
            name, value = content.required_header
            if request.headers.get(name) != value:
                return web.Response(status=403)
        if content.accepted and request.headers.get("Authorization") not in content.accepted:
            headers = {"WWW-Authenticate": content.challenge}
            return web.Response(status=401, headers=headers, text="who are you?")
        if content.no_head and request.method == "HEAD":
            return web.Response(status=405)
        return None

    def _without_body(self, request: web.Request, content: FakeContent) -> web.Response | None:
        head = content.head()
        if content.has_not_modified(request):
            return web.Response(status=304, headers=head)
        if request.method == "HEAD":
            if not content.chunked:
                head["Content-Length"] = str(len(content.data))
            return web.Response(headers=head)
        span = content.span_asked(request)
        if span is not None and span[0] >= span[1]:
            head["Content-Range"] = f"bytes */{len(content.data)}"
            return web.Response(status=416, headers=head)
        return None

    async def _give(self, request: web.Request, content: FakeContent) -> web.StreamResponse:
        """Answer with bytes, as the options have it."""
        span = content.span_asked(request)
        start_byte, stop_byte = span or (0, len(content.data))
        response = web.StreamResponse(status=206 if span else 200, headers=content.head())
        if span:
            shown = f"bytes {start_byte}-{stop_byte - 1}/{len(content.data)}"
            response.headers["Content-Range"] = shown
        response.headers.update(content.headers)
        if content.chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = stop_byte - start_byte
        self._note(request, response.status)
        body = self._body(content, start_byte, stop_byte)
        if content.change_after_gets > 0:
            content.change_after_gets -= 1
            if content.change_after_gets == 0:
                content.change(content.changed_data)
        begun = next(self._moments)
        await response.prepare(request)
        is_reset = content.reset_after_bytes >= 0 and content.takes("reset_count")
        await self._send(response, content, body[: content.reset_after_bytes] if is_reset else body)
        self.given_whole.append((begun, next(self._moments)))
        if request.transport is None:
            return response  # the requester has what it wanted, and is gone
        if is_reset:
            await reset(request.transport)
        elif content.lie_bytes > 0 and not content.chunked:
            request.transport.close()
        elif content.lie_bytes < 0 and not content.chunked:
            request.transport.write(bytes(-content.lie_bytes))  # aiohttp itself does not lie
        return response

    def _body(self, content: FakeContent, start_byte: int, stop_byte: int) -> memoryview:
        data = content.data
        if content.change_at_byte >= 0:
            data = data[: content.change_at_byte] + content.changed_data[content.change_at_byte :]
            content.change(content.changed_data)
            content.change_at_byte = -1
        if content.lie_bytes < 0 and content.chunked:
            return memoryview(data[start_byte:stop_byte] + bytes(-content.lie_bytes))
        return memoryview(data)[start_byte : stop_byte - max(content.lie_bytes, 0)]

    async def _send(
        self, response: web.StreamResponse, content: FakeContent, body: memoryview
    ) -> None:
        sent = 0
        while sent < len(body):
            stop = sent + PIECE_BYTES
            if sent <= content.stall_after_bytes < len(body):
                stop = min(stop, content.stall_after_bytes)
            if stop == sent and not content.released.is_set():
                await content.stall()
            if stop == sent:
                stop = sent + PIECE_BYTES
            piece = body[sent:stop]
            await response.write(piece)
            sent += len(piece)
            self.bytes_sent += len(piece)
            if content.rate_bytes_per_s:
                await asyncio.sleep(len(piece) / content.rate_bytes_per_s)


async def reset(transport: asyncio.Transport) -> None:
    """Send what is buffered, then break the connection as a crash would."""
    while transport.get_write_buffer_size():
        await asyncio.sleep(0)
    connection = transport.get_extra_info("socket")
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def random_bytes(size: int, seed: int) -> bytes:
    """Return the same bytes for the same seed; any size, unlike `Random.randbytes`."""
    rng = random.Random(seed)
    data = bytearray()
    while len(data) < size:
        data += rng.randbytes(min(size - len(data), 4 << 20))
    return bytes(data)


async def main() -> None:
    """Run until cancelled."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0, help="bytes per second and answer")
    parser.add_argument("--no-ranges", action="store_true")
    parser.add_argument("--chunked", action="store_true")
    arguments = parser.parse_args()
    async with FakeSource(port=arguments.port) as source:
        source.add(
            "/file",
            random_bytes(arguments.size, arguments.seed),
            rate_bytes_per_s=arguments.rate,
            no_ranges=arguments.no_ranges,
            chunked=arguments.chunked,
        )
        print(source.url("/file"), flush=True)  # noqa: T201  # the program's result
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
