"""The HTTP source: what it asks, and what it understands of the answers."""

import asyncio
import base64
import hashlib

import pytest

from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec, Validators
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.sources.http import HttpSource
from fakes.source import DATE, FakeSource, random_bytes
from transport.readings import DATA, body_of, read_all, spec_of

SHA256 = Digest("sha256", hashlib.sha256(DATA).hexdigest())
SECRET = "c0ffee-secret"


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


async def test_a_header_of_the_user_outweighs_user_and_password_of_the_url(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA, required_header=("Authorization", f"Bearer {SECRET}"))
    url = fake.url("/f").replace("://", "://anna:password@")

    _, data = await read_all(
        http, TaskSpec(url=url, headers=(("Authorization", f"Bearer {SECRET}"),))
    )

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


async def test_credentials_are_not_forwarded_to_another_host(
    fake: FakeSource, http: HttpSource
) -> None:
    async with FakeSource() as other:
        other.add("/g", DATA)
        fake.add("/f", b"", redirect_to=other.url("/g"))
        headers = (("Authorization", f"Bearer {SECRET}"), ("Private-Token", SECRET))

        await read_all(http, TaskSpec(url=fake.url("/f"), headers=headers))

        assert str(fake.headers_seen).count(SECRET) == len(headers)
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


@pytest.mark.parametrize("part_bytes", [1 << 16, (1 << 20) + 1, 9 << 20])
async def test_a_large_content_is_received_into_the_buffers_of_its_reader(
    fake: FakeSource, http: HttpSource, part_bytes: int
) -> None:
    data = random_bytes(8 << 20, seed=3)
    fake.add("/f", data)

    async with await http.read(spec_of(fake)) as reading:
        assert await body_of(reading, part_bytes=part_bytes) == data
        assert await reading.read_into(memoryview(bytearray(10))) == 0


async def test_a_reader_that_pauses_gets_the_rest_later(fake: FakeSource, http: HttpSource) -> None:
    data = random_bytes(8 << 20, seed=4)
    fake.add("/f", data)
    first, rest = bytearray(1000), bytearray(len(data) - 1000)

    async with await http.read(spec_of(fake)) as reading:
        await reading.read_into(memoryview(first))
        other = await http.read(spec_of(fake))  # others are served meanwhile
        async with other:
            assert await body_of(other, part_bytes=1 << 20) == data
        assert await reading.read_into(memoryview(rest)) == len(rest)

    assert first + rest == data


async def test_a_large_content_of_unknown_length_ends_with_its_last_bytes(
    fake: FakeSource, http: HttpSource
) -> None:
    data = random_bytes(3 << 20, seed=5)
    fake.add("/f", data, chunked=True)

    async with await http.read(spec_of(fake)) as reading:
        assert reading.answer.stop_byte is None
        assert await body_of(reading, part_bytes=1 << 20) == data


async def test_sources_are_told_who_asks(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA)

    await read_all(http, spec_of(fake))

    assert fake.headers_seen[0]["User-Agent"].startswith("damselfly/")


async def test_the_connection_of_a_large_body_is_used_again(
    fake: FakeSource, http: HttpSource
) -> None:
    large = random_bytes(3_000_000, seed=2)
    fake.add("/f", large)
    fake.add("/small", DATA)

    for _ in range(2):
        reading = await http.read(spec_of(fake))
        async with reading:
            assert await body_of(reading, part_bytes=1 << 20) == large
    _, data = await read_all(http, spec_of(fake, "/small"))

    assert data == DATA
    assert len(fake.connections) == 1


async def test_a_connection_with_more_than_the_body_is_not_used_again(
    fake: FakeSource, http: HttpSource
) -> None:
    large = random_bytes(3_000_000, seed=2)
    fake.add("/f", large, lie_bytes=-10)

    for _ in range(2):
        reading = await http.read(spec_of(fake))
        async with reading:
            assert await body_of(reading, part_bytes=1 << 20) == large

    assert len(fake.connections) == 2


async def test_one_connection_serves_two_answers_whichever_is_read_first(fake: FakeSource) -> None:
    small, big = random_bytes(2000, seed=2), random_bytes(800_000, seed=3)
    fake.add("/small", small)
    stalled = fake.add("/big", big, stall_after_bytes=300_000)
    http = HttpSource(connections_max=1)

    async with (
        await http.read(spec_of(fake, "/small")) as early,
        await http.read(spec_of(fake, "/big")) as late,
    ):
        first = bytearray(1000)
        await stalled.has_stalled.wait()
        await late.read_into(memoryview(first))
        assert await body_of(early) == small
        stalled.release()
        while len(fake.given_whole) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # a turn of the loop, in which it would be received
        await asyncio.sleep(0)
        assert bytes(first) + await body_of(late) == big
    await http.close()

    assert len(fake.connections) == 1
