"""Guards what bad input gets at the mirror: a clear refusal or a reset, and nothing stays."""

import asyncio
import hashlib
import json
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from damselfly.core.task import TaskSpec
from damselfly.errors import SourceUnreachableError
from damselfly.faces.proxy.access import Client
from damselfly.services.options import MirrorOptions, SourceOptions
from damselfly.transport.sources.http import HttpSource
from faces.mirrors import Engine, an_engine
from fakes.registry import FakeRegistry, digest_of
from fakes.source import random_bytes
from services.hosts import a_host, a_supernode

ELSEWHERE = Client(address="192.0.2.7", is_here=False, port=65001)
LAYER = random_bytes(1_000_000, seed=4)
DIGEST = digest_of(LAYER)


@pytest.fixture(params=["with a SuperNode", "without"])
def has_supernode(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "with a SuperNode")


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v2/a/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/nothing", 400, "DIGEST_INVALID"),
        (f"/v2/a/blobs/{DIGEST.upper()}", 400, "DIGEST_INVALID"),
        (f"/v2/../v2/a/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/%2e%2e/a/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/a/%2E%2E/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2//a/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/a//blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"//v2/a/blobs/{DIGEST}", 404, "UNSUPPORTED"),
        (f"/v2/{'a' * 10_000}/blobs/{DIGEST}", 400, "NAME_INVALID"),
        ("/v2/a/manifests/a%00b", 400, "MANIFEST_INVALID"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/", 404, "UNSUPPORTED"),
        ("/etc/passwd", 404, "UNSUPPORTED"),
    ],
)
async def test_what_no_registry_has_is_refused_in_its_words(
    tmp_path: Path, target: str, status: int, code: str
) -> None:
    async with (
        FakeRegistry() as registry,
        a_host(tmp_path, "ann") as host,
        an_engine(host, registry.host) as engine,
    ):
        url = engine.url("/")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"  # to the letter
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["code"] == code
    assert registry.requests == []


@pytest.mark.parametrize("name", ["http://[::1/", "a b", "https://u:p@a.example"])
async def test_header_that_names_no_registry_is_refused(tmp_path: Path, name: str) -> None:
    async with a_host(tmp_path, "ann") as host, an_engine(host, "") as engine:
        told = await engine.ask("/v2/", X_Registry=name)

    assert (told.status, json.loads(told.body)["errors"][0]["code"]) == (400, "NAME_INVALID")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_push_is_refused_where_the_settings_say_so(tmp_path: Path, method: str) -> None:
    options = MirrorOptions(pushes=False)
    async with a_host(tmp_path, "ann") as host, an_engine(host, "", mirror=options) as engine:
        told = await engine.ask(f"/v2/a/blobs/{DIGEST}", method)

    assert told.status == 405
    assert b"push to the registry itself" in told.body


async def interrupted(engine: Engine, path: str) -> bytes:
    """Return what came of a body before it broke; nothing, if that was before its first byte."""
    got = bytearray()
    async with engine._client.get(engine.url(path)) as response:
        if response.status == 502:
            return b""
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):  # noqa: PT012  # what came until then counts
            async for chunk in response.content.iter_any():
                got += chunk
    return bytes(got)


async def test_wrong_blob_never_gets_out_whole_and_leaves_nothing(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    wrong = LAYER[:-1] + b"\0"
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER)
        registry.contents[image.blob_paths[0]].change(wrong)
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
        ):
            got = await interrupted(engine, image.blob_paths[0])
            assert host.tasks_seen() == []
            registry.contents[image.blob_paths[0]].change(LAYER)
            right = await engine.ask(image.blob_paths[0])

    assert wrong.startswith(got)
    assert len(got) < len(wrong)
    assert right.body == LAYER


@pytest.mark.parametrize("body", [b'{"layers": []}', b"no JSON", b""])
async def test_wrong_manifest_is_refused_whole(
    tmp_path: Path, body: bytes, *, has_supernode: bool
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER)
        registry.contents[image.manifest_path].change(body)
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
        ):
            for path in (image.manifest_path, image.tag_path):
                told = await engine.ask(path)
                assert told.status == 502
                assert b"as promised" in told.body
            assert host.tasks_seen() == []


async def test_manifest_that_is_no_json_has_the_type_that_its_registry_tells(
    tmp_path: Path,
) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        body = b"no JSON"
        path = f"/v2/lib/odd/manifests/{digest_of(body)}"
        registry.add(path, body, headers={"Content-Type": "text/odd"})
        async with an_engine(host, registry.host) as engine:
            told = await engine.ask(path)

    assert (told.status, told.body, told.headers["Content-Type"]) == (200, body, "text/odd")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_refusal_of_the_registry_comes_through(
    tmp_path: Path, status: int, *, has_supernode: bool
) -> None:
    once = SourceOptions(retries_max=0)
    async with FakeRegistry() as registry, a_supernode(tmp_path, once) as supernode:
        image = registry.add_image(
            "lib/app", "v1", LAYER, status=status, headers={"Retry-After": "1"}
        )
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "", once) as host,
            an_engine(host, registry.host) as engine,
        ):
            blob = await engine.ask(image.blob_paths[0])
            tag = await engine.ask(image.tag_path)

    assert blob.status == (status if status < 500 else 502)
    assert blob.headers["Retry-After"] == "1"
    assert json.loads(blob.body)["errors"]
    assert tag.status == status
    assert tag.headers["Retry-After"] == "1"


async def test_registry_that_is_down_is_a_502_that_says_so(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with (
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
        an_engine(host, "127.0.0.1:1") as engine,
    ):
        for path in (f"/v2/a/blobs/{DIGEST}", "/v2/a/manifests/v1", "/v2/a/tags/list"):
            told = await engine.ask(path)
            assert told.status == 502
            assert b"cannot be reached" in told.body


async def test_registry_that_resets_now_and_then_is_asked_again(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, reset_after_bytes=600_000, reset_count=1)
        async with (
            a_host(tmp_path, "ann", supernode) as host,
            an_engine(host, registry.host) as engine,
        ):
            assert (await engine.ask(image.blob_paths[0])).body == LAYER

    asked = [each.range_header for each in registry.requests if "blobs" in each.path]
    assert asked[0] == ""
    assert asked[1].startswith("bytes=")


async def test_registry_that_resets_for_good_ends_in_a_reset(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, reset_after_bytes=600_000)
        async with (
            a_host(tmp_path, "ann", supernode) as host,
            an_engine(host, registry.host) as engine,
        ):
            reading = asyncio.ensure_future(interrupted(engine, image.blob_paths[0]))
            while not registry.count("GET"):
                await asyncio.sleep(0.01)
            registry.contents[image.blob_paths[0]].reset_after_bytes = 0
            got = await reading

    assert LAYER.startswith(got)
    assert len(got) < len(LAYER)


async def test_registry_that_stalls_is_given_up(tmp_path: Path) -> None:
    impatient = SourceOptions(retries_max=0, stall_timeout_s=0.2)
    async with FakeRegistry() as registry, a_supernode(tmp_path, impatient) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER)
        registry.contents[image.blob_paths[0]].is_stalled_at_head = True
        async with (
            a_host(tmp_path, "ann", supernode, impatient) as host,
            an_engine(host, registry.host) as engine,
        ):
            assert (await engine.ask(image.blob_paths[0])).status == 502


async def test_blob_is_redirected_to_a_store_that_gets_no_credentials(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with (
        FakeRegistry() as registry,
        FakeRegistry() as store,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
        an_engine(host, registry.host) as engine,
    ):
        image = registry.add_image("lib/app", "v1", LAYER)
        store.add("/signed", LAYER)
        registry.contents[image.blob_paths[0]].redirect_to = store.url("/signed?signature=x")
        assert (await engine.ask(image.blob_paths[0], token="secret")).body == LAYER

    assert registry.headers_seen[0]["Authorization"] == "Bearer secret"
    assert "Authorization" not in store.headers_seen[0]


async def test_disk_that_is_full_passes_blobs_on(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann", quota_bytes=500_000) as host:
        image = registry.add_image("lib/app", "v1", LAYER)
        async with an_engine(host, registry.host) as engine:
            told = await engine.ask(image.blob_paths[0])
            part = await engine.ask(image.blob_paths[0], Range="bytes=5-9")

    assert (told.status, hashlib.sha256(told.body).digest()) == (
        200,
        hashlib.sha256(LAYER).digest(),
    )
    assert (part.status, part.body) == (206, LAYER[5:10])


async def test_disk_that_is_full_passes_manifests_on(tmp_path: Path) -> None:
    """By its tag it was 507, so that the pull failed though its blobs could be had."""
    async with FakeRegistry() as registry, a_host(tmp_path, "ann", quota_bytes=50) as host:
        image = registry.add_image("lib/app", "v1", LAYER)
        async with an_engine(host, registry.host) as engine:
            for path in (image.tag_path, image.manifest_path):
                told = await engine.ask(path)
                assert (told.status, told.body) == (200, image.manifest)


async def test_request_that_repeats_what_it_asks_is_understood_once(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", b"x")
        async with an_engine(host, "") as engine:
            named = f"ns={registry.host}&ns=127.0.0.1:1"
            url = URL(f"{engine.url(image.tag_path)}?{named}", encoded=True)
            async with engine._client.get(url) as response:
                assert response.status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_mirror_of_itself_is_a_loop(tmp_path: Path, host: str) -> None:
    async with a_host(tmp_path, "ann") as ann, an_engine(ann, "") as engine:
        path = f"/v2/a/blobs/{DIGEST}?ns={host}:{engine.url('/').port}"
        async with engine._client.get(URL(f"{engine.url('/').origin()}{path}")) as response:
            assert response.status == 508
            assert "loop" in await response.text()


@pytest.mark.parametrize("registry_name", ["127.0.0.1", "localhost"])
async def test_client_elsewhere_is_led_to_nothing_that_is_this_hosts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry_name: str
) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER)
        port = registry.host.partition(":")[2]
        scope = f"repository:{registry_name}_{port}/lib/app:pull"
        async with an_engine(host, f"{registry_name}:{port}") as engine:
            assert (await engine.ask(image.tag_path)).status == 200
            registry.requests.clear()
            monkeypatch.setattr("damselfly.faces.proxy.reach.client_of", lambda _: ELSEWHERE)
            told = await engine.ask(image.tag_path)
            token_url = f"{engine.url('/').origin()}/v2/token?scope={scope}"
            async with engine._client.get(token_url) as response:
                token_status = response.status

    assert (told.status, token_status) == (403, 403)
    assert b"clients on other hosts" in told.body
    assert registry.requests == []


async def test_registry_leads_a_client_elsewhere_nowhere_either() -> None:
    # Its redirects, and whom it names for tokens, are asked in the same way.
    async with FakeRegistry() as registry:
        source = HttpSource()
        guarded = source.guarded()
        spec = TaskSpec(url=f"http://localhost:{registry.host.partition(':')[2]}/")
        with pytest.raises(SourceUnreachableError, match="clients on other hosts"):
            await guarded.ask("GET", spec, {})
        assert registry.requests == []
        (await source.ask("GET", spec, {})).close()
        await guarded.close()
        await source.close()
