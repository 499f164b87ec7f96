"""Guards private contents of dfget: a header that the source refuses gets nothing from a cache."""

from pathlib import Path

import pytest

from damselfly.errors import SourceRefusedError
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.wire.local_messages import DownloadFinished, DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode

DATA = random_bytes(600_000, seed=13)
GOOD, OTHER, BAD = "Bearer good", "Bearer other", "Bearer bad"


async def get(
    host: PeerHost, source: FakeSource, authorization: str, digest: str = ""
) -> DownloadFinished:
    headers = (f"Authorization: {authorization}",) if authorization else ()
    request = DownloadRequest(url=source.url("/f"), headers=headers, digest=digest)
    return await host.downloads.get(request, lambda _: None)


@pytest.mark.parametrize("has_digest", [True, False])
@pytest.mark.parametrize("has_supernode", [True, False])
async def test_each_requester_needs_rights_of_its_own(
    tmp_path: Path, *, has_supernode: bool, has_digest: bool
) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as address:
        supernode = address if has_supernode else ""
        content = source.add("/f", DATA, accepted={GOOD, OTHER})
        digest = f"sha256:{content._sha256.hex()}" if has_digest else ""
        async with (
            a_host(tmp_path, "ann", supernode) as ann,
            a_host(tmp_path, "bob", supernode) as bob,
        ):
            for host in (ann, ann, bob):
                finished = await get(host, source, GOOD, digest)
                assert Path(finished.content_path).read_bytes() == DATA
                for authorization in (BAD, ""):
                    with pytest.raises(SourceRefusedError) as caught:
                        await get(host, source, authorization, digest)
                    assert caught.value.http_status == 401
                assert (await get(host, source, OTHER, digest)).size_bytes == len(DATA)

    read = [request for request in source.requests if request.method == "GET"]
    assert sum(request.status == 200 for request in read) == (1 if has_supernode else 2)


async def test_password_in_the_url_is_a_credential(tmp_path: Path) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        content = source.add("/f", DATA, accepted={"Basic dTpw"})
        digest = f"sha256:{content._sha256.hex()}"
        with_password = source.url("/f").replace("://", "://u:p@")
        with_another = source.url("/f").replace("://", "://u:q@")
        for url, is_right in ((with_password, True), (with_another, False)):
            request = DownloadRequest(url=url, digest=digest)
            if is_right:
                assert (await host.downloads.get(request, lambda _: None)).size_bytes == len(DATA)
            else:
                with pytest.raises(SourceRefusedError):
                    await host.downloads.get(request, lambda _: None)
