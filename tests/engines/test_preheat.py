"""What is pushed is there before it is pulled: a registry tells, real clients push and pull."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import pytest

from e2e.processes import run
from engines.containerd import Containerd
from engines.forms import digests
from engines.gate import Gate
from engines.images import Image, Pusher, image, layer
from engines.registries import Registries, Registry
from engines.swarm import Swarm, a_swarm, settings_of

pytestmark = pytest.mark.slow

MIB = 1 << 20
SECRET: Final = "secret-of-the-webhook"
SOON_S: Final = 20.0


class Site:
    """A registry that tells a SuperNode of each push, behind a gate."""

    def __init__(self, folder: Path) -> None:
        secret = folder / "webhook-secret"
        secret.write_text(SECRET)
        self.swarm = Swarm(
            folder / "swarm", f'[supernode.preheat]\nwebhook_secret_file = "{secret}"\n'
        )
        endpoint = {
            "name": "damselfly",
            "url": f"http://{self.swarm.supernode}/webhooks/distribution",
            "headers": {"Authorization": [f"Bearer {SECRET}"]},
            "timeout": "5s",
            "threshold": 5,
            "backoff": "1s",
        }
        self.registry = Registry(
            folder / "registry", folder / "storage", notifications={"endpoints": [endpoint]}
        )
        self.gate = Gate(self.registry.host)

    def ask(self, path: str) -> Any:  # noqa: ANN401  # JSON
        connection = HTTPConnection(self.swarm.supernode)
        connection.request("GET", path)
        value = json.loads(connection.getresponse().read())
        connection.close()
        return value

    def warm(self) -> set[str]:
        """Return the digests of what the SuperNode has whole."""
        tasks = self.ask("/api/v1/tasks")["tasks"]
        return {each["digest"] for each in tasks if each["is_sealed"]}

    def wait_warm(self, wanted: set[str]) -> None:
        deadline_s = time.monotonic() + SOON_S  # noqa: TID251  # how long it may take
        while not wanted <= self.warm():
            assert time.monotonic() < deadline_s, wanted - self.warm()  # noqa: TID251
            time.sleep(0.01)

    def stop(self) -> None:
        self.swarm.close()
        self.gate.stop()
        self.registry.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.stop()


def an_image(seed: str) -> Image:
    return image(*(layer(size * MIB, f"{seed} {size}") for size in (1, 3, 8)))


async def copied(source: str, destination: str) -> None:
    """Push an image as `skopeo copy` does: layer by layer, the manifest last."""
    flags = ("--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests")
    names = (f"docker://{source}", f"docker://{destination}")
    ended = await run("skopeo", "--insecure-policy", "copy", "-q", *flags, *names)
    assert ended.code == 0, ended.err


async def test_pushed_image_is_warm_layer_by_layer_and_pulled_without_its_registry(
    site: Site,
    registries: Registries,
    pusher: Pusher,
    containerd: Callable[..., Containerd],
) -> None:
    made = an_image("preheat")
    pusher.push("lib/preheat", ["v1"], made)
    blobs = {each.digest for each in made.blobs}
    push = asyncio.ensure_future(
        copied(f"{registries.open.host}/lib/preheat:v1", f"{site.gate.host}/lib/app:v1")
    )
    assert await asyncio.to_thread(site.gate.has_come.wait, SOON_S)

    # Each layer is here, and the registry has not got the manifest yet.
    await asyncio.to_thread(site.wait_warm, blobs)
    assert made.digest not in site.warm()
    reads = site.registry.requests.of("GET", "/blobs/sha256:", 200)
    assert len(reads) == len(blobs)

    site.gate.opened.set()
    await push
    await asyncio.to_thread(site.wait_warm, {made.digest, *blobs})
    jobs = site.ask("/api/v1/preheats")["preheats"]
    assert {job["state"] for job in jobs} <= {"success", "running"}
    assert len(site.registry.requests.of("GET", "/blobs/sha256:", 200)) == len(blobs)

    # The registry is gone, and the image comes whole, by digest.
    site.gate.stop()
    site.registry.stop()
    daemon = site.swarm.daemon("host")
    engine = containerd()
    engine.use(site.gate, daemon)
    ended = await engine.pull(f"{site.gate.host}/lib/app@{made.digest}")

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(made)


async def test_push_through_a_daemon_is_whole_and_warm_layer_by_layer(
    site: Site, registries: Registries, pusher: Pusher
) -> None:
    made = an_image("pushed")
    pusher.push("lib/pushed", ["v1"], made)
    daemon = site.swarm.daemon("host")
    # Not by its own events: this registry tells nobody.
    there = f"{daemon.proxy}/{registries.open.host.replace(':', '_')}/lib/through"

    await copied(f"{registries.open.host}/lib/pushed:v1", f"{there}:v1")

    await asyncio.to_thread(site.wait_warm, {made.digest, *(each.digest for each in made.blobs)})
    jobs = site.ask("/api/v1/preheats")["preheats"]
    pushed = {url.rpartition("/")[2] for job in jobs for url in job["names"]}
    assert pushed == {made.digest, *(each.digest for each in made.blobs)}
    told = registries.open.requests.of("PUT", "/v2/lib/through/manifests/v1", 201)
    assert len(told) == 1


async def test_push_without_the_secret_starts_nothing(site: Site, pusher: Pusher) -> None:
    made = an_image("forged")
    connection = HTTPConnection(site.swarm.supernode)
    body = json.dumps({"events": [{"id": "1", "action": "push", "target": {}}]})
    connection.request("POST", "/webhooks/distribution", body, {"Authorization": "Bearer wrong"})
    status = connection.getresponse().status
    connection.close()
    pusher.push("lib/forged", ["v1"], made)  # to a registry that tells nobody

    assert status == 401
    assert site.ask("/api/v1/preheats")["preheats"] == []


async def test_harbor_shaped_job_of_a_private_image_with_its_token(
    tmp_path: Path, registries: Registries, pusher: Pusher
) -> None:
    made = an_image("harbor")
    pusher.push("private/harbor", ["v1"], made)
    token = registries.tokens.token("alice", ["repository:private/harbor:pull"])
    with a_swarm(tmp_path / "swarm", settings_of(registries.bearer)) as swarm:
        args = {
            "type": "image",
            "url": f"{registries.bearer.url}/v2/private/harbor/manifests/v1",
            "tag": "",
            "filtered_query_params": "",
            "headers": {"Authorization": f"Bearer {token}"},
            "scope": "",
            "concurrent_count": 0,
            "timeout": 0,
        }
        job = {"type": "preheat", "args": args, "scheduler_cluster_ids": None}
        connection = HTTPConnection(swarm.supernode)
        connection.request("POST", "/oapi/v1/jobs", json.dumps(job))
        told = json.loads(connection.getresponse().read())
        while told["state"] == "PENDING":
            await asyncio.sleep(0.05)
            connection.request("GET", f"/oapi/v1/jobs/{told['id']}")
            told = json.loads(connection.getresponse().read())
        connection.close()

        assert told["state"] == "SUCCESS", told
        (group,) = told["result"]["job_states"]
        assert len(group["results"][0]["success_tasks"]) == 1 + len(made.blobs)
        assert token not in swarm.supernode_log
    files = [path for path in (tmp_path / "swarm").rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes()]
