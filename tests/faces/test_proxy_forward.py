"""The HTTP proxy: requests in absolute form, passed on both ways to the letter."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from damselfly.core.proxying.rules import Action, ProxyRule
from damselfly.services.options import SourceOptions
from faces.proxies import RunningProxy, a_proxy, a_server, read_message
from fakes.source import FakeSource

DATA = bytes(range(256)) * 4096
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def fake() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        yield source


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[RunningProxy]:
    async with a_proxy(tmp_path) as running:
        yield running


async def test_curl_gets_a_file_and_its_refusals(
    proxy: RunningProxy, fake: FakeSource, tmp_path: Path
) -> None:
    fake.add("/file", DATA)
    fake.add("/none", b"", status=403)

    got = await proxy.curl(fake.url("/file?a=1"), "--output", str(tmp_path / "got"))
    refused = await proxy.curl(fake.url("/none"))

    assert (tmp_path / "got").read_bytes() == DATA
    assert got.out.split() == ["200", "000"]
    assert refused.out.split()[-2:] == ["403", "000"]


async def test_head_has_the_length_and_no_body(proxy: RunningProxy, fake: FakeSource) -> None:
    fake.add("/file", DATA)

    got = await proxy.curl("--head", fake.url("/file"))

    assert got.code == 0
    assert f"Content-Length: {len(DATA)}" in got.out


async def test_headers_pass_to_the_letter_but_those_of_one_connection(proxy: RunningProxy) -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_message(reader))
        head = b"HTTP/1.1 203 Fine\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
        two = b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd:  \xc3\xa9 \r\n"
        writer.write(head + two + b"Content-Length: 2\r\n\r\nok")

    async with a_server(talk) as port:
        answer = await proxy.say(
            b"GET http://127.0.0.1:%d/a%%2fb//c/../d?x=%%20&x= HTTP/1.1\r\n" % port
            + b"Host: other.example\r\nAccept: a/b\r\nAccept: c/d\r\n"
            + b"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Basic eA==\r\n"
            + b"Proxy-Connection: keep-alive\r\nTE: trailers\r\nCookie: s=1\r\n\r\n"
        )

    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /a%2fb//c/../d?x=%20&x= HTTP/1.1"
    via = next(line for line in lines if line.startswith("Via: 1.1 damselfly-"))
    expected = [f"Host: 127.0.0.1:{port}", "Accept: a/b", "Accept: c/d", "Cookie: s=1", via]
    assert sorted(line for line in lines[1:] if line) == sorted(expected)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 203 Fine\r\n")
    assert body == b"ok"
    assert head.count(b"Set-Cookie: ") == 2
    assert b"X-Odd: \xc3\xa9" in head
    for name in (b"X-Mine", b"Keep-Alive", b"Server", b"Content-Type"):
        assert name not in head


@pytest.mark.parametrize("flags", [(), ("--header", "Transfer-Encoding: chunked")])
async def test_a_body_passes_with_and_without_a_length(
    proxy: RunningProxy, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    (tmp_path / "body").write_bytes(DATA * 4)
    received: list[bytes] = []
    expects: list[bool] = []

    async def handle(request: aiohttp.web.Request) -> aiohttp.web.Response:
        received.append(await request.read())
        expects.append("Expect" in request.headers)
        return aiohttp.web.Response(status=201)

    app = aiohttp.web.Application(client_max_size=1 << 30)
    app.router.add_post("/up", handle)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/up"

    ended = await proxy.curl(
        "--header", "Expect: 100-continue", "--data-binary", f"@{tmp_path}/body", *flags, url
    )

    assert ended.out.split() == ["201", "000"]
    assert received == [DATA * 4]
    assert expects == [False]
    await runner.cleanup()


async def test_a_compressed_body_stays_compressed(proxy: RunningProxy) -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_message(reader))
        writer.write(OK)

    body = gzip.compress(b"x" * 1000)
    async with a_server(talk) as port:
        head = b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
        await proxy.say(head % port + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    assert seen[0].endswith(b"\r\n\r\n" + body)


async def test_not_modified_has_its_headers_and_no_body(proxy: RunningProxy) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n')

    async with a_server(talk) as port:
        answer = await proxy.say(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % port)

    assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b'etag: "a"' in answer.lower()
    assert b"Transfer-Encoding" not in answer


async def test_one_connection_takes_requests_for_many_hosts(proxy: RunningProxy) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(OK)

    async with a_server(talk) as first, a_server(talk) as second:
        reader, writer = await proxy.connection()
        for port in (first, second, first):
            writer.write(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n" % port)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_an_answer_is_read_no_faster_than_the_client_takes_it(
    proxy: RunningProxy, fake: FakeSource
) -> None:
    fake.add("/file", bytes(64 << 20))
    reader, writer = await proxy.connection()
    writer.write(f"GET {fake.url('/file')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readexactly(1 << 20)

    sent_before = -1
    while fake.bytes_sent != sent_before:  # until nothing moves any more
        sent_before = fake.bytes_sent
        for _ in range(2000):
            await asyncio.sleep(0)

    assert fake.bytes_sent < 32 << 20  # the rest is in buffers of the kernel
    writer.close()


async def test_a_source_that_takes_no_body_stops_the_client(proxy: RunningProxy) -> None:
    is_over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await is_over.wait()

    async with a_server(talk) as port:
        _, writer = await proxy.connection()
        head = b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (port, 1 << 30))
        writer.write(bytes(64 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await writer.drain()
        writer.transport.abort()
        is_over.set()


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        ("http://127.0.0.1:1/secret?token=x", "502", "connection refused"),
        ("http://nowhere.invalid/", "502", "its name is not known"),
        ("ftp://127.0.0.1/", "400", "must begin with http:// or https://"),
    ],
)
async def test_what_cannot_be_reached_is_said(
    proxy: RunningProxy, url: str, status: str, words: str
) -> None:
    answer = await proxy.say(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert words.encode() in answer
    assert b"damselfly proxy: " in answer
    assert b"token" not in answer


async def test_a_silent_source_is_given_up(tmp_path: Path, fake: FakeSource) -> None:
    content = fake.add("/file", DATA, is_stalled_at_head=True)

    async with a_proxy(tmp_path, answer_timeout_s=0.2) as proxy:
        got = await proxy.curl(fake.url("/file"))

    assert "did not answer in time" in got.out
    assert got.out.split()[-2:] == ["504", "000"]
    content.release()


@pytest.mark.parametrize("flaw", [{"reset_after_bytes": 300_000}, {"lie_bytes": 5}])
async def test_a_cut_answer_never_looks_whole(
    proxy: RunningProxy, fake: FakeSource, tmp_path: Path, flaw: dict[str, int]
) -> None:
    for name, chunked in (("/sized", False), ("/chunked", True)):
        fake.add(name, DATA, chunked=chunked, **flaw)
        if chunked and "lie_bytes" in flaw:
            continue  # promises no length that it could break

        got = await proxy.curl(fake.url(name), "--output", str(tmp_path / "got"))

        assert got.code in (18, 56), got


async def test_an_answer_that_is_no_http_is_a_bad_gateway(proxy: RunningProxy) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    async with a_server(talk) as port:
        got = await proxy.curl(f"http://127.0.0.1:{port}/")

    assert "no HTTP" in got.out
    assert got.out.split()[-2:] == ["502", "000"]


async def test_a_request_that_comes_back_is_a_loop(proxy: RunningProxy) -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_message(reader))
        writer.write(OK)

    async with a_server(talk) as port:
        await proxy.curl(f"http://127.0.0.1:{port}/")
        via = next(line for line in seen[0].decode().split("\r\n") if line.startswith("Via"))
        again = await proxy.curl(f"http://127.0.0.1:{port}/", "--header", via)

    assert "that is a loop" in again.out
    assert again.out.split()[-2:] == ["508", "000"]
    assert len(seen) == 1


async def test_a_url_of_the_daemon_itself_is_for_its_mirror(proxy: RunningProxy) -> None:
    for host in ("127.0.0.1", "localhost", "127.0.0.9"):
        got = await proxy.curl(f"http://{host}:{proxy.port}/v2/")

        assert got.out.split() == ["mirror", "200", "000"]


async def test_rules_redirect_and_ask_by_https(tmp_path: Path, fake: FakeSource) -> None:
    fake.add("/file", b"found")
    there = fake.url("").removeprefix("http://")
    redirect = ProxyRule(action=Action.REDIRECT, host="hub.invalid", redirect_to=there)
    use_https = ProxyRule(host="127.0.0.1", path="/file", use_https=True)

    async with a_proxy(tmp_path, use_https, redirect) as proxy:
        redirected = await proxy.curl("http://hub.invalid/file")
        by_https = await proxy.curl(fake.url("/file"))

    assert redirected.out.split() == ["found", "200", "000"]
    assert "TLS failed" in by_https.out  # it was asked by https indeed


async def test_another_protocol_passes_with_what_came_early(proxy: RunningProxy) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_message(reader)
        assert b"Upgrade: tcp\r\n" in head
        assert b"Connection: Upgrade\r\n" in head
        switching = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        writer.write(switching + b"hello ")
        writer.write(await reader.readexactly(5))

    async with a_server(talk) as port:
        reader, writer = await proxy.connection()
        request = b"POST http://127.0.0.1:%d/attach HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n"
        writer.write(request % port + b"Connection: Upgrade\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
        assert await reader.readexactly(6) == b"hello "
        writer.write(b"world")
        assert await reader.read() == b"world"
        writer.close()


async def test_a_websocket_passes(proxy: RunningProxy) -> None:
    async def handle(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{message.data}!")
        return socket

    app = aiohttp.web.Application()
    app.router.add_get("/ws", handle)
    runner = aiohttp.web.AppRunner(app, access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/ws"

    proxy_url = f"http://127.0.0.1:{proxy.port}"
    async with aiohttp.ClientSession() as client, client.ws_connect(url, proxy=proxy_url) as socket:
        await socket.send_str("hello")
        assert (await socket.receive()).data == "hello!"
    await runner.cleanup()


async def test_a_thousand_requests_at_once_all_succeed(tmp_path: Path, fake: FakeSource) -> None:
    fake.add("/file", b"small")
    patient = SourceOptions(connect_timeout_s=40)  # all ends are in this one process
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def get(proxy: RunningProxy) -> bytes:
        proxy_url = f"http://127.0.0.1:{proxy.port}"
        async with client.get(fake.url("/file"), proxy=proxy_url) as response:
            return await response.read()

    async with (
        client,
        a_proxy(tmp_path, source=patient) as proxy,
        asyncio.TaskGroup() as tasks,
    ):
        gets = [tasks.create_task(get(proxy)) for _ in range(1000)]
        await asyncio.wait(gets)

    assert {each.result() for each in gets} == {b"small"}


async def test_a_user_and_password_are_asked_for(tmp_path: Path, fake: FakeSource) -> None:
    fake.add("/file", b"found")

    async with a_proxy(tmp_path, secret="joe:s3cret") as proxy:
        without = await proxy.curl("--include", fake.url("/file"))
        wrong = await proxy.curl(fake.url("/file"), user="joe:s3cre@")
        right = await proxy.curl(fake.url("/file"), user="joe:s3cret@")
        mirror = await proxy.say(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")

    assert 'Proxy-Authenticate: Basic realm="damselfly"' in without.out
    assert [each.out.split()[-2] for each in (without, wrong, right)] == ["407", "407", "200"]
    assert mirror.endswith(b"mirror")
    assert all("Proxy-Authorization" not in seen for seen in fake.headers_seen)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS where none is spoken
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://a:99999/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://" + b"a" * 10_000 + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://a/" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT u@a:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT /:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT http://a/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT " + b"a" * 10_000 + b":443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_garbage_gets_a_refusal(proxy: RunningProxy, garbage: bytes) -> None:
    answer = await proxy.say(garbage)

    assert re.match(rb"HTTP/\d\.\d (4\d\d|502) ", answer)
    hello = await proxy.say(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert hello.endswith(b"mirror")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [b"", b"CONNECT ", b"GET http://", b"GET http://127.0.0.1:1/", b"POST http://"]
    ),
    st.binary(max_size=200),
)
def test_any_bytes_leave_the_proxy_alive(tmp_path: Path, begin: bytes, rest: bytes) -> None:
    async def speak() -> bytes:
        async with a_proxy(tmp_path, source=SourceOptions(connect_timeout_s=0.1)) as proxy:
            _, writer = await proxy.connection()
            writer.write(begin + rest)
            writer.close()
            return await proxy.say(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")

    assert asyncio.run(speak()).endswith(b"mirror")
