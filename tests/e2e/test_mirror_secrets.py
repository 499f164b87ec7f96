"""The credentials of a pull are in no log, file, number or error of any process."""

import base64

import aiohttp
import pytest

from e2e.processes import Running, Site
from fakes.registry import FakeRegistry
from fakes.source import random_bytes

pytestmark = pytest.mark.slow

TOKEN = "hunter2-token-of-ann"
BASIC = base64.b64encode(b"ann:hunter2-password").decode()
STOLEN = "hunter2-stolen"
FORMS = [
    b"hunter2",
    BASIC.encode(),
    base64.b64encode(TOKEN.encode()),
    TOKEN.encode().hex().encode(),
]
LAYER = random_bytes(3_000_000, seed=11)


async def pull(daemon: Running, registry: FakeRegistry, path: str, authorization: str) -> int:
    url = f"http://{daemon.proxy}{path}?ns={registry.host}"
    headers = {"Authorization": authorization}
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as response:
        body = await response.read()
    assert not [form for form in FORMS if form in body]
    return response.status


async def test_credentials_of_a_pull_are_shown_and_kept_nowhere(site: Site) -> None:
    async with FakeRegistry() as registry:
        accepted = {f"Bearer {TOKEN}", f"Basic {BASIC}"}
        image = registry.add_image("lib/app", "v1", LAYER, accepted=accepted)
        debug = ("--log-level", "debug")
        supernode = await site.supernode(*debug)
        daemons = [await site.daemon(name, supernode.address, *debug) for name in ("a", "b")]
        for path in (image.tag_path, image.manifest_path, *image.blob_paths):
            for daemon in daemons:
                assert await pull(daemon, registry, path, f"Bearer {STOLEN}") == 401
                assert await pull(daemon, registry, path, f"Bearer {TOKEN}") == 200
                assert await pull(daemon, registry, path, f"Basic {BASIC}") == 200
        numbers = b""
        async with aiohttp.ClientSession() as client:
            for address in (supernode.address, *(daemon.address for daemon in daemons)):
                for path in ("/metrics", "/api/v1/tasks", "/api/v1/hosts"):
                    async with client.get(f"http://{address}{path}") as response:
                        assert response.status == 200
                        numbers += await response.read()

    files = [each for each in site.folder.rglob("*") if each.is_file()]
    assert any(b"lib/app" in each.read_bytes() for each in files)  # the pulls are in there ...
    assert numbers
    assert not [form for form in FORMS if form in numbers]
    assert not [each for each in files if any(form in each.read_bytes() for form in FORMS)]
