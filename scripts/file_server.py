"""A small HTTP server with one file of random bytes: a source for demo and benchmarks.

Prints its URL, then answers `GET /file` with Range, ETag and If-None-Match, and `GET /stats`
with how often it was asked and how many bytes it gave.
"""

import argparse
import asyncio
import os
import random
import tempfile
from typing import IO

from aiohttp import web

PIECE_BYTES = 256 << 10


class FileServer:
    """Serves a file and counts."""

    def __init__(self, file: int, size: int) -> None:
        self._file = file
        self._size = size
        self._etag = f'"{size:x}"'
        self._requests: dict[str, int] = {}
        self._sent_bytes = 0

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer with the file, or the part that was asked for."""
        self._requests[request.method] = self._requests.get(request.method, 0) + 1
        if request.headers.get("If-None-Match") == self._etag:
            return web.Response(status=304, headers={"ETag": self._etag})
        is_part = "Range" in request.headers and request.headers.get("If-Range") in {
            None,
            self._etag,
        }
        part = request.http_range if is_part else slice(None)
        start, stop, _ = part.indices(self._size)
        headers = {"ETag": self._etag, "Accept-Ranges": "bytes"}
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{self._size}"
        response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
        response.content_length = stop - start
        await response.prepare(request)
        # Piece by piece, to know what was sent of an answer that its reader leaves.
        while start < stop and request.method == "GET":
            piece = os.pread(self._file, min(PIECE_BYTES, stop - start), start)
            await response.write(piece)
            start += len(piece)
            self._sent_bytes += len(piece)
        return response

    async def stats(self, _: web.Request) -> web.Response:
        """Answer with the counts."""
        return web.json_response({"requests": self._requests, "sent_bytes": self._sent_bytes})


def write_random(file: IO[bytes], size: int, seed: int) -> None:
    """Write a file of random bytes."""
    rng = random.Random(seed)
    while size > 0:
        count = min(size, 4 << 20)
        file.write(rng.randbytes(count))
        size -= count
    file.flush()


async def main() -> None:
    """Run until cancelled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryFile() as unnamed:  # so that even SIGKILL leaves no file behind
        write_random(unnamed, arguments.size, arguments.seed)
        server = FileServer(unnamed.fileno(), arguments.size)
        app = web.Application()
        app.router.add_get("/file", server.file)
        app.router.add_get("/stats", server.stats)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", arguments.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"http://{host}:{port}/file", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
