"""A model hub for programs of this host: `HF_ENDPOINT=http://127.0.0.1:65001/hf`.

What the hub says is passed on: repositories, trees, uploads. Files (`…/resolve/REVISION/PATH`)
come through the swarm. The hub is asked for the head of each first, with what the client shows:
so it decides who may have what, and tells commit and digest, by which all share one task.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin

import aiohttp
from aiohttp import web
from yarl import URL

from damselfly.errors import (
    DamselflyError,
    RangeUnsatisfiableError,
    SourceUnreachableError,
    StorageError,
)
from damselfly.faces.proxy.answering import answer, has_already, unchanged, unsatisfiable
from damselfly.faces.proxy.refusals import answer_of
from damselfly.faces.proxy.upstream import READ_BUFFER_BYTES, passed_on
from damselfly.services.downloading.downloads import Downloads
from damselfly.services.options import SourceOptions
from damselfly.telemetry.log import get_log
from damselfly.transport.reasons import why_it_failed
from damselfly.transport.sources.http import tls_context
from damselfly.transport.sources.kinds.hub import PUBLIC
from damselfly.wire.local_messages import DownloadRequest

PREFIX: Final = "/hf"
REDIRECTS_MAX: Final = 5  # of repositories that were renamed
ANSWER_TIMEOUT_S: Final = 60.0
_FILE: Final = re.compile(
    r"(?P<repository>(?:(?:datasets|spaces)/)?[^/]+(?:/[^/]+)?)/resolve/[^/]+/(?P<path>.+)"
)
_SHA256: Final = re.compile(r'"?([0-9a-f]{64})"?')
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_ABOUT_FILES: Final = ("X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size", "ETag", "Last-Modified")
_OF_ERRORS: Final = ("X-Error-Code", "X-Error-Message", "WWW-Authenticate", "Retry-After")

log = get_log()


class Hub:
    """Answers for a hub."""

    def __init__(self, options: SourceOptions, *, downloads: Downloads) -> None:
        self._endpoint = options.hub_endpoint.rstrip("/") or PUBLIC
        self._downloads = downloads
        self._tls = tls_context(options.ca_file)
        self._connect_timeout_s = options.connect_timeout_s
        self._open_session: aiohttp.ClientSession | None = None

    def _session(self) -> aiohttp.ClientSession:
        if self._open_session is None:
            self._open_session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._connect_timeout_s, sock_read=ANSWER_TIMEOUT_S
                ),
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._open_session

    async def close(self) -> None:
        """Close all connections."""
        if self._open_session is not None:
            await self._open_session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever comes below `PREFIX`."""
        path = request.rel_url.raw_path.removeprefix(PREFIX).lstrip("/")
        file = _FILE.fullmatch(path)
        try:
            if file is not None and request.method in ("GET", "HEAD"):
                return await self._file(request, path, file)
            return await self._passed(request, path)
        except DamselflyError as exc:
            log.warning("hub_answer_failed", error=type(exc).__name__, reason=str(exc))
            return answer_of(exc)

    # --- files

    async def _file(
        self, request: web.Request, path: str, file: re.Match[str]
    ) -> web.StreamResponse:
        told = await self._head(request, path)
        async with told:
            commit = told.headers.get("X-Repo-Commit", "")
            if told.status >= 400 or not _COMMIT.fullmatch(commit):  # noqa: PLR2004
                return _refused(told)
            headers = _about(told.headers)
            size = told.headers.get("X-Linked-Size", told.headers.get("Content-Length", ""))
        if request.method == "HEAD":
            if has_already(request, headers.get("ETag", "")):
                return unchanged(headers)
            response = web.StreamResponse(headers={**headers, "Accept-Ranges": "bytes"})
            if size.isascii() and size.isdecimal():
                response.content_length = int(size)
            await response.prepare(request)
            await response.write_eof()
            return response
        digest = _SHA256.fullmatch(headers.get("ETag", ""))
        token = request.headers.get("Authorization", "")
        wanted = DownloadRequest(
            # By its commit: what a branch means changes, and two of its contents are two tasks.
            url=f"{self._endpoint}/{file['repository']}/resolve/{commit}/{file['path']}",
            digest=f"sha256:{digest[1]}" if digest else "",
            headers=(f"Authorization: {token}",) if token else (),
        )
        try:
            async with self._downloads.read(wanted) as content:
                return await answer(request, content, headers)
        except RangeUnsatisfiableError as exc:
            return unsatisfiable(exc)
        except StorageError as exc:  # a full disk is no reason to fail a download
            log.warning("passed_uncached", path=path, reason=str(exc))
            return await self._passed(request, path)

    async def _head(self, request: web.Request, path: str) -> aiohttp.ClientResponse:
        """Ask for the head of a file, also where its repository is now."""
        url = self._url(request, path)
        response = await self._ask(request, "HEAD", url)
        for _ in range(REDIRECTS_MAX):
            place = response.headers.get("Location", "")
            if not (300 <= response.status < 400 and place.startswith("/")):  # noqa: PLR2004
                break
            response.close()
            url = urljoin(url, place)
            response = await self._ask(request, "HEAD", url)
        return response

    # --- all else

    async def _passed(self, request: web.Request, path: str) -> web.StreamResponse:
        """Pass a request on, and its answer back."""
        told = await self._ask(request, request.method, self._url(request, path))
        async with told:
            headers = passed_on(told.headers)
            for name in ("Link", "Location"):  # to the next page, by the name it has here
                if name in headers:
                    here = f"{request.scheme}://{request.host}{PREFIX}"
                    headers[name] = headers[name].replace(self._endpoint, here)
            response = web.StreamResponse(status=told.status, headers=headers)
            await response.prepare(request)
            async for part in told.content.iter_any():
                await response.write(part)
            await response.write_eof()
        return response

    def _url(self, request: web.Request, path: str) -> str:
        query = request.rel_url.raw_query_string
        return f"{self._endpoint}/{path}" + (f"?{query}" if query else "")

    async def _ask(self, request: web.Request, method: str, url: str) -> aiohttp.ClientResponse:
        """Ask the hub what a client asks.

        Raises:
            SourceUnreachableError: It does not answer.
        """
        headers = passed_on(request.headers)
        unwanted = ["Host", "Expect"]
        if method == "HEAD":  # its answer must tell the commit, and the length of the whole
            headers["Accept-Encoding"] = "identity"
            unwanted += ["If-None-Match", "Range", "If-Range"]
        for name in unwanted:
            headers.popall(name, None)
        try:
            return await self._session().request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=request.content.iter_any() if request.body_exists else None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise SourceUnreachableError(url=self._endpoint, reason=why_it_failed(exc)) from exc


def _about(told: Mapping[str, str]) -> dict[str, str]:
    """Return what a client is told of a file; of a large one the digest, not the redirect."""
    headers = {name: told[name] for name in _ABOUT_FILES if name in told}
    if linked := headers.get("X-Linked-Etag"):
        headers["ETag"] = linked
    return {"Content-Type": "application/octet-stream", **headers}


def _refused(told: aiohttp.ClientResponse) -> web.Response:
    headers = {name: told.headers[name] for name in _OF_ERRORS if name in told.headers}
    status = told.status if told.status >= 400 else 502  # noqa: PLR2004
    return web.Response(status=status, headers=headers)
