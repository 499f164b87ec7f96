"""A small WebHDFS: as much of Hadoop's as reading needs, and its rights by owner.

What it does was compared with Hadoop 3.3.6: the contract suite of sources passed on both.
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Stored:
    data: bytes
    modified_ms: int


class FakeHadoop:
    """A name node, and a data node at the same address.

    Attributes:
        files: {path: what lies there}; all are `owner`'s alone to read, and anybody's to list.
        owner: As `user.name` tells it, which is believed.
    """

    def __init__(self, *, owner: str) -> None:
        self.files: dict[str, Stored] = {}
        self.owner = owner
        app = web.Application()
        app.router.add_get("/webhdfs/v1{path:.*}", self._handle)
        app.router.add_get("/data{path:.*}", self._data)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._runner.addresses[0][1]}"

    def put(self, path: str, data: bytes) -> None:
        """Put a file there, later than all before."""
        last = max((each.modified_ms for each in self.files.values()), default=0)
        self.files[path] = Stored(data, last + 1)

    async def _handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"].rstrip("/")
        below = {
            name.removeprefix(f"{path}/") for name in self.files if name.startswith(f"{path}/")
        }
        if path not in self.files and not below:
            return _failure(404, "FileNotFoundException", f"File does not exist: {path}")
        match request.query["op"]:
            case "GETFILESTATUS":
                return web.json_response({"FileStatus": self._status(path, "")})
            case "LISTSTATUS":
                names = sorted({name.partition("/")[0] for name in below})
                found = [self._status(f"{path}/{name}", name) for name in names]
                return web.json_response({"FileStatuses": {"FileStatus": found}})
            case _ if request.query.get("user.name", "dr.who") != self.owner:
                return _failure(403, "AccessControlException", f"Permission denied: {path}")
        there = f"http://{self.address}/data{quote(path)}?{request.query_string}"
        return web.Response(status=307, headers={"Location": there})

    def _status(self, path: str, suffix: str) -> dict[str, object]:
        stored = self.files.get(path)
        if stored is None:
            return {"pathSuffix": suffix, "type": "DIRECTORY", "length": 0, "modificationTime": 0}
        told = {"length": len(stored.data), "modificationTime": stored.modified_ms}
        return {"pathSuffix": suffix, "type": "FILE", **told}

    async def _data(self, request: web.Request) -> web.Response:
        data = self.files[request.match_info["path"]].data
        offset = int(request.query.get("offset", "0"))
        count = int(request.query.get("length", len(data)))
        return web.Response(body=data[offset : offset + count])


def _failure(status: int, name: str, message: str) -> web.Response:
    told = {"exception": name, "javaClassName": f"x.{name}", "message": message}
    return web.json_response({"RemoteException": told}, status=status)
