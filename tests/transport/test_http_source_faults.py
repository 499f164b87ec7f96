"""The HTTP source against one that breaks its word: which error, and no secret in it."""

import asyncio

import pytest

from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import (
    SourceBrokenError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.transport.sources.http import HttpSource
from engines.programs import free_port
from fakes.source import FakeSource, random_bytes
from transport.readings import DATA, read_all, spec_of

SECRET = "c0ffee-secret"


def secretive(url: str) -> TaskSpec:
    """Return a spec with a secret wherever there may be one."""
    with_user = url.replace("://", f"://user:{SECRET}@")
    return TaskSpec(url=f"{with_user}?signature={SECRET}", headers=(("X-Token", SECRET),))


async def test_a_circle_of_redirects_is_a_broken_source(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", b"", redirect_to="/f")

    with pytest.raises(SourceBrokenError, match="redirects"):
        await http.read(spec_of(fake))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "http://[bad/"])
async def test_a_redirect_to_no_web_address_is_a_broken_source(
    fake: FakeSource, http: HttpSource, target: str
) -> None:
    fake.add("/f", b"", redirect_to=target)

    with pytest.raises(SourceBrokenError, match="a redirect to what is no web address"):
        await http.read(spec_of(fake))


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 429, 500, 503])
async def test_any_other_status_is_a_refusal(
    fake: FakeSource, http: HttpSource, status: int
) -> None:
    fake.add("/f", DATA, status=status)

    with pytest.raises(SourceRefusedError) as caught:
        await http.read(spec_of(fake))

    assert caught.value.status == status


async def test_a_range_beyond_the_end_is_a_refusal(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA)

    with pytest.raises(SourceRefusedError) as caught:
        await http.read(spec_of(fake), start_byte=len(DATA))

    assert caught.value.status == 416


async def test_another_range_than_asked_for_is_a_broken_answer(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, range_shift_bytes=1)

    with pytest.raises(SourceBrokenError, match="others were asked for"):
        await http.read(spec_of(fake), start_byte=10, stop_byte=20)


@pytest.mark.parametrize("told", ["bytes 10-19", "bytes */100", "", "bytes 19-10/100", "nonsense"])
async def test_a_part_without_a_proper_content_range_is_a_broken_answer(
    fake: FakeSource, http: HttpSource, told: str
) -> None:
    fake.add("/f", DATA, headers={"Content-Range": told})

    with pytest.raises(SourceBrokenError):
        await http.read(spec_of(fake), start_byte=10, stop_byte=20)


async def test_an_encoding_that_was_not_asked_for_is_a_broken_answer(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, headers={"Content-Encoding": "gzip"})

    with pytest.raises(SourceBrokenError, match="gzip"):
        await http.read(spec_of(fake))


@pytest.mark.parametrize("options", [{"lie_bytes": 7}, {"reset_after_bytes": 1000}])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_ends_early_is_a_connection_that_broke(
    fake: FakeSource, http: HttpSource, options: dict[str, int], *, is_chunked: bool
) -> None:
    fake.add("/f", DATA, chunked=is_chunked, **options)

    with pytest.raises(SourceUnreachableError, match="closed"):
        await read_all(http, spec_of(fake), start_byte=0, stop_byte=50_000)


async def test_a_body_longer_than_its_head_said_is_a_broken_answer(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, chunked=True, lie_bytes=-1)

    with pytest.raises(SourceBrokenError, match="more than"):
        await read_all(http, spec_of(fake), start_byte=0, stop_byte=50_000)


async def test_bytes_after_the_promised_length_are_never_handed_over(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, lie_bytes=-100)

    try:
        _, data = await read_all(http, spec_of(fake))
    except SourceBrokenError:  # they came together with the head, and were seen
        data = b""

    assert data in (DATA, b"")


async def test_what_came_before_a_break_is_handed_over(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA, lie_bytes=1)
    received, part = bytearray(), bytearray(1000)

    with pytest.raises(SourceUnreachableError):  # noqa: PT012  # the loop is what raises
        async with await http.read(spec_of(fake)) as reading:
            while count := await reading.read_into(memoryview(part)):
                received += part[:count]

    assert DATA.startswith(received)


async def test_a_large_content_that_breaks_midway_says_so(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", random_bytes(4 << 20, seed=6), lie_bytes=1)

    with pytest.raises(SourceUnreachableError, match="it closed"):
        await read_all(http, spec_of(fake))


async def test_a_large_content_that_falls_silent_midway_says_so(
    fake: FakeSource, impatient: HttpSource
) -> None:
    fake.add("/f", random_bytes(4 << 20, seed=7), stall_after_bytes=3 << 20)

    with pytest.raises(SourceUnreachableError, match=r"nothing for 0\.3 s"):
        await read_all(impatient, spec_of(fake))


async def test_a_source_that_falls_silent_midway_is_unreachable(
    fake: FakeSource, impatient: HttpSource
) -> None:
    fake.add("/f", DATA, stall_after_bytes=1000)

    with pytest.raises(SourceUnreachableError, match=r"nothing for 0\.3 s|no answer in time"):
        await read_all(impatient, spec_of(fake))


async def test_a_source_that_does_not_answer_is_unreachable(
    fake: FakeSource, impatient: HttpSource
) -> None:
    fake.add("/f", DATA, is_stalled_at_head=True)

    with pytest.raises(SourceUnreachableError, match="no answer in time"):
        await impatient.read(spec_of(fake))


async def test_a_port_where_nobody_listens_is_unreachable(http: HttpSource) -> None:
    with pytest.raises(SourceUnreachableError, match="refused"):
        await http.read(TaskSpec(url=f"http://127.0.0.1:{free_port()}/f"))


async def test_a_name_that_does_not_exist_is_unreachable(http: HttpSource) -> None:
    with pytest.raises(SourceUnreachableError):
        await http.read(TaskSpec(url="http://nowhere.invalid/f"))


async def test_tls_to_a_port_that_speaks_none_is_unreachable(
    fake: FakeSource, http: HttpSource
) -> None:
    with pytest.raises(SourceUnreachableError, match="speaks none at this port"):
        await http.read(TaskSpec(url=fake.url("/f").replace("http:", "https:")))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0\1\2\3\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 302 Found\r\nLocation: gopher://x/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://host:99999/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http:///path\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-/3\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
    ],
)
@pytest.mark.parametrize("method", ["read", "validate"])
async def test_any_bytes_as_an_answer_are_an_error_of_the_source(
    http: HttpSource, sent: bytes, method: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        spec = TaskSpec(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/f")

        try:
            if method == "read":
                await read_all(http, spec, start_byte=0, stop_byte=5)
            else:
                await http.validate(spec, Validators(etag='"1"'))
        except SourceError as exc:
            error: SourceError | None = exc
        else:
            error = None

    assert method == "validate" or error is not None


@pytest.mark.parametrize(
    "options",
    [
        {"status": 404},
        {"range_shift_bytes": 1},
        {"lie_bytes": 7},
        {"lie_bytes": -7, "chunked": True},
        {"reset_after_bytes": 10},
        {"headers": {"Content-Encoding": "br"}},
        {"headers": {"Content-Range": "x"}},
        {"redirect_to": "/f"},
        {"redirect_to": f"gopher://user:{SECRET}@x/?{SECRET}"},
        {"redirect_to": f"http://[::1/?{SECRET}"},
        {"redirect_to": f"http://user:{SECRET}@nowhere.invalid/?{SECRET}"},
        {"stall_after_bytes": 10},
        {"is_stalled_at_head": True},
    ],
    ids=str,
)
async def test_no_error_tells_a_secret(
    fake: FakeSource, impatient: HttpSource, options: dict[str, object]
) -> None:
    fake.add("/f", DATA, **options)

    with pytest.raises(SourceError) as caught:
        await read_all(impatient, secretive(fake.url("/f")), start_byte=5, stop_byte=500)

    assert SECRET not in str(caught.value)
    assert fake.url("/f") in str(caught.value)
