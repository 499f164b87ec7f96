"""Guards webhooks: what was pushed becomes warm once, and nobody else can start anything."""

import asyncio
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest

from damselfly.clock import wall_s
from damselfly.services.options import PreheatOptions
from faces.api.asking import an_api
from fakes.registry import FakeImage, FakeRegistry
from fakes.source import random_bytes

LAYER = random_bytes(400_000, seed=1)
SMALL = random_bytes(100, seed=2)
SECRET = "a-webhook-secret"


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def an_event(registry: FakeRegistry, path: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    digest = path.rpartition("/")[2]
    return {
        "id": f"event of {digest}",
        "timestamp": now(),
        "action": "push",
        "target": {"digest": digest, "url": registry.url(path), **more},
    }


def events_of(registry: FakeRegistry, image: FakeImage) -> list[dict[str, Any]]:
    """Return what docker-registry tells of a push: each layer, then the manifest."""
    layers = [an_event(registry, path) for path in image.blob_paths]
    media_type = "application/vnd.oci.image.manifest.v1+json"
    return [*layers, an_event(registry, image.manifest_path, mediaType=media_type, tag="v1")]


async def test_layer_is_warm_before_its_manifest_is_there(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER, SMALL)
        *layers, manifest = events_of(registry, image)
        for event in layers:
            told = await api.ask("POST", "/webhooks/distribution", {"events": [event]})
            assert (told.status, told.body["accepted"]) == (200, 1)
        await api.all_ended()
        warm_before = await api.held()
        await api.ask("POST", "/webhooks/distribution", {"events": [manifest]})
        *of_layers, of_image = await api.all_ended()

        assert set(warm_before) == {registry.url(path) for path in image.blob_paths}
        assert [job["state"] for job in of_layers] == ["success", "success"]
        assert (of_image["state"], of_image["content_count"]) == ("success", 3)
        assert [registry.count("GET", path) for path in image.blob_paths] == [1, 1]


async def test_replayed_event_does_nothing_also_after_a_restart(tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        image = registry.add_image("lib/app", "v1", LAYER)
        body = {"events": events_of(registry, image)}
        async with an_api(tmp_path) as api:
            first = await api.ask("POST", "/webhooks/distribution", body)
            again = await api.ask("POST", "/webhooks/distribution", body)
            jobs = await api.all_ended()
        async with an_api(tmp_path) as api:
            later = await api.ask("POST", "/webhooks/distribution", body)
            jobs_later = await api.all_ended()

    nothing = {"accepted": 0, "repeated": 2, "outdated": 0, "ignored": []}
    assert first.body["accepted"] == 2
    assert (again.body, later.body) == (nothing, nothing)
    assert [job["run_count"] for job in (*jobs, *jobs_later)] == [1, 1, 1, 1]


async def test_old_event_does_nothing(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER)
        old = {**events_of(registry, image)[0], "timestamp": "2020-01-01T00:00:00Z"}
        told = await api.ask("POST", "/webhooks/distribution", {"events": [old]})

        assert (told.body["accepted"], told.body["outdated"]) == (0, 1)
        assert await api.all_ended() == []


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "", 401),
        ({"Authorization": "wrong"}, "", 401),
        ({"Authorization": SECRET}, "", 200),
        ({"Authorization": f"Bearer {SECRET}"}, "", 200),
        ({"X_Hub_Signature_256": "sha256=" + "0" * 64}, "", 401),
        ({}, f"?secret={SECRET}", 401),
    ],
)
async def test_forged_event_does_nothing(
    tmp_path: Path, headers: dict[str, str], query: str, status: int
) -> None:
    async with FakeRegistry() as registry, a_guarded_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER)
        body = {"events": events_of(registry, image)}
        told = await api.ask("POST", f"/webhooks/distribution{query}", body, **headers)
        jobs = await api.all_ended()

    assert told.status == status
    assert len(jobs) == (2 if status == 200 else 0)
    assert SECRET not in str(told.body)


def a_guarded_api(folder: Path) -> Any:  # noqa: ANN401  # a context
    (folder / "secret").write_text(SECRET)
    return an_api(folder, preheat=PreheatOptions(webhook_secret_file=str(folder / "secret")))


async def test_body_may_be_signed_and_its_signature_is_of_no_other(tmp_path: Path) -> None:
    body = json.dumps({"images": ["127.0.0.1:1/a:b"], "id": "1"}).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    async with a_guarded_api(tmp_path) as api:
        right = await api.ask("POST", "/webhooks/generic", body, X_Hub_Signature_256=signature)
        wrong = await api.ask(
            "POST", "/webhooks/generic", body + b" ", X_Hub_Signature_256=signature
        )

    assert (right.status, wrong.status) == (200, 401)


@pytest.mark.parametrize("sender", ["quay", "dockerhub"])
async def test_who_can_send_no_header_has_the_secret_in_its_url(
    tmp_path: Path, sender: str
) -> None:
    body = {
        "docker_url": "127.0.0.1:1/a",
        "updated_tags": ["b"],
        "push_data": {"tag": "b", "pushed_at": wall_s()},
        "repository": {"repo_name": "a/b"},
    }
    async with a_guarded_api(tmp_path) as api:
        if sender == "dockerhub":
            del body["docker_url"]
        forged = await api.ask("POST", f"/webhooks/{sender}?secret=x", body)
        told = await api.ask("POST", f"/webhooks/{sender}?secret={SECRET}", body)

    assert (forged.status, told.status) == (401, 200)


async def test_harbor_names_an_image_by_digest(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER)
        resource = {"digest": image.digest, "tag": "v1"}
        body = {
            "type": "PUSH_ARTIFACT",
            "occur_at": wall_s(),
            "event_data": {
                "resources": [{**resource, "resource_url": f"{registry.host}/lib/app:v1"}]
            },
        }
        told = [await api.ask("POST", "/webhooks/harbor", body) for _ in range(2)]
        (job,) = await api.all_ended()

    assert [each.body["accepted"] for each in told] == [1, 0]
    assert (job["state"], job["names"]) == ("success", [f"{registry.host}/lib/app@{image.digest}"])


async def test_unknown_event_is_answered_and_starts_nothing(tmp_path: Path) -> None:
    async with an_api(tmp_path) as api:
        told = await api.ask("POST", "/webhooks/harbor", {"type": "QUOTA_EXCEED"})
        none = await api.ask("POST", "/webhooks/nobody", {})

        assert (told.status, told.body["ignored"]) == (200, ["QUOTA_EXCEED"])
        assert none.status == 404
        assert await api.all_ended() == []


async def test_webhook_of_100_mb_and_one_that_is_no_json_are_refused(tmp_path: Path) -> None:
    async with an_api(tmp_path) as api:
        long = await api.ask("POST", "/webhooks/generic", bytes(100 << 20))
        odd = await api.ask("POST", "/webhooks/generic", b'{"images": [')

        assert (long.status, odd.status) == (413, 400)
        assert long.body["message"] == "the body is longer than 1048576 bytes; nothing was done"
        assert odd.body["message"].endswith("nothing was done")
        assert await api.all_ended() == []


async def test_many_events_at_once_are_all_taken_in(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        images = [
            registry.add_image("lib/app", f"v{number}", random_bytes(50, seed=number))
            for number in range(100)
        ]

        async def send(image: FakeImage) -> int:
            event = events_of(registry, image)[0]
            told = await api.ask("POST", "/webhooks/distribution", {"events": [event]})
            return int(told.body["accepted"])

        async with asyncio.TaskGroup() as tasks:
            sent = [tasks.create_task(send(image)) for image in images]
        jobs = await api.all_ended()

    assert sum(each.result() for each in sent) == 100
    assert [job["state"] for job in jobs] == ["success"] * 100
