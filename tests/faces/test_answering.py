"""Guards answers from contents: ranges, first bytes early, a reset instead of a wrong whole."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from damselfly.errors import RangeUnsatisfiableError
from damselfly.faces.proxy.answering import answer, unsatisfiable
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.peering.web_server import serving
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host

DATA = random_bytes(1_000_000, seed=9)
SIZE = len(DATA)
BLOCK = 256 << 10


@contextlib.asynccontextmanager
async def a_face(host: PeerHost, wanted: DownloadRequest) -> AsyncIterator[str]:
    """Serve one content at any path."""

    async def handle(request: web.Request) -> web.StreamResponse:
        async with host.downloads.read(wanted) as content:
            try:
                return await answer(request, content, {"ETag": '"one"', "Content-Type": "a/b"})
            except RangeUnsatisfiableError as exc:
                return unsatisfiable(exc)

    app = web.Application()
    app.router.add_get("/", handle)
    async with serving(app, "127.0.0.1:0") as address:
        yield f"http://{address}/"


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("", 200, 0, SIZE),
        ("bytes=0-", 206, 0, SIZE),
        ("bytes=5-", 206, 5, SIZE),
        ("bytes=300000-300000", 206, 300_000, 300_001),
        ("bytes=9-99999999999", 206, 9, SIZE),
        ("bytes=-7", 206, SIZE - 7, SIZE),
        ("bytes=-99999999", 206, 0, SIZE),
        ("bytes=5-2", 200, 0, SIZE),
        ("bytes=0-1,4-5", 200, 0, SIZE),
        ("bytes=x", 200, 0, SIZE),
        ("lines=1-2", 200, 0, SIZE),
    ],
)
async def test_range_is_answered_as_http_has_it(
    tmp_path: Path, asked: str, status: int, start: int, stop: int
) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        source.add("/file", DATA)
        wanted = DownloadRequest(url=source.url("/file"))
        async with a_face(host, wanted) as url, aiohttp.ClientSession() as client:
            headers = {"Range": asked} if asked else {}
            async with client.get(url, headers=headers) as response:
                body = await response.read()
            async with client.head(url, headers=headers) as head:
                assert (head.status, head.content_length) == (200, SIZE)

    assert response.status == status
    assert body == DATA[start:stop]
    told = f"bytes {start}-{stop - 1}/{SIZE}" if status == 206 else None
    assert response.headers.get("Content-Range") == told
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == '"one"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_has_it_already_is_told_so(tmp_path: Path, method: str) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        source.add("/file", DATA)
        wanted = DownloadRequest(url=source.url("/file"))
        async with a_face(host, wanted) as url, aiohttp.ClientSession() as client:
            # The condition comes before the range (RFC 9110, 13.2.2).
            headers = {"If-None-Match": '"two", W/"one"', "Range": "bytes=5-"}
            async with client.request(method, url, headers=headers) as same:
                body = await same.read()
            headers = {"If-None-Match": '"two"', "Range": "bytes=5-9"}
            async with client.request(method, url, headers=headers) as other:
                assert other.status == (206 if method == "GET" else 200)

    assert (same.status, body, same.headers["ETag"]) == (304, b"", '"one"')
    assert "Content-Length" not in same.headers


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=-0", "bytes=9999999-99999999"])
async def test_range_beyond_the_end_is_416(tmp_path: Path, asked: str) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        source.add("/file", DATA)
        wanted = DownloadRequest(url=source.url("/file"))
        async with (
            a_face(host, wanted) as url,
            aiohttp.ClientSession() as client,
            client.get(url, headers={"Range": asked}) as response,
        ):
            assert response.status == 416
            assert response.headers["Content-Range"] == f"bytes */{SIZE}"


async def test_range_of_another_version_gets_the_whole(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        source.add("/file", DATA)
        wanted = DownloadRequest(url=source.url("/file"))
        async with a_face(host, wanted) as url, aiohttp.ClientSession() as client:
            for etag, status in (('"one"', 206), ('"two"', 200)):
                headers = {"Range": "bytes=5-", "If-Range": etag}
                async with client.get(url, headers=headers) as response:
                    assert response.status == status


async def test_first_bytes_come_while_the_source_still_sends(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        lying = source.add("/file", DATA, stall_after_bytes=BLOCK + 9)
        wanted = DownloadRequest(url=source.url("/file"))
        async with (
            a_face(host, wanted) as url,
            aiohttp.ClientSession() as client,
            client.get(url) as response,
        ):
            assert await response.content.readexactly(BLOCK) == DATA[:BLOCK]
            lying.release()
            assert await response.content.read() == DATA[BLOCK:]


@pytest.mark.parametrize("chunked", [True, False])
async def test_wrong_content_ends_with_a_reset(tmp_path: Path, *, chunked: bool) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        data = DATA * 9  # several blocks also when the length is unknown
        source.add("/file", data, chunked=chunked)
        digest = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
        wanted = DownloadRequest(url=source.url("/file"), digest=digest)
        async with a_face(host, wanted) as url, aiohttp.ClientSession() as client:
            got = b""
            with pytest.raises(aiohttp.ClientError):  # noqa: PT012  # which bytes came, too
                async with client.get(url) as response:
                    async for chunk in response.content.iter_any():
                        got += chunk

    assert 0 < len(got) < len(data)


async def test_content_of_unknown_length_is_chunked(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        lying = source.add("/file", DATA * 9, chunked=True, stall_after_bytes=5_000_000)
        wanted = DownloadRequest(url=source.url("/file"))
        async with (
            a_face(host, wanted) as url,
            aiohttp.ClientSession() as client,
            client.get(url) as response,
        ):
            assert response.content_length is None
            lying.release()
            assert await response.read() == DATA * 9


async def test_client_of_old_is_told_the_end_by_the_end_of_the_connection(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        source.add("/file", DATA * 9, chunked=True)
        wanted = DownloadRequest(url=source.url("/file"))
        async with a_face(host, wanted) as url, asyncio.timeout(20):
            address = url.removeprefix("http://").rstrip("/")
            reader, writer = await asyncio.open_connection(*address.rsplit(":"))
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
            writer.close()

    assert head.startswith(b"HTTP/1.0 200 ")
    assert body == DATA * 9


async def test_requester_that_leaves_does_not_disturb_others(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        lying = source.add("/file", DATA, stall_after_bytes=BLOCK + 9)
        wanted = DownloadRequest(url=source.url("/file"))
        async with a_face(host, wanted) as url, aiohttp.ClientSession() as client:
            leaving, staying = await client.get(url), await client.get(url)
            got = await staying.content.readexactly(BLOCK)
            leaving.close()
            lying.release()
            got += await staying.content.read()

    assert got == DATA
    assert source.count("GET") == 1
