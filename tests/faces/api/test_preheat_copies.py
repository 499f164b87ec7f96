"""Guards that a preheat takes what hosts have whole from there, and believes none of them."""

import shutil
from pathlib import Path
from typing import Any

from damselfly.services.hosting.peer_host import PeerHost
from damselfly.wire.local_messages import DownloadRequest
from faces.api.asking import Api, an_api, states
from fakes.registry import FakeImage, FakeRegistry
from fakes.source import random_bytes
from services.hosts import a_host

LAYER = random_bytes(48 << 20, seed=1)  # its blocks are larger than the smallest that there are
TOKEN = "Bearer of-alice"


async def pull(host: PeerHost, registry: FakeRegistry, image: FakeImage) -> bytes:
    (digest,) = image.layers
    url = registry.url(image.blob_paths[0])
    request = DownloadRequest(url=url, digest=digest, headers=(f"Authorization: {TOKEN}",))
    async with host.downloads.read(request) as content:
        return await content.read_all(bytes_max=len(LAYER))


async def preheated(api: Api, registry: FakeRegistry, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    asked = {"images": [f"{registry.host}/lib/app:v1"], **more}
    return await api.ended((await api.preheat(**asked))["id"])


async def a_lost_cache(folder: Path, registry: FakeRegistry) -> FakeImage:
    """Let a host have a layer whose SuperNode then loses its cache."""
    image = registry.add_image("lib/app", "v1", LAYER, accepted={TOKEN})
    async with an_api(folder) as api, a_host(folder, "ann", api.address) as ann:
        assert await pull(ann, registry, image) == LAYER
    shutil.rmtree(folder / "supernode")
    return image


async def test_what_a_host_has_is_taken_there_and_not_from_the_source(tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        image = await a_lost_cache(tmp_path, registry)
        async with an_api(tmp_path) as api, a_host(tmp_path, "ann", api.address) as ann:
            await api.sees("h-ann")
            headers = [f"Authorization: {TOKEN}"]
            job = await preheated(api, registry, headers=headers, target="hosts:h-ann")

            warm = {"supernode": "success", "h-ann": "success"}
            assert (job["error"], states(job)) == ("", dict.fromkeys(states(job), warm))
            assert registry.count("GET", image.blob_paths[0]) == 1  # of the pull before
            assert await pull(ann, registry, image) == LAYER


async def test_who_may_not_have_it_does_not_get_it_from_a_host(tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        image = await a_lost_cache(tmp_path, registry)
        async with an_api(tmp_path) as api, a_host(tmp_path, "ann", api.address):
            await api.sees("h-ann")
            url = registry.url(image.blob_paths[0])
            (digest,) = image.layers
            registry.add(image.tag_path, image.manifest, headers=told(image))
            registry.add(image.manifest_path, image.manifest, headers=told(image))
            job = await preheated(api, registry)

            assert job["state"] == "failure"
            assert "answered 401" in job["error"]
            assert (await api.held()).get(url) is None
            assert states(job)[digest] == {"supernode": "failure"}


def told(image: FakeImage) -> dict[str, str]:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    return {"Content-Type": media_type, "Docker-Content-Digest": image.digest}


async def test_host_that_gives_something_else_is_not_believed(tmp_path: Path) -> None:
    async with FakeRegistry() as registry:
        image = await a_lost_cache(tmp_path, registry)
        (content,) = (tmp_path / "ann").rglob("content")
        data = bytearray(content.read_bytes())
        data[500_000] ^= 1
        content.write_bytes(data)
        async with an_api(tmp_path) as api, a_host(tmp_path, "ann", api.address):
            await api.sees("h-ann")
            job = await preheated(api, registry, headers=[f"Authorization: {TOKEN}"])

            assert (job["state"], job["error"]) == ("success", "")
            assert registry.count("GET", image.blob_paths[0]) == 2
    kept = {file.read_bytes() for file in (tmp_path / "supernode").rglob("content")}
    assert kept == {LAYER, image.manifest}
