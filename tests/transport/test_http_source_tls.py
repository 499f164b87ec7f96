"""The HTTP source and certificates: strangers are not trusted, those in `ca_file` are."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import fakes.source
from damselfly.errors import SourceUnreachableError
from damselfly.transport.sources.http import HttpSource
from fakes.source import FakeSource, random_bytes
from transport.readings import DATA, body_of, read_all, spec_of

CERTIFICATE = Path(fakes.source.__file__).parent / "tls" / "loopback.pem"


@pytest.fixture
async def fake() -> AsyncIterator[FakeSource]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    async with FakeSource(tls=context) as source:
        yield source


async def test_a_certificate_of_a_stranger_is_not_trusted(
    fake: FakeSource, http: HttpSource
) -> None:
    fake.add("/f", DATA)

    with pytest.raises(SourceUnreachableError, match="certificate is not trusted"):
        await http.read(spec_of(fake))

    assert fake.requests == []


async def test_a_certificate_in_the_file_of_the_settings_is_trusted(fake: FakeSource) -> None:
    http = HttpSource(ca_file=str(CERTIFICATE))
    fake.add("/f", DATA)

    _, data = await read_all(http, spec_of(fake))

    assert data == DATA
    await http.close()


async def test_a_large_content_comes_whole_by_tls(fake: FakeSource) -> None:
    http = HttpSource(ca_file=str(CERTIFICATE))
    data = random_bytes(8 << 20, seed=8)
    fake.add("/f", data)

    async with await http.read(spec_of(fake)) as reading:
        assert await body_of(reading, part_bytes=3 << 20) == data

    await http.close()
