"""Guards private contents: each requester gets what its registry gives to that requester."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from damselfly.services.options import MirrorOptions
from faces.mirrors import Engine, an_engine
from fakes.registry import FakeRegistry
from fakes.source import CHALLENGE, random_bytes
from services.hosts import a_host, a_supernode

LAYER = random_bytes(1_000_000, seed=3)
ANN, BOB = "ann-token", "bob-token"


def bearers(*tokens: str) -> set[str]:
    return {f"Bearer {token}" for token in tokens}


@pytest.fixture(params=["with a SuperNode", "without"])
def has_supernode(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "with a SuperNode")


async def test_challenge_reaches_the_engine_and_its_token_the_registry(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN))
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
        ):
            for path in (image.tag_path, image.manifest_path, image.blob_paths[0]):
                told = await engine.ask(path)
                assert (told.status, told.headers["WWW-Authenticate"]) == (401, CHALLENGE)
                assert (await engine.ask(path, "HEAD")).status == 401
                assert (await engine.ask(path, token=ANN)).status == 200


async def test_refusal_of_a_tag_has_a_body_as_long_as_it_says(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN))
        async with an_engine(host, registry.host) as engine, asyncio.timeout(10):
            told = await engine.ask(image.tag_path)

    assert (told.status, told.headers["WWW-Authenticate"]) == (401, CHALLENGE)
    assert b"UNAUTHORIZED" in told.body


async def test_who_may_not_read_it_is_not_told_that_it_is_the_same(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN))
        paths = (image.tag_path, image.manifest_path, image.blob_paths[0])
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
        ):
            for is_cached in (False, True):
                for path in paths:
                    if is_cached:
                        assert (await engine.ask(path, token=ANN)).status == 200
                    for token in ("", "stolen"):
                        for method in ("GET", "HEAD"):
                            told = await engine.ask(path, method, token=token, If_None_Match="*")
                            assert told.status == 401
                    told = await engine.ask(path, token=ANN, If_None_Match="*")
                    assert told.status == 304


async def test_what_is_cached_here_is_given_to_nobody_without_rights(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN, BOB))
        path = image.blob_paths[0]
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
        ):
            assert (await engine.ask(path, token=ANN)).body == LAYER
            for method in ("GET", "HEAD"):
                assert (await engine.ask(path, method)).status == 401
                assert (await engine.ask(path, method, token="stolen")).status == 401
            for _ in range(3):
                assert (await engine.ask(path, token=BOB)).body == LAYER
                assert (await engine.ask(path, token=ANN)).body == LAYER

    assert registry.count("GET", path) == 1
    asked = [request.status for request in registry.requests if request.method == "HEAD"]
    assert asked.count(200) == 1  # for Bob, once


async def test_what_a_neighbour_has_is_given_to_nobody_without_rights(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN, BOB))
        path = image.blob_paths[0]
        async with (
            a_host(tmp_path, "ann", supernode) as ann,
            a_host(tmp_path, "bob", supernode) as bob,
            an_engine(ann, registry.host) as at_ann,
            an_engine(bob, registry.host) as at_bob,
        ):
            assert (await at_ann.ask(path, token=ANN)).body == LAYER
            refused = await at_bob.ask(path)
            assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, CHALLENGE)
            assert (await at_bob.ask(path, token="stolen")).status == 401
            assert bob.tasks_seen() == []
            assert (await at_bob.ask(path, token=BOB)).body == LAYER

    assert registry.count("GET", path) == 1


async def test_requester_without_rights_does_not_join_a_running_download(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image(
            "lib/app", "v1", LAYER, accepted=bearers(ANN), stall_after_bytes=500_000
        )
        path = image.blob_paths[0]
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
            asyncio.TaskGroup() as tasks,
        ):
            running = tasks.create_task(engine.ask(path, token=ANN))
            await registry.contents[path].has_stalled.wait()
            assert (await engine.ask(path)).status == 401
            assert (await engine.ask(path, token="stolen")).status == 401
            registry.contents[path].release()

    assert running.result().body == LAYER


async def test_one_whom_the_registry_refuses_does_not_spoil_it_for_others(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN))
        path = image.blob_paths[0]
        registry.contents[path].is_stalled_at_head = True  # so that all wait for the first one
        async with (
            a_host(tmp_path, "ann", supernode) as ann,
            a_host(tmp_path, "bob", supernode) as bob,
            an_engine(ann, registry.host) as at_ann,
            an_engine(bob, registry.host) as at_bob,
            asyncio.TaskGroup() as tasks,
        ):
            refused = tasks.create_task(at_bob.ask(path, token="stolen"))
            await registry.contents[path].has_stalled.wait()
            given = tasks.create_task(at_ann.ask(path, token=ANN))
            await asyncio.sleep(0.1)  # Ann has joined; in either order it must end well
            registry.contents[path].release()

    assert refused.result().status == 401
    assert given.result().body == LAYER


async def test_token_that_expires_midway_breaks_no_running_download(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image(
            "lib/app", "v1", LAYER, accepted=bearers(ANN), stall_after_bytes=500_000
        )
        content = registry.contents[image.blob_paths[0]]
        async with (
            a_host(tmp_path, "ann", supernode) as host,
            an_engine(host, registry.host) as engine,
            asyncio.TaskGroup() as tasks,
        ):
            running = tasks.create_task(engine.ask(image.blob_paths[0], token=ANN))
            await content.has_stalled.wait()
            content.accepted = bearers(BOB)
            content.release()

    assert running.result().body == LAYER


async def test_read_that_breaks_after_its_token_expired_goes_on_with_that_of_another(
    tmp_path: Path,
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image(
            "lib/app", "v1", LAYER, accepted=bearers(ANN, BOB), stall_after_bytes=600_000
        )
        path = image.blob_paths[0]
        content = registry.contents[path]
        content.reset_after_bytes, content.reset_count = 700_000, 1
        async with (
            a_host(tmp_path, "ann", supernode) as ann,
            a_host(tmp_path, "bob", supernode) as bob,
            an_engine(ann, registry.host) as at_ann,
            an_engine(bob, registry.host) as at_bob,
            asyncio.TaskGroup() as tasks,
        ):
            first = tasks.create_task(at_ann.ask(path, token=ANN))
            await content.has_stalled.wait()
            second = tasks.create_task(at_bob.ask(path, token=BOB))
            while not registry.count("HEAD", path):  # Bob is asked about
                await asyncio.sleep(0.01)
            content.accepted = bearers(BOB)
            content.release()

    assert first.result().body == second.result().body == LAYER


async def test_engine_that_comes_again_with_a_new_token_gets_the_rest(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN))
        path = image.blob_paths[0]
        content = registry.contents[path]
        content.stall_after_bytes, content.reset_after_bytes = 600_000, 700_000
        async with (
            a_host(tmp_path, "ann", supernode if has_supernode else "") as host,
            an_engine(host, registry.host) as engine,
        ):
            headers = {"Authorization": f"Bearer {ANN}"}
            got = bytearray()
            with pytest.raises(aiohttp.ClientError):  # noqa: PT012  # what came until then counts
                async with engine._client.get(engine.url(path), headers=headers) as response:
                    await content.has_stalled.wait()
                    content.accepted = bearers(BOB)
                    content.release()
                    async for chunk in response.content.iter_any():
                        got += chunk
            content.reset_after_bytes = -1
            before = registry.bytes_sent
            rest = await engine.ask(path, token=BOB, Range=f"bytes={len(got)}-")
            read_again = registry.bytes_sent - before

    assert LAYER.startswith(bytes(got))
    assert (rest.status, bytes(got) + rest.body) == (206, LAYER)
    assert read_again < len(LAYER) // 2


async def test_public_content_needs_no_further_question(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_supernode(tmp_path) as supernode:
        image = registry.add_image("lib/app", "v1", LAYER)
        path = image.blob_paths[0]
        for _ in range(2):  # ... also of a host that was started anew
            async with (
                a_host(tmp_path, "ann", supernode) as host,
                an_engine(host, registry.host) as engine,
            ):
                for token in ("", ANN, BOB):
                    assert (await engine.ask(path, token=token)).body == LAYER
        async with (
            a_host(tmp_path, "bob", supernode) as host,
            an_engine(host, registry.host) as engine,
        ):
            registry.contents.clear()
            assert (await engine.ask(path, token=BOB)).body == LAYER

    assert len(registry.requests) == 1


async def test_source_that_does_not_answer_gives_private_content_to_nobody_new(
    tmp_path: Path,
) -> None:
    async with a_supernode(tmp_path) as supernode, a_host(tmp_path, "ann", supernode) as host:
        async with FakeRegistry() as registry:
            image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN, BOB))
            name, path = registry.host, image.blob_paths[0]
            async with an_engine(host, name) as engine:
                assert (await engine.ask(path, token=ANN)).status == 200
        async with an_engine(host, name) as engine:
            assert (await engine.ask(path, token=BOB)).status == 502
            assert (await engine.ask(path, token=ANN)).body == LAYER  # accepted a moment ago


async def test_registry_that_refuses_head_is_asked_by_get(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, a_host(tmp_path, "ann") as host:
        image = registry.add_image("lib/app", "v1", LAYER, accepted=bearers(ANN, BOB), no_head=True)
        path = image.blob_paths[0]
        async with an_engine(host, registry.host) as engine:
            assert (await engine.ask(path, token=ANN)).status == 200
            assert (await engine.ask(path, token=BOB)).body == LAYER
            assert (await engine.ask(path, token="stolen")).status == 401

    assert [each.range_header for each in registry.requests if each.method == "GET"] == [
        "",
        "bytes=0-0",
    ]


async def test_stale_tag_is_served_only_if_the_operator_allows_it(tmp_path: Path) -> None:
    async def status(engine: Engine, path: str, token: str = "") -> int:
        return (await engine.ask(path, token=token)).status

    for is_allowed in (True, False):
        async with a_host(tmp_path, f"ann-{is_allowed}") as host, FakeRegistry() as registry:
            public = registry.add_image("lib/app", "v1", LAYER)
            private = registry.add_image("own/app", "v1", b"x", accepted=bearers(ANN))
            options = MirrorOptions(serve_stale_tags=is_allowed)
            async with an_engine(host, registry.host, mirror=options) as engine:
                assert await status(engine, public.tag_path) == 200
                assert await status(engine, private.tag_path, ANN) == 200
                await registry.__aexit__()
                assert await status(engine, public.tag_path) == (200 if is_allowed else 502)
                assert await status(engine, private.tag_path) == 502
                assert await status(engine, "/v2/lib/app/manifests/other") == 502
