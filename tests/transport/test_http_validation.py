"""The HTTP source: asking whether a version is still there, digests in headers, settings."""

import asyncio
import base64
import hashlib

import pytest

from damselfly.core.digest import Digest
from damselfly.core.task import SourceFacts, TaskSpec, Validators, is_edition_id, name_edition
from damselfly.errors import SettingsError, SourceUnreachableError
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.sources.http import HttpSource
from engines.programs import free_port
from fakes.source import DATE, FakeSource
from transport.readings import DATA, read_all, spec_of

SHA256 = Digest("sha256", hashlib.sha256(DATA).hexdigest())

# Validating.


async def test_a_source_that_still_has_the_version_says_304(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA)

    answer = await http.validate(spec_of(fake), Validators(etag=content.etag_told))

    assert (answer.status, answer.size_bytes) == (304, None)
    assert fake.requests == [("HEAD", "/f", "", 304)]


async def test_a_source_without_etags_is_asked_by_date(fake: FakeSource, http: HttpSource) -> None:
    fake.add("/f", DATA, etag="")

    answer = await http.validate(spec_of(fake), Validators(last_modified=DATE))

    assert answer.status == 304


async def test_a_source_that_has_another_version_says_which(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA, has_digest=True)

    answer = await http.validate(spec_of(fake), Validators(etag='"old"'))

    assert answer == SourceAnswer(
        status=200,
        size_bytes=len(DATA),
        validators=Validators(etag=content.etag_told, last_modified=DATE),
        digest=SHA256,
        accepts_ranges=True,
    )


@pytest.mark.parametrize("status", [404, 429, 500])
async def test_a_status_raises_nothing_when_a_source_is_asked(
    fake: FakeSource, http: HttpSource, status: int
) -> None:
    fake.add("/f", DATA, status=status)

    answer = await http.validate(spec_of(fake), Validators(etag='"old"'))

    assert (answer.status, answer.size_bytes, answer.digest) == (status, None, None)


async def test_where_head_is_refused_get_is_asked_with_the_same_condition(
    fake: FakeSource, http: HttpSource
) -> None:
    content = fake.add("/f", DATA, no_head=True)

    answer = await http.validate(spec_of(fake), Validators(etag=content.etag_told))

    assert answer.status == 304
    assert [request[0::3] for request in fake.requests] == [("HEAD", 405), ("GET", 304)]


async def test_a_get_in_place_of_head_does_not_read_the_content(
    fake: FakeSource, http: HttpSource
) -> None:
    size = 64 << 20
    fake.add("/f", bytes(size), no_head=True)

    answer = await http.validate(spec_of(fake), Validators(etag='"old"'))

    assert (answer.status, answer.size_bytes) == (200, size)
    assert fake.bytes_sent < size


async def test_a_source_that_is_away_raises_when_it_is_asked(http: HttpSource) -> None:
    with pytest.raises(SourceUnreachableError):
        await http.validate(TaskSpec(url=f"http://127.0.0.1:{free_port()}/f"), Validators())


async def test_an_etag_that_is_no_text_names_no_version(http: HttpSource) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "\xff"\r\nContent-Length: 0\r\n\r\n')
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        spec = TaskSpec(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/f")

        told, _ = await read_all(http, spec)

    facts = SourceFacts(size_bytes=0, validators=told.validators)
    assert is_edition_id(name_edition(spec.task_id, facts, block_bytes=1, reading="r"))


# Digests.


def b64(algorithm: str) -> str:
    return base64.b64encode(hashlib.new(algorithm, DATA).digest()).decode()


SHA512 = Digest("sha512", hashlib.sha512(DATA).hexdigest())


@pytest.mark.parametrize(
    ("headers", "digest"),
    [
        ({"Repr-Digest": f"sha-256=:{b64('sha256')}:"}, SHA256),
        ({"Repr-Digest": f"sha-512=:{b64('sha512')}:"}, SHA512),
        ({"Repr-Digest": f"unixsum=:AAA=:, sha-256=:{b64('sha256')}:;q=1"}, SHA256),
        ({"Digest": f"SHA-256={b64('sha256')}"}, SHA256),
        ({"Digest": f"md5=abc,sha-512={b64('sha512')}"}, SHA512),
        ({"x-amz-checksum-sha256": b64("sha256")}, SHA256),
        ({"x-amz-checksum-sha256": b64("sha256") + "-3"}, None),
        ({"Docker-Content-Digest": str(SHA256)}, SHA256),
        ({"Docker-Content-Digest": "sha256:12"}, None),
        ({"Repr-Digest": "sha-256=:!!!:"}, None),
        ({"Repr-Digest": "sha-256=:AAAA:"}, None),
        ({"Repr-Digest": "sha-256=:A:", "Digest": f"SHA-256={b64('sha256')}"}, SHA256),
        ({"Digest": "SHA-256=AAAA"}, None),
        ({}, None),
    ],
    ids=str,
)
async def test_a_digest_in_a_header_is_understood_or_ignored(
    fake: FakeSource, http: HttpSource, headers: dict[str, str], digest: Digest | None
) -> None:
    fake.add("/f", DATA, headers=headers)

    answer, _ = await read_all(http, spec_of(fake))

    assert answer.digest == digest


# Settings.


def test_a_file_of_certificates_that_is_none_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"source\.ca_file"):
        HttpSource(ca_file=__file__)


def test_a_file_of_certificates_that_is_missing_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"source\.ca_file"):
        HttpSource(ca_file="nowhere.pem")
