"""Guards the registry mirror: what an engine gets, and what its registry is asked."""

from pathlib import Path

import pytest
from yarl import URL

from damselfly.services.options import MirrorOptions, RegistryOptions
from faces.mirrors import an_engine
from fakes.registry import MANIFEST_TYPE, FakeRegistry, digest_of
from fakes.source import CHALLENGE, random_bytes
from services.hosts import a_host, a_supernode

LAYER = random_bytes(1_000_000, seed=1)
SMALL = random_bytes(100, seed=2)


async def test_image_comes_whole_and_its_blobs_are_asked_for_once(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, SMALL, b"")
        for name in ("ann", "bob"):
            async with (
                a_host(tmp_path, name, supernode) as host,
                an_engine(host, registry.host) as engine,
            ):
                head = await engine.ask(image.tag_path, "HEAD")
                manifest = await engine.ask(image.manifest_path)
                blobs = [await engine.ask(path) for path in image.blob_paths]

            assert (head.status, head.headers["Docker-Content-Digest"]) == (200, image.digest)
            assert head.headers["Content-Length"] == str(len(image.manifest))
            assert manifest.body == image.manifest
            assert manifest.headers["Content-Type"] == MANIFEST_TYPE
            assert manifest.headers["Docker-Content-Digest"] == image.digest
            assert [blob.body for blob in blobs] == [LAYER, SMALL, b""]

    assert registry.count("HEAD") == 2  # the tag, once for each host
    assert [registry.count("GET", path) for path in image.blob_paths] == [1, 1, 1]
    assert registry.count("GET", image.manifest_path) == 1


@pytest.mark.parametrize("is_stated", [True, False])
async def test_tag_is_asked_for_by_head_and_its_manifest_comes_by_digest(
    tmp_path: Path, *, is_stated: bool
) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER, is_stated=is_stated)
        async with an_engine(host, registry.host) as engine:
            for _ in range(2):
                told = await engine.ask(image.tag_path)
                assert (told.status, told.body) == (200, image.manifest)
                assert told.headers["Content-Type"] == MANIFEST_TYPE

    methods = [request.method for request in registry.requests]
    assert sorted(methods) == ["GET", "HEAD", "HEAD"]


async def test_moved_tag_is_noticed(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        registry.add_image("lib/app", "v1", LAYER)
        async with an_engine(host, registry.host) as engine:
            path = "/v2/lib/app/manifests/v1"
            first = await engine.ask(path)
            image = registry.add_image("lib/app", "v1", SMALL)
            second = await engine.ask(path)

    assert first.body != second.body == image.manifest


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("knows_conditions", [True, False])
@pytest.mark.parametrize("is_cached", [True, False])
async def test_engine_that_has_it_already_is_told_so_and_nothing_is_fetched(
    tmp_path: Path, method: str, *, knows_conditions: bool, is_cached: bool
) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER, no_conditions=not knows_conditions)
        digests = {
            image.tag_path: image.digest,
            image.manifest_path: image.digest,
            image.blob_paths[0]: digest_of(LAYER),
        }
        for path, digest in digests.items():
            registry.contents[path].etag = f'"{digest}"'
        async with an_engine(host, registry.host) as engine:
            if is_cached:
                for path in digests:
                    assert (await engine.ask(path)).status == 200
            registry.requests.clear()
            for path, digest in digests.items():
                for known in (f'"{digest}"', f'"x", W/"{digest}"'):
                    told = await engine.ask(path, method, If_None_Match=known)
                    assert (told.status, told.body) == (304, b""), path
                # What it has is something else.
                told = await engine.ask(path, "HEAD", If_None_Match='"x"')
                assert told.status == 200

    assert registry.count("GET") == 0


async def test_who_pushes_is_told_what_the_repository_lacks_though_it_is_cached(
    tmp_path: Path,
) -> None:
    """Told that it is there they left it out, and the registry refused their manifest."""
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER)
        async with an_engine(host, registry.host) as engine:
            for path in (image.manifest_path, *image.blob_paths):
                assert (await engine.ask(path)).status == 200
                assert (await engine.ask(path, "HEAD")).status == 200
                assert (await engine.ask(path.replace("lib/app", "lib/new"), "HEAD")).status == 404


@pytest.mark.parametrize("status", [429, 503])
async def test_head_is_answered_from_the_cache_where_the_registry_cannot(
    tmp_path: Path, status: int
) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER)
        path = image.blob_paths[0]
        async with an_engine(host, registry.host) as engine:
            assert (await engine.ask(path, "HEAD")).status == 200
            assert (await engine.ask(path)).body == LAYER
            registry.contents[path].status = status
            told = await engine.ask(path, "HEAD")

    assert (told.status, told.headers["Content-Length"]) == (200, str(len(LAYER)))


async def test_range_of_a_blob_resumes_it(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER)
        async with an_engine(host, registry.host) as engine:
            for asked, start, stop in (("500-", 500, None), ("2-4", 2, 5), ("-3", -3, None)):
                told = await engine.ask(image.blob_paths[0], Range=f"bytes={asked}")
                assert (told.status, told.body) == (206, LAYER[start:stop])
            beyond = await engine.ask(image.blob_paths[0], Range="bytes=1000000-")
            assert beyond.status == 416
            wrong = await engine.ask(image.blob_paths[0], Range="bytes=5-2")
            assert (wrong.status, wrong.body) == (200, LAYER)


async def test_blob_of_two_registries_is_one_content(tmp_path: Path) -> None:
    async with (
        FakeRegistry() as one,
        FakeRegistry() as two,
        a_host(tmp_path, "ann") as host,
        an_engine(host, one.host) as first,
        an_engine(host, two.host) as second,
    ):
        image = one.add_image("lib/app", "v1", LAYER)
        other = two.add_image("other/name", "v2", LAYER)
        assert (await first.ask(image.blob_paths[0])).body == LAYER
        told = await second.ask(other.blob_paths[0])

    assert told.body == LAYER
    assert told.headers["X-Damselfly-From"] == "peers=0,supernode=0,source=0,cache=1000000"
    assert two.count("GET") == 0


async def test_registry_is_named_by_query_name_header_or_settings(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", SMALL)
        name = registry.host
        port = name.partition(":")[2]
        known = (RegistryOptions(name="r.example", url=registry.url("")),)
        mirror = MirrorOptions(default="r.example")
        async with an_engine(host, name) as engine:
            assert (await engine.ask(image.tag_path)).status == 200
        async with an_engine(host, "", mirror=mirror, registries=known) as engine:
            assert (await engine.ask(image.tag_path)).status == 200
            in_name = f"/v2/127.0.0.1_{port}/lib/app/manifests/v1"
            assert (await engine.ask(in_name)).status == 200
            assert (await engine.ask("/v2/r.example/lib/app/manifests/v1")).status == 200
        async with an_engine(host, "", mirror=MirrorOptions(default="127.0.0.1:1")) as engine:
            assert (await engine.ask(image.tag_path)).status == 502
            for header in (name, f"http://{name}"):
                assert (await engine.ask(image.tag_path, X_Registry=header)).status == 200
        async with an_engine(host, "bad name!") as engine:
            assert (await engine.ask(image.tag_path)).status == 400


async def test_mirrors_of_a_registry_are_asked_first(tmp_path: Path) -> None:
    async with (
        FakeRegistry() as registry,
        FakeRegistry() as near,
        a_host(tmp_path, "ann") as host,
    ):
        image = registry.add_image("proxy/lib/app", "v1", LAYER, SMALL)
        near.add_image("proxy/lib/app", "v1", LAYER)
        urls = (near.url(""), "http://127.0.0.1:1")
        known = (
            RegistryOptions(name="r.example", url=registry.url(""), mirrors=urls, prefix="proxy"),
        )
        async with an_engine(host, "r.example", registries=known) as engine:
            for path, body in zip(image.blob_paths, (LAYER, SMALL), strict=True):
                told = await engine.ask(path.replace("proxy/", ""))
                assert (told.status, told.body) == (200, body)

    assert registry.count("GET", image.blob_paths[0]) == 0
    assert registry.count("GET", image.blob_paths[1]) == 1


async def test_lists_are_passed_on(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        link = '</v2/lib/app/tags/list?last=b&n=2>; rel="next"'
        registry.add("/v2/lib/app/tags/list", b'{"tags": ["a"]}', headers={"Link": link})
        digest = digest_of(b"x")
        registry.add(f"/v2/lib/app/referrers/{digest}", b'{"manifests": []}')
        port = registry.host.partition(":")[2]
        async with an_engine(host, "") as engine:
            told = await engine.ask(f"/v2/127.0.0.1_{port}/lib/app/tags/list")
            signatures = f"/v2/127.0.0.1_{port}/lib/app/referrers/{digest}?artifactType=a/b%2Bc"
            referrers = await engine.ask(signatures)

    assert told.body == b'{"tags": ["a"]}'
    assert (
        told.headers["Link"] == f'</v2/127.0.0.1_{port}/lib/app/tags/list?last=b&n=2>; rel="next"'
    )
    assert referrers.body == b'{"manifests": []}'
    assert registry.queries_seen == ["", "artifactType=a/b%2Bc"]


async def test_pages_of_a_list_are_of_the_registry_that_was_named(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        link = f'<{registry.url("/v2/lib/app/tags/list")}?last=b&n=2>; rel="next"'
        registry.add("/v2/lib/app/tags/list", b'{"tags": ["a", "b"]}', headers={"Link": link})
        async with an_engine(host, registry.host) as engine:
            told = await engine.ask("/v2/lib/app/tags/list")
            url, _, rest = told.headers["Link"].lstrip("<").partition(">")
            assert rest == '; rel="next"'
            next_page = URL(f"{engine.url('/').origin()}{url}", encoded=True)
            async with engine._client.get(next_page) as second:
                assert second.status == 200

    assert registry.queries_seen == ["", "last=b&n=2"]


async def test_base_is_passed_on_for_those_who_say_or_imply_which(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        registry.add("/v2/", b"{}", accepted={"Bearer good"})
        default = MirrorOptions(default=registry.host)
        async with an_engine(host, "", mirror=default) as engine:
            assert (await engine.ask("/v2/", User_Agent="docker/20.10.24")).status == 401
            ours = await engine.ask("/v2/", User_Agent="containers/5.23")
            assert (ours.status, ours.body.count(b"good")) == (401, 0)
            assert 'service="damselfly"' in ours.headers["WWW-Authenticate"]
        async with an_engine(host, registry.host) as engine:
            told = await engine.ask("/v2/")
            assert told.status == 401
            assert told.headers["WWW-Authenticate"].startswith("Bearer realm=")
            assert (await engine.ask("/v2/", token="good")).status == 200


async def test_all_accept_lines_reach_the_registry(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", SMALL)
        async with an_engine(host, registry.host) as engine:
            url = engine.url(image.tag_path)
            lines = [("Accept", "a/one"), ("Accept", "a/two, a/three")]
            async with engine._client.get(url, headers=lines) as response:
                assert response.status == 200

    assert registry.accepts_seen == [["a/one", "a/two, a/three"]] * 2


async def test_refusal_of_a_tag_costs_one_request(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", SMALL, accepted={"Bearer good"})
        async with an_engine(host, registry.host) as engine:
            told = await engine.ask(image.tag_path)

    assert (told.status, told.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    assert len(registry.requests) == 1
