"""Requests that a rule sends through the swarm: shared, refused, or left to the source."""

import asyncio
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from damselfly.core.proxying.rules import BLOBS, Action, ProxyRule, Target
from damselfly.faces.proxy.shared import Sharing, digest_in
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import SourceOptions
from faces.proxies import LOOPBACK_PEM, RunningProxy, a_proxy
from fakes.source import FakeSource, random_bytes
from services.hosts import SOURCE, a_host, a_supernode

DATA = random_bytes(3_000_000, seed=4)
BLOBS_HERE = ProxyRule(action=Action.P2P, host="127.0.0.1", path=BLOBS)
SECRET = ("Authorization", "Bearer s3cret")
P2P = ProxyRule(action=Action.P2P, host="127.0.0.1", filtered_query=("sig",))


@pytest.fixture
async def fake() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        yield source


@contextlib.asynccontextmanager
async def two_proxies(
    folder: Path, *rules: ProxyRule, source: SourceOptions = SOURCE
) -> AsyncIterator[tuple[RunningProxy, RunningProxy]]:
    """Give the proxies of two hosts of one swarm."""
    async with (
        a_supernode(folder, source) as supernode,
        a_host(folder, "ann", supernode, source) as ann,
        a_host(folder, "bob", supernode, source) as bob,
        of_host(folder / "ann", ann, *rules) as first,
        of_host(folder / "bob", bob, *rules) as second,
    ):
        yield first, second


@contextlib.asynccontextmanager
async def of_host(folder: Path, host: PeerHost, *rules: ProxyRule) -> AsyncIterator[RunningProxy]:
    share = Sharing(host.downloads).share
    async with a_proxy(folder, *rules, share=share, connect_ports=range(1, 65536)) as proxy:
        yield proxy


def gets(fake: FakeSource) -> int:
    return sum(request.method == "GET" for request in fake.requests)


async def test_two_hosts_read_the_source_once(tmp_path: Path, fake: FakeSource) -> None:
    content = fake.add("/models/a", DATA)

    async with two_proxies(tmp_path, P2P) as proxies:
        for number, proxy in enumerate(proxies):
            url = fake.url(f"/models/a?sig={number}")
            got = await proxy.curl(
                url, "--output", f"{tmp_path}/got", "--dump-header", "/dev/stdout"
            )

            assert got.out.split()[-2:] == ["200", "000"]
            assert f"ETag: {content.etag_told}" in got.out
            assert (tmp_path / "got").read_bytes() == DATA

    assert gets(fake) == 1
    assert fake.bytes_sent == len(DATA)


async def test_https_is_shared_too(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(LOOPBACK_PEM)
    trusting = SourceOptions(ca_file=str(LOOPBACK_PEM))
    async with FakeSource(tls=context) as secure:
        secure.add("/models/a", DATA)
        async with two_proxies(tmp_path, P2P, source=trusting) as proxies:
            for proxy in proxies:
                flags = ("--cacert", str(proxy.ca_file), "--output", f"{tmp_path}/got")
                got = await proxy.curl(secure.url("/models/a"), *flags)

                assert got.out.split() == ["200", "200"]
                assert (tmp_path / "got").read_bytes() == DATA

    assert gets(secure) == 1


async def test_ranges_come_from_the_same_content(tmp_path: Path, fake: FakeSource) -> None:
    fake.add("/models/a", DATA)

    async with a_host(tmp_path, "ann") as ann, of_host(tmp_path, ann, P2P) as proxy:
        await proxy.curl(fake.url("/models/a"), "--output", "/dev/null")
        flags = ("--output", f"{tmp_path}/got", "--range", "1000000-1999999")
        part = await proxy.curl(fake.url("/models/a"), *flags)
        beyond = await proxy.curl(fake.url("/models/a"), "--range", "9999999-")

    assert part.out.split()[0] == "206"
    assert (tmp_path / "got").read_bytes() == DATA[1_000_000:2_000_000]
    assert beyond.out.split()[-2] == "416"
    assert gets(fake) == 1


async def test_a_blob_is_named_by_the_digest_in_its_path(tmp_path: Path, fake: FakeSource) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    paths = [f"/v2/{name}/blobs/sha256:{digest}" for name in ("library/a", "other/b/c")]
    for path in paths:
        fake.add(path, DATA)

    async with a_host(tmp_path, "ann") as ann, of_host(tmp_path, ann, BLOBS_HERE) as proxy:
        for path in paths:
            got = await proxy.curl(fake.url(path), "--output", f"{tmp_path}/got")

            assert got.out.split()[0] == "200"
            assert (tmp_path / "got").read_bytes() == DATA

    assert gets(fake) == 1


async def test_a_blob_that_is_another_is_cut_and_never_looks_whole(
    tmp_path: Path, fake: FakeSource
) -> None:
    path = f"/v2/a/blobs/sha256:{'0' * 64}"
    fake.add(path, DATA)

    async with a_host(tmp_path, "ann") as ann, of_host(tmp_path, ann, BLOBS_HERE) as proxy:
        got = await proxy.curl(fake.url(path), "--output", "/dev/null")

    assert got.code != 0 or got.out.split()[0] == "502"


async def test_who_lacks_the_right_gets_the_refusal_of_the_source(
    tmp_path: Path, fake: FakeSource
) -> None:
    fake.add("/models/a", DATA, required_header=SECRET)
    url, header = fake.url("/models/a"), ("--header", ": ".join(SECRET))

    async with two_proxies(tmp_path, P2P) as (ann, bob):
        allowed = await ann.curl(url, *header, "--output", "/dev/null")
        without = await bob.curl(url)
        wrong = await bob.curl(url, "--header", "Authorization: Bearer other")
        right = await bob.curl(url, *header, "--output", f"{tmp_path}/got")

    assert [each.out.split()[-2] for each in (allowed, without, wrong)] == ["200", "403", "403"]
    assert right.out.split()[0] == "200"
    assert (tmp_path / "got").read_bytes() == DATA
    assert [request.method for request in fake.requests if request.status == 200].count("GET") == 1


async def test_a_refusal_comes_as_the_source_says_it(tmp_path: Path, fake: FakeSource) -> None:
    headers = {"WWW-Authenticate": 'Bearer realm="x"', "X-Why": "because"}
    fake.add("/models/a", b"", status=401, headers=headers)

    async with a_host(tmp_path, "ann") as ann, of_host(tmp_path, ann, P2P) as proxy:
        got = await proxy.curl("--include", fake.url("/models/a"))

    assert got.out.startswith("HTTP/1.1 401 ")
    assert 'WWW-Authenticate: Bearer realm="x"' in got.out
    assert "X-Why: because" in got.out


@pytest.mark.parametrize("status", [429, 503])
async def test_a_troubled_source_is_not_asked_once_more(
    tmp_path: Path, fake: FakeSource, status: int
) -> None:
    fake.add("/models/a", b"", status=status)

    async with a_host(tmp_path, "ann") as ann, of_host(tmp_path, ann, P2P) as proxy:
        got = await proxy.curl(fake.url("/models/a"))

    assert f"answered {status}" in got.out
    assert not any("Via" in seen for seen in fake.headers_seen)  # none was passed on


async def test_what_only_the_source_can_answer_goes_direct(
    tmp_path: Path, fake: FakeSource
) -> None:
    content = fake.add("/models/a", DATA, headers={"X-Commit": "abc"})
    url = fake.url("/models/a")

    async with a_host(tmp_path, "ann") as ann, of_host(tmp_path, ann, P2P) as proxy:
        head = await proxy.curl("--head", url)
        same = await proxy.curl(url, "--header", f"If-None-Match: {content.etag_told}")
        post = await proxy.curl(url, "--request", "POST", "--data", "x", "--output", "/dev/null")

    assert "X-Commit: abc" in head.out
    assert same.out.split()[-2] == "304"
    assert post.out.split()[-2] == "200"
    assert all("Via" in seen for seen in fake.headers_seen)


async def test_a_thousand_requests_at_once_read_the_source_once(
    tmp_path: Path, fake: FakeSource
) -> None:
    fake.add("/models/a", DATA[: 1 << 20])
    expected = hashlib.sha256(DATA[: 1 << 20]).digest()
    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def get(proxy_url: str) -> bytes:
        async with client.get(fake.url("/models/a"), proxy=proxy_url) as response:
            return hashlib.sha256(await response.read()).digest()

    async with (
        client,
        a_host(tmp_path, "ann") as ann,
        of_host(tmp_path, ann, P2P) as proxy,
        asyncio.TaskGroup() as tasks,
    ):
        gotten = [tasks.create_task(get(f"http://127.0.0.1:{proxy.port}")) for _ in range(1000)]
        await asyncio.wait(gotten)

    assert {each.result() for each in gotten} == {expected}
    assert gets(fake) == 1


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (f"/v2/a/b/blobs/sha256:{'0' * 64}", f"sha256:{'0' * 64}"),
        (f"/v2/a/blobs/sha256%3A{'0' * 64}", f"sha256:{'0' * 64}"),
        ("/v2/a/blobs/sha256:0", ""),
        (f"/v2/a/manifests/sha256:{'0' * 64}", ""),
        (f"/other/sha256:{'0' * 64}", ""),
    ],
)
def test_digests_in_paths(path: str, digest: str) -> None:
    assert digest_in(Target.parse(f"https://a.example{path}")) == digest
