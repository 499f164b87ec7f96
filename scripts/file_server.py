"""A small HTTP server with one file of random bytes: a source for demo and benchmarks.

Prints its URL, then answers `GET /file` with Range, ETag and If-None-Match, and `GET /stats`
with how often it was asked and how many bytes it gave.
"""

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

from aiohttp import web


class FileServer:
    """Serves a file and counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._requests: dict[str, int] = {}
        self._sent_bytes = 0

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer with the file, or the part that was asked for."""
        self._requests[request.method] = self._requests.get(request.method, 0) + 1
        part = request.http_range
        size = self._path.stat().st_size
        start, stop, _ = slice(part.start, part.stop).indices(size)
        if request.method == "GET":
            self._sent_bytes += stop - start
        return web.FileResponse(self._path)

    async def stats(self, _: web.Request) -> web.Response:
        """Answer with the counts."""
        return web.json_response({"requests": self._requests, "sent_bytes": self._sent_bytes})


def write_random(path: Path, size: int, seed: int) -> None:
    """Write a file of random bytes."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        while size > 0:
            count = min(size, 4 << 20)
            file.write(rng.randbytes(count))
            size -= count


async def main() -> None:
    """Run until cancelled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryFile() as unnamed:  # so that even SIGKILL leaves no file behind
        path = Path(f"/proc/self/fd/{unnamed.fileno()}")
        write_random(path, arguments.size, arguments.seed)
        server = FileServer(path)
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
