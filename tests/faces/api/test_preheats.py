"""Guards preheat jobs as people meet them: what is warm in the end, and what is said of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from damselfly.clock import now_s
from damselfly.services.options import CacheOptions, PreheatOptions, RegistryOptions, SourceOptions
from damselfly.services.supernode import supernode
from faces.api.asking import an_api, states
from fakes.registry import FakeRegistry
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host

LAYER = random_bytes(1_000_000, seed=1)
SMALL = random_bytes(100, seed=2)
FILE = random_bytes(300_000, seed=3)


async def test_image_is_warm_layer_by_layer(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER, SMALL)

        begun = await api.preheat(images=[f"{registry.host}/lib/app:v1"])
        job = await api.ended(begun["id"])

        warm = {"supernode": "success"}
        assert states(job) == dict.fromkeys([image.digest, *image.layers], warm)
        assert (job["state"], job["error"]) == ("success", "")
        size = len(image.manifest) + len(LAYER) + len(SMALL)
        assert (job["content_count"], job["done_bytes"]) == (3, size)
        assert all((await api.held()).values())
        assert [registry.count("GET", path) for path in image.blob_paths] == [1, 1]


async def test_same_again_is_the_same_job_and_reads_nothing(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER)
        asked = {"images": [f"{registry.host}/lib/app@{image.digest}"]}
        first = await api.ended((await api.preheat(**asked))["id"])
        told = await api.ask("POST", "/api/v1/preheats", asked)
        second = await api.ended(first["id"])

        assert told.status == 200
        assert (second["id"], second["state"], second["run_count"]) == (1, "success", 2)
        assert registry.count("GET", image.blob_paths[0]) == 1


async def test_tag_that_has_moved_is_asked_for_anew_by_the_next_run(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        asked = {"images": [f"{registry.host}/lib/app:v1"], "cron": "0 3 * * *"}
        before = registry.add_image("lib/app", "v1", LAYER)
        first = await api.ended((await api.preheat(**asked))["id"])
        after = registry.add_image("lib/app", "v1", SMALL)
        second = await api.ended((await api.preheat(**asked))["id"])

        assert (first["id"], first["state"]) == (second["id"], second["state"]) == (1, "success")
        assert set(states(first)) == {before.digest, *before.layers}
        assert set(states(second)) == {after.digest, *after.layers}
        assert second["next_run"] > second["finished"]
        assert all((await api.held()).values())


async def test_file_is_warm_by_the_name_that_a_download_gives_it(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api:
        source.add("/file", FILE)
        url = f"{source.url('/file')}?signature=SECRET"

        begun = await api.preheat(urls=[url], filtered_query=["signature"])
        job = await api.ended(begun["id"])

        assert (job["state"], job["names"]) == ("success", [source.url("/file")])
        assert "SECRET" not in str(job)
    assert b"SECRET" not in (tmp_path / "supernode" / "preheats.db").read_bytes()


async def test_jobs_survive_a_restart(tmp_path: Path) -> None:
    async with FakeSource() as source:
        stalled = source.add("/stalled", FILE, stall_after_bytes=1000)
        source.add("/file", FILE)
        async with an_api(tmp_path) as api:
            done = await api.preheat(urls=[source.url("/file")])
            await api.ended(done["id"])
            running = await api.preheat(urls=[source.url("/stalled")])
            await stalled.has_stalled.wait()
        stalled.stall_after_bytes = -1
        stalled.released.set()
        async with an_api(tmp_path) as api:
            jobs = await api.all_ended()

    assert [(job["id"], job["state"]) for job in jobs] == [
        (done["id"], "success"),
        (running["id"], "success"),
    ]
    assert [job["run_count"] for job in jobs] == [1, 2]


async def test_cancelled_job_reads_no_further_and_can_be_run_again(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api:
        stalled = source.add("/file", FILE, stall_after_bytes=1000)
        job_id = (await api.preheat(urls=[source.url("/file")]))["id"]
        await stalled.has_stalled.wait()

        told = await api.ask("DELETE", f"/api/v1/preheats/{job_id}")
        again = await api.ask("DELETE", f"/api/v1/preheats/{job_id}")
        stalled.stall_after_bytes = -1
        stalled.released.set()
        await api.preheat(urls=[source.url("/file")])
        job = await api.ended(job_id)

        assert (told.status, told.body["state"]) == (200, "cancelled")
        assert again.body["state"] == "cancelled"
        assert job["state"] == "success"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "a preheat of nothing"),
        ({"images": ["a b"]}, "no name of an image"),
        ({"urls": ["nothing"]}, "URL 'nothing' cannot be used"),
        ({"images": ["a"], "target": "moon"}, "write supernode, racks"),
        ({"images": ["a"], "platforms": ["amd64"]}, "linux/amd64"),
        ({"images": ["a"], "priority": 10}, "0 to 9"),
        ({"images": ["a"], "rate": -1}, "cannot be negative"),
        ({"images": ["a"], "hours": "soon"}, "22:00-06:00"),
        ({"images": ["a"], "cron": "soon"}, "0 3"),
        ({"images": ["a", "b"], "digest": "sha256:" + "0" * 64}, "one content"),
        ({"images": ["a"] * 2000}, "1000 names"),
        ({"images": ["a"], "headers": ["x"]}, "Name: value"),
        ({"image": "a"}, "unknown field"),
        ({"images": 5}, "nothing was done"),
        (b"{", "nothing was done"),
    ],
)
async def test_what_cannot_be_is_said_and_starts_nothing(
    tmp_path: Path,
    asked: Any,  # noqa: ANN401  # what becomes JSON
    words: str,
) -> None:
    async with an_api(tmp_path) as api:
        told = await api.ask("POST", "/api/v1/preheats", asked)
        jobs = await api.all_ended()

    assert told.status == 400
    assert words in told.body["message"]
    assert jobs == []


async def test_image_that_does_not_exist_fails_its_job(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        job = await api.ended((await api.preheat(images=[f"{registry.host}/no/app:v1"]))["id"])

    assert job["state"] == "failure"
    assert "answered 404: there is nothing at this address" in job["error"]


async def test_platform_that_the_index_lacks_fails_its_job_and_the_others_can_be_had(
    tmp_path: Path,
) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        images = {
            "linux/amd64": registry.add_image("lib/app", "amd64", LAYER),
            "linux/arm64": registry.add_image("lib/app", "arm64", SMALL),
        }
        index = registry.add_index("lib/app", "v1", images)
        name = f"{registry.host}/lib/app:v1"
        asked: dict[str, Any] = {"images": [name], "platforms": ["linux/s390x"]}
        missing = await api.ended((await api.preheat(**asked))["id"])
        some = await api.preheat(images=[name], platforms=["linux/s390x", "linux/arm64"])
        ended = await api.ended(some["id"])
        there = await api.ended((await api.preheat(images=[name], platforms=["linux/arm64"]))["id"])

    for job in (missing, ended):
        assert (job["state"], job["contents"], job["content_done_count"]) == ("failure", [], 0)
        told = "has nothing for linux/s390x; it has linux/amd64, linux/arm64"
        assert f"/lib/app/manifests/{index.digest} {told}" in job["error"]
    assert there["state"] == "success"
    arm = images["linux/arm64"]
    assert set(states(there)) == {index.digest, arm.digest, *arm.layers}


async def test_registry_that_refuses_fails_its_job_and_the_job_can_be_run_again(
    tmp_path: Path,
) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        registry.add_image("lib/app", "v1", LAYER, accepted={"Basic YWxpY2U6c2VjcmV0"})
        name = f"{registry.host}/lib/app:v1"
        refused = await api.ended((await api.preheat(images=[name]))["id"])
        header = "Authorization: Basic YWxpY2U6c2VjcmV0"
        told = await api.ended((await api.preheat(images=[name], headers=[header]))["id"])

        assert refused["state"] == "failure"
        assert "answered 401" in refused["error"]
        assert "auth_file" in refused["error"]
        assert (told["id"], told["state"]) == (refused["id"], "success")
    database = (tmp_path / "supernode" / "preheats.db").read_bytes()
    assert b"YWxpY2U6c2VjcmV0" not in database


async def test_credentials_of_the_settings_are_used(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-token\n")
    async with FakeRegistry() as registry:
        known = RegistryOptions(name=registry.host, url=registry.url(""), auth_file=str(secret))
        registry.add_image("lib/app", "v1", LAYER, accepted={"Bearer a-token"})
        async with an_api(tmp_path, registries=(known,)) as api:
            job = await api.ended((await api.preheat(images=[f"{registry.host}/lib/app:v1"]))["id"])

    assert (job["state"], job["error"]) == ("success", "")


async def test_two_jobs_that_share_a_layer_read_it_once(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        one = registry.add_image("lib/one", "v1", LAYER, SMALL)
        other = registry.add_image("lib/other", "v1", LAYER)
        for name in ("one", "other"):
            await api.preheat(images=[f"{registry.host}/lib/{name}:v1"])
        jobs = await api.all_ended()

    assert [job["state"] for job in jobs] == ["success", "success"]
    counts = [registry.count("GET", image.blob_paths[0]) for image in (one, other)]
    assert sum(counts) == 1


async def test_full_cache_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    cache = CacheOptions(quota_bytes=200_000, reserve_bytes=0)
    async with FakeSource() as source, an_api(tmp_path, cache=cache) as api:
        source.add("/file", FILE)
        job = await api.ended((await api.preheat(urls=[source.url("/file")]))["id"])

    assert job["state"] == "failure"
    assert "free some space or raise the quota" in job["error"]


async def test_target_that_means_nobody_is_a_failure(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api:
        source.add("/file", FILE)
        asked = {"urls": [source.url("/file")], "target": "label:gpu"}
        job = await api.ended((await api.preheat(**asked))["id"])

    assert job["state"] == "failure"
    assert "label:gpu means no host that is here" in job["error"]
    assert source.requests == []


async def test_wrong_digest_is_a_failure(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api:
        source.add("/file", FILE)
        asked = {"urls": [source.url("/file")], "digest": "sha256:" + "0" * 64}
        job = await api.ended((await api.preheat(**asked))["id"])

        assert job["state"] == "failure"
        assert "as promised" in job["error"]
        assert await api.held() == {}


async def test_token_is_asked_for(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret\n")
    options = PreheatOptions(token_file=str(token))
    async with an_api(tmp_path, preheat=options) as api:
        statuses = {
            shown: (await api.ask("GET", "/api/v1/preheats", Authorization=shown)).status
            for shown in ("", "Bearer wrong", "Bearer a-secret", "Basic OmEtc2VjcmV0", "Basic !")
        }
        custom = await api.ask("GET", "/api/v1/preheats", X_Damselfly_Token="a-secret")
        document = await api.ask("GET", "/api/v1/openapi.json")

    assert statuses == {
        "": 401,
        "Bearer wrong": 401,
        "Bearer a-secret": 200,
        "Basic OmEtc2VjcmV0": 200,
        "Basic !": 401,
    }
    assert custom.status == 200
    assert document.body["openapi"] == "3.1.0"


async def test_unknown_job_is_not_found(tmp_path: Path) -> None:
    async with an_api(tmp_path) as api:
        told = [await api.ask("GET", f"/api/v1/preheats/{name}") for name in ("7", "x", "1e3")]

    assert [each.status for each in told] == [404, 404, 404]


async def test_what_nobody_waits_for_is_held_until_its_seeding_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SuperNode let go what was whole and wanted by no host, before it knew that it was whole.
    monkeypatch.setattr(supernode, "TICK_S", 0.0)
    async with FakeSource() as source, an_api(tmp_path) as api:
        source.add("/file", FILE)
        for _ in range(2):  # from the source, and from the cache
            job = await api.ended((await api.preheat(urls=[source.url("/file")]))["id"])
            assert job["state"] == "success"


async def test_job_is_told_while_it_runs(tmp_path: Path) -> None:
    async with FakeSource() as source, an_api(tmp_path) as api:
        content = source.add("/file", FILE, stall_after_bytes=290_000)
        job_id = (await api.preheat(urls=[source.url("/file")]))["id"]
        await content.has_stalled.wait()
        async with asyncio.timeout(10):
            while (job := await api.job(job_id))["done_bytes"] == 0:
                await asyncio.sleep(0.01)
        content.released.set()
        ended = await api.ended(job_id)

    assert (job["state"], job["size_bytes"]) == ("running", len(FILE))
    assert 0 < job["done_bytes"] < len(FILE)
    assert (ended["state"], ended["done_bytes"]) == ("success", len(FILE))


async def test_folder_is_warm_with_its_listing_and_its_files(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights").write_bytes(random_bytes(20 << 20, seed=4))
    for number in range(3):
        (folder / "sub" / f"{number}").write_bytes(random_bytes(100, seed=number))
    source = SourceOptions(folders=(str(folder),))
    async with an_api(tmp_path, source=source) as api:
        job = await api.ended((await api.preheat(urls=[f"file://{folder}/"]))["id"])
        missing = await api.ended((await api.preheat(urls=[f"file://{folder}/none/"]))["id"])

    assert (job["state"], job["error"]) == ("success", "")
    assert sorted(content["what"] for content in job["contents"]) == [*["file"] * 4, "listing"]
    assert job["done_bytes"] > 20 << 20
    assert missing["state"] == "failure"


async def test_credentials_of_a_job_are_gone_after_a_restart_and_the_job_says_so(
    tmp_path: Path,
) -> None:
    token = "Bearer of-harbor"
    async with FakeRegistry() as registry:
        image = registry.add_image("lib/app", "v1", LAYER, accepted={token})
        layer = registry.add(image.blob_paths[0], LAYER, accepted={token}, stall_after_bytes=1000)
        async with an_api(tmp_path) as api:
            asked: dict[str, Any] = {"headers": [f"Authorization: {token}"]}
            await api.preheat(images=[f"{registry.host}/lib/app:v1"], **asked)
            await layer.has_stalled.wait()
        layer.stall_after_bytes = -1
        layer.released.set()
        async with an_api(tmp_path) as api:
            (job,) = await api.all_ended()

    assert job["state"] == "failure"
    assert "is not kept over a restart: start it again" in job["error"]


@pytest.mark.slow
async def test_limit_of_a_job_holds_when_it_goes_on_where_another_was_refused(
    tmp_path: Path,
) -> None:
    async with (
        FakeSource() as source,
        an_api(tmp_path) as api,
        a_host(tmp_path, "ann", api.address) as ann,
    ):
        content = source.add("/f", LAYER, accepted={"good"}, is_stalled_at_head=True)
        url = source.url("/f")
        await api.sees("h-ann")
        refused = await api.preheat(urls=[url], headers=["Authorization: bad"])
        await content.has_stalled.wait()
        job = await api.preheat(
            urls=[url], headers=["Authorization: good"], target="hosts:h-ann", rate=len(LAYER)
        )
        while not ann.downloads.seen.running():
            await asyncio.sleep(0.01)

        since_s = now_s()
        content.release()
        assert (await api.ended(job["id"]))["state"] == "success"
        assert now_s() - since_s > 0.5
        assert (await api.ended(refused["id"]))["state"] == "failure"
