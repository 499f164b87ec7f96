"""A small model hub: as much of the real one's HTTP as its own client and ours need.

Files of at least `LFS_BYTES_MIN` are large ones: answered with a redirect to another path, whose
server knows only an ETag of its own, after a head that tells commit and SHA-256.
"""

import hashlib
from typing import Self
from urllib.parse import quote

from aiohttp import web

LFS_BYTES_MIN = 1000
PAGE_FILES = 2


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class FakeHub:
    """A hub on loopback.

    Attributes:
        files: {repository, with its kind unless it is a model: {path: content}}.
        token: What must be shown; empty: nothing.
        requests: (method, path) of each request.
    """

    def __init__(self, *, token: str = "") -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.token = token
        self.requests: list[tuple[str, str]] = []
        self.url = ""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    def commit_of(self, repository: str) -> str:
        """Return the commit of what a repository holds now."""
        files = self.files.get(repository, {})
        text = "".join(f"{path}{_oid(data)}" for path, data in sorted(files.items()))
        return hashlib.sha1(text.encode()).hexdigest()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if request.path.startswith("/cdn/"):
            return self._from_cdn(request)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        words = request.path.strip("/").split("/")
        if words[0] == "api":
            kind = "" if words[1] == "models" else f"{words[1]}/"
            return self._api(request, f"{kind}{words[2]}/{words[3]}", words[4:])
        kind = f"{words.pop(0)}/" if words[0] in ("datasets", "spaces") else ""
        return self._resolve(request, f"{kind}{words[0]}/{words[1]}", words[3], words[4:])

    def _api(self, request: web.Request, repository: str, words: list[str]) -> web.Response:
        files = self.files.get(repository)
        commit = self.commit_of(repository)
        if files is None or (len(words) > 1 and words[1] not in ("main", commit)):
            return web.json_response({"error": "not found"}, status=404)
        if words[:1] == ["tree"]:
            return self._tree(request, files, "/".join(words[2:]))
        siblings = [{"rfilename": path} for path in sorted(files)]
        return web.json_response({"id": repository, "sha": commit, "siblings": siblings})

    def _tree(self, request: web.Request, files: dict[str, bytes], folder: str) -> web.Response:
        paths = [path for path in sorted(files) if path.startswith(folder)]
        start = int(request.query.get("cursor", "0"))
        entries = []
        for path in paths[start : start + PAGE_FILES]:
            data = files[path]
            entry = {"type": "file", "path": path, "oid": _oid(data), "size": len(data)}
            if len(data) >= LFS_BYTES_MIN:
                oid = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
            entries.append(entry)
        headers = {}
        if start + PAGE_FILES < len(paths):
            more = f"{self.url}{request.path}?recursive=true&cursor={start + PAGE_FILES}"
            headers["Link"] = f'<{more}>; rel="next"'
        return web.json_response(entries, headers=headers)

    def _resolve(
        self, request: web.Request, repository: str, revision: str, words: list[str]
    ) -> web.StreamResponse:
        files, path = self.files.get(repository, {}), "/".join(words)
        commit = self.commit_of(repository)
        if path not in files or revision not in ("main", commit):
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        data = files[path]
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(data) >= LFS_BYTES_MIN:
            digest = hashlib.sha256(data).hexdigest()
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            headers["Location"] = f"{self.url}/cdn/{quote(repository)}/{quote(path)}"
            return web.Response(status=302, headers=headers)
        headers["ETag"] = f'"{_oid(data)}"'
        return _given(request, data, headers)

    def _from_cdn(self, request: web.Request) -> web.StreamResponse:
        for repository, files in self.files.items():
            for path, data in files.items():
                if request.path == f"/cdn/{repository}/{path}":
                    etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
                    return _given(request, data, {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"})
        return web.Response(status=404)


def _given(request: web.Request, data: bytes, headers: dict[str, str]) -> web.Response:
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    condition = request.headers.get("If-Range", "")
    asked = request.http_range
    is_part = "Range" in request.headers and condition in ("", headers["ETag"])
    if is_part and asked.start is not None:
        start, stop = asked.start, min(asked.stop or len(data), len(data))
        headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        return web.Response(status=206, body=data[start:stop], headers=headers)
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(len(data))})
    return web.Response(body=data, headers=headers)
