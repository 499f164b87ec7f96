"""A checksum that the source tells is compared: bytes that broke on the way are not handed out."""

import base64
import hashlib
from pathlib import Path

import crc32c
import pytest

from damselfly.errors import SourceBrokenError
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode

DATA = random_bytes(700_000, seed=9)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def checksums_of(data: bytes) -> list[dict[str, str]]:
    return [
        {"Content-MD5": encoded(hashlib.md5(data).digest())},
        {"x-amz-checksum-sha1": encoded(hashlib.sha1(data).digest())},
        {"x-amz-checksum-crc32c": encoded(crc32c.crc32c(data).to_bytes(4, "big"))},
    ]


@pytest.mark.parametrize("number", range(3))
async def test_a_content_that_is_not_its_checksum_is_not_handed_out(
    tmp_path: Path, number: int
) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/right", DATA, headers=checksums_of(DATA)[number])
        source.add("/wrong", DATA, headers=checksums_of(DATA[:-1])[number])
        async with a_host(tmp_path, "ann", supernode) as host:
            right = DownloadRequest(url=source.url("/right"))
            finished = await host.downloads.get(right, lambda _: None)
            assert Path(finished.content_path).read_bytes() == DATA

            with pytest.raises(SourceBrokenError, match="checksum"):
                await host.downloads.get(DownloadRequest(url=source.url("/wrong")), lambda _: None)
