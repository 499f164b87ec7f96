"""The HTTP source: what it asks, what it makes of the answers, and what it never tells."""

import asyncio
import base64
import hashlib
import socket
from collections.abc import AsyncIterator

import pytest

from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import (
    SourceBrokenError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.sources.http import HttpSource
from fakes.source import DATE, FakeSource, random_bytes

DATA = random_bytes(100_000, seed=1)
SHA256 = Digest("sha256", hashlib.sha256(DATA).hexdigest())
SECRET = "c0ffee-secret"


@pytest.fixture
async def fake() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        yield source


@pytest.fixture
async def http() -> AsyncIterator[HttpSource]:
    source = HttpSource(connect_timeout_s=5, stall_timeout_s=5)
    yield source
    await source.close()


@pytest.fixture
async def impatient() -> AsyncIterator[HttpSource]:
    source = HttpSource(connect_timeout_s=0.2, stall_timeout_s=0.1)
    yield source
    await source.close()


def spec_of(fake: FakeSource, path: str = "/f") -> TaskSpec:
    return TaskSpec(url=fake.url(path))


def secretive(url: str) -> TaskSpec:
    """Return a spec with a secret wherever there may be one."""
    with_user = url.replace("://", f"://user:{SECRET}@")
    return TaskSpec(url=f"{with_user}?signature={SECRET}", headers=(("X-Token", SECRET),))


async def read_all(
    http: HttpSource,
    spec: TaskSpec,
    *,
    start_byte: int = 0,
    stop_byte: int | None = None,
    validators: Validators = Validators(),  # frozen
) -> tuple[SourceAnswer, bytes]:
    reading = await http.read(
        spec, start_byte=start_byte, stop_byte=stop_byte, validators=validators
    )
    async with reading:
        return reading.answer, b"".join([chunk async for chunk in reading.chunks()])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# Reading.


async def test_the_whole_comes_with_all_that_the_source_said(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA, has_digest=True)

    answer, data = await read_all(http, spec_of(fake))

    assert data == DATA
    assert answer == SourceAnswer(
        status=200,
        size_bytes=len(DATA),
        start_byte=0,
        stop_byte=len(DATA),
        validators=Validators(etag=content.etag_told, last_modified=DATE),
        digest=SHA256,
        accepts_ranges=True,
    )


async def test_an_empty_content_is_read(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", b"")

    answer, data = await read_all(http, spec_of(fake))

    assert (answer.size_bytes, data) == (0, b"")


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (10, 2000), (99_999, 100_000), (5, None)])
async def test_a_part_is_read(
    fake: FakeSource, http: HttpSource, start: int, stop: int | None
) -> None:
    fake.add("/f", DATA)

    answer, data = await read_all(http, spec_of(fake), start_byte=start, stop_byte=stop)

    assert data == DATA[start:stop]
    assert (answer.status, answer.size_bytes) == (206, len(DATA))
    assert (answer.start_byte, answer.stop_byte) == (start, stop or len(DATA))
    assert answer.accepts_ranges


async def test_a_digest_told_with_a_part_is_not_believed(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, has_digest=True)

    answer, _ = await read_all(http, spec_of(fake), start_byte=0, stop_byte=10)

    assert answer.digest is None


async def test_a_source_without_ranges_answers_with_the_whole(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, no_ranges=True)

    answer, data = await read_all(http, spec_of(fake), start_byte=10, stop_byte=20)

    assert data == DATA
    assert (answer.status, answer.start_byte, answer.accepts_ranges) == (200, 0, False)


async def test_a_part_of_what_has_changed_is_answered_with_the_new_whole(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA)
    known = Validators(etag=content.etag_told, last_modified=DATE)
    content.change(b"other")

    answer, data = await read_all(http, spec_of(fake), start_byte=10, validators=known)

    assert (answer.status, data) == (200, b"other")
    assert answer.validators != known


async def test_a_part_of_what_is_the_same_is_asked_for_with_if_range(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA)
    known = Validators(etag=content.etag_told)

    answer, data = await read_all(http, spec_of(fake), start_byte=10, validators=known)

    assert (answer.status, data) == (206, DATA[10:])
    assert fake.headers_seen[0]["If-Range"] == content.etag_told


async def test_the_whole_is_asked_for_without_range_and_condition(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA)

    await read_all(http, spec_of(fake), validators=Validators(etag=content.etag_told))

    assert fake.requests == [("GET", "/f", "", 200)]
    assert "If-Range" not in fake.headers_seen[0]
    assert fake.headers_seen[0]["Accept-Encoding"] == "identity"


async def test_a_source_that_tells_no_length_is_read_to_its_end(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, chunked=True)

    answer, data = await read_all(http, spec_of(fake))

    assert data == DATA
    assert (answer.size_bytes, answer.stop_byte) == (None, None)


async def test_the_headers_of_the_user_are_sent(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA, required_header=("X-Token", SECRET))

    _, data = await read_all(http, TaskSpec(url=fake.url("/f"), headers=(("X-Token", SECRET),)))

    assert data == DATA


async def test_user_and_password_of_the_url_become_a_header(
    fake: FakeSource, http: HttpSource
) -> None:
    words = base64.b64encode(b"anna:p@ss").decode()
    fake.add("/f", DATA, required_header=("Authorization", f"Basic {words}"))
    url = fake.url("/f").replace("://", "://anna:p%40ss@")

    _, data = await read_all(http, TaskSpec(url=url))

    assert data == DATA


async def test_path_and_query_are_sent_to_the_letter(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/a b/%", DATA)

    _, data = await read_all(http, spec_of(fake, "/a%20b/%25?x=%2f+%7E&y"))

    assert data == DATA
    assert fake.requests[0].path == "/a b/%"


async def test_redirects_are_followed(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", b"", redirect_to="/g")
    fake.add("/g", DATA)

    answer, data = await read_all(http, spec_of(fake))

    assert (answer.status, data) == (200, DATA)


async def test_a_circle_of_redirects_is_a_broken_source(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", b"", redirect_to="/f")

    with pytest.raises(SourceBrokenError, match="redirects"):
        await http.read(spec_of(fake))


async def test_credentials_are_not_forwarded_to_another_host(
    fake: FakeSource, http: HttpSource
) -> None:
    async with FakeSource() as other:
        other.add("/g", DATA)
        fake.add("/f", b"", redirect_to=other.url("/g"))
        headers = (("Authorization", f"Bearer {SECRET}"), ("Cookie", SECRET))

        await read_all(http, TaskSpec(url=fake.url("/f"), headers=headers))

        assert fake.headers_seen[0]["Authorization"] == f"Bearer {SECRET}"
        assert SECRET not in str(other.headers_seen)


async def test_a_session_is_opened_again_after_it_was_closed(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA)
    await read_all(http, spec_of(fake))
    await http.close()

    _, data = await read_all(http, spec_of(fake))

    assert data == DATA


async def test_leaving_a_reading_midway_frees_its_connection(fake: FakeSource) -> None:
    http = HttpSource(connections_max=1)
    fake.add("/f", random_bytes(4 << 20, seed=2))
    for _ in range(3):
        async with await http.read(spec_of(fake)):
            pass

    answer, _ = await read_all(http, spec_of(fake), start_byte=0, stop_byte=5)

    assert answer.status == 206
    await http.close()


async def test_a_large_content_comes_in_large_chunks(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", random_bytes(8 << 20, seed=3))

    async with await http.read(spec_of(fake)) as reading:
        lengths = [len(chunk) async for chunk in reading.chunks()]

    assert sum(lengths) == 8 << 20
    assert min(lengths[:-1]) >= 128 << 10
    assert max(lengths) <= 4 << 20


# Faults.


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


async def test_no_chunk_goes_beyond_what_the_head_said(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA, lie_bytes=-100)

    try:
        _, data = await read_all(http, spec_of(fake))
    except SourceBrokenError:
        data = DATA  # what is too much came with the rest, and was seen

    assert data == DATA


async def test_what_came_before_a_break_is_handed_over(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA, lie_bytes=1)
    received = b""

    with pytest.raises(SourceUnreachableError):  # noqa: PT012  # the loop is what raises
        async with await http.read(spec_of(fake)) as reading:
            async for chunk in reading.chunks():
                received += chunk

    assert DATA.startswith(received)


async def test_a_source_that_falls_silent_midway_is_unreachable(
    fake: FakeSource, impatient: HttpSource
) -> None:
    fake.add("/f", DATA, stall_after_bytes=1000)

    with pytest.raises(SourceUnreachableError, match=r"nothing for 0\.1 s|no answer in time"):
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
    with pytest.raises(SourceUnreachableError, match="TLS"):
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
