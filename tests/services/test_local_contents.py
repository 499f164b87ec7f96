"""What a program may ask of contents that it has open, and what it is told when it may not."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from damselfly.services.hosting.local_contents import LocalContents
from damselfly.services.peering.web_server import serving
from damselfly.wire.local_messages import (
    ContentOpened,
    DownloadFailed,
    DownloadRequest,
    decode_report,
    encode_line,
)
from fakes.source import FakeSource
from services.hosts import a_host
from storage.builders import a_content

pytestmark = pytest.mark.slow

DATA = a_content(400_000)


@contextlib.asynccontextmanager
async def asked(tmp_path: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    async with a_host(tmp_path, "a") as host, aiohttp.ClientSession() as client:
        app = web.Application()
        LocalContents(host.downloads).add_to(app)
        async with serving(app, "127.0.0.1:0", cancels=True) as address:
            yield client, f"http://{address}/v1/contents"


async def test_a_content_is_open_as_long_as_its_connection(tmp_path: Path) -> None:
    async with FakeSource() as source, asked(tmp_path) as (client, url):
        source.add("/f", DATA)
        body = encode_line(DownloadRequest(url=source.url("/f")))
        async with client.post(url, data=body) as holding:
            opened = decode_report(await holding.content.readline())
            assert isinstance(opened, ContentOpened)
            assert opened.size_bytes == len(DATA)
            there = f"{url}/{opened.content_id}/bytes"
            async with client.get(f"{there}?start=10&stop=20") as part:
                assert await part.read() == DATA[10:20]
            async with client.get(f"{url}/{opened.content_id}/reach?start=10") as reach:
                assert (await reach.read()).split()[-1] == str(len(DATA)).encode()
            assert Path(opened.content_path).read_bytes() == DATA
            async with client.get(f"{there}?start=9999999") as beyond:
                assert await beyond.read() == b""
            async with client.get(f"{there}?start=-1") as wrong:
                assert wrong.status == 400
                assert await wrong.text() == "start must be a number of bytes\n"
            holding.close()
        for _ in range(100):
            async with client.get(there) as gone:
                if gone.status == 404:
                    return
        raise AssertionError("it stayed open")


@pytest.mark.parametrize("body", [b"{}", b"", b'{"url": "nonsense"}'])
async def test_what_is_no_request_is_told_so(tmp_path: Path, body: bytes) -> None:
    async with asked(tmp_path) as (client, url), client.post(url, data=body) as answer:
        told = decode_report(await answer.content.readline())

    assert isinstance(told, DownloadFailed)
    assert told.http_status == 400


async def test_what_ends_a_content_early_is_told_to_who_has_it_open(tmp_path: Path) -> None:
    async with FakeSource() as source, asked(tmp_path) as (client, url):
        source.add("/f", DATA, reset_after_bytes=200_000)
        body = encode_line(DownloadRequest(url=source.url("/f")))
        async with client.post(url, data=body) as holding:
            opened = decode_report(await holding.content.readline())
            assert isinstance(opened, ContentOpened)
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(f"{url}/{opened.content_id}/bytes") as part:
                    await part.read()
            told = decode_report(await holding.content.readline())

    assert isinstance(told, DownloadFailed)
    assert told.error == "SourceUnreachableError"
