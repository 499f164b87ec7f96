"""Guards what Harbor's drivers meet: the fields they send, the words they read, their polling."""

import re
from pathlib import Path
from typing import Any

from damselfly.services.options import PreheatOptions
from faces.api.asking import OVER, Api, an_api
from fakes.registry import FakeRegistry
from fakes.source import random_bytes

LAYER = random_bytes(400_000, seed=1)
TOKEN = "Bearer of-harbor"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Harbor:
    """Does what Harbor's driver "dragonfly" 2.1.59 does, and nothing else."""

    def __init__(self, api: Api, **auth: str) -> None:
        self._api = api
        self._headers = {"Accept": "application/json", "Content-Type": "application/json", **auth}

    async def health(self) -> bool:
        told = await self._api.ask("GET", "/healthy", **self._headers)
        return 200 <= told.status < 300

    async def preheat(self, url: str, scope: str = "") -> int:
        args = {
            "type": "image",
            "url": url,
            "tag": "",
            "filtered_query_params": "",
            "headers": {"Authorization": TOKEN},
            "scope": scope,
            "concurrent_count": 0,
            "timeout": 0,
        }
        body = {"type": "preheat", "args": args, "scheduler_cluster_ids": None}
        told = await self._api.ask("POST", "/oapi/v1/jobs", body, **self._headers)
        assert 200 <= told.status < 300
        assert told.status != 208
        assert isinstance(told.body["id"], int)
        assert RFC_3339.fullmatch(told.body["created_at"])
        assert RFC_3339.fullmatch(told.body["updated_at"])
        return int(told.body["id"])

    async def state(self, job_id: int) -> tuple[str, Any]:
        """Return the word as Harbor has it; all that it does not know is a failure."""
        told = await self._api.ask("GET", f"/oapi/v1/jobs/{job_id}", **self._headers)
        assert told.status == 200
        words = {"PENDING": "RUNNING", "SUCCESS": "SUCCESS"}
        return words.get(told.body["state"], "FAIL"), told.body["result"]


async def test_harbor_preheats_a_private_image_with_its_own_token(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER, accepted={TOKEN})
        harbor = Harbor(api)
        assert await harbor.health()

        job_id = await harbor.preheat(registry.url(image.tag_path))
        seen = {(await harbor.state(job_id))[0]}
        job = await api.ended(job_id)
        word, result = await harbor.state(job_id)

        assert job["error"] == ""
        assert word == "SUCCESS"  # in the second in which it is done
        assert seen <= {"RUNNING", "SUCCESS"}
        (group,) = result["job_states"]
        (table,) = group["results"]
        assert len(table["success_tasks"]) == 2
        assert table["failure_tasks"] == []
        assert {*table["success_tasks"][0]} >= {"url", "hostname", "ip"}
        assert table["scheduler_cluster_id"] == 1
        assert await harbor.preheat(registry.url(image.tag_path)) == job_id
        await api.ended(job_id)
    database = tmp_path / "supernode" / "preheats.db"
    assert b"of-harbor" not in database.read_bytes()


async def test_harbor_is_told_why_it_failed(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        job_id = await Harbor(api).preheat(registry.url("/v2/no/app/manifests/v1"))
        await api.ended(job_id)
        word, result = await Harbor(api).state(job_id)

    assert word == "FAIL"
    assert "answered 404" in result["job_states"][0]["error"]


async def test_harbor_may_ask_for_all_hosts(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER, accepted={TOKEN})
        job_id = await Harbor(api).preheat(registry.url(image.tag_path), "all_peers")
        job = await api.ended(job_id)

    assert (job["target"], job["state"]) == ("share:100%", "failure")
    assert "means no host that is here" in job["error"]


async def test_each_way_in_which_harbor_shows_a_token_is_good(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    options = PreheatOptions(token_file=str(tmp_path / "token"))
    async with an_api(tmp_path, preheat=options) as api:
        statuses = [
            (await api.ask("GET", "/oapi/v1/jobs/1", **auth)).status
            for auth in (
                {},
                {"Authorization": "Basic YWRtaW46c2VjcmV0"},
                {"Authorization": "Bearer secret"},
                {"X_Damselfly_Token": "secret"},
            )
        ]

    assert statuses == [401, 404, 404, 404]


async def test_kraken_is_told_and_never_asked(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER)
        event = {
            "Id": "1",
            "TimeStamp": "2026-11-25T07:00:00.0Z",
            "Action": "push",
            "Target": {
                "MediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "Digest": image.digest,
                "Repository": "lib/app",
                "Url": registry.url(image.tag_path),
                "Tag": "v1",
            },
            "Request": None,
            "Actor": None,
        }
        health = await api.ask("GET", "/health")
        told = await api.ask("POST", "/registry/notifications", {"Events": [event]})
        (job,) = await api.all_ended()

    assert (health.status, told.status) == (200, 200)
    assert job["state"] == "success"


async def test_old_harbor_is_answered_in_its_words(tmp_path: Path) -> None:
    async with FakeRegistry() as registry, an_api(tmp_path) as api:
        image = registry.add_image("lib/app", "v1", LAYER)
        ping = await api.ask("GET", "/_ping")
        asked = {"type": "image", "url": registry.url(image.tag_path), "headers": {"A": "b"}}
        begun = await api.ask("POST", "/preheats", asked)
        wrong = await api.ask("POST", "/preheats", {"type": "moon"})
        job = await api.ended(int(begun.body["id"]))
        told = await api.ask("GET", f"/preheats/{begun.body['id']}")

    assert (ping.status, wrong.status) == (200, 400)
    assert begun.body["status"] in ("WAITING", "RUNNING")
    assert job["state"] in OVER
    assert (told.body["status"], told.body["id"]) == ("SUCCESS", begun.body["id"])
    assert RFC_3339.fullmatch(told.body["finishTime"])
