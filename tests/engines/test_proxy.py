"""dockerd pulls by the HTTP proxy: TLS opened by our CA, blobs through the swarm."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from damselfly.services.ca_files import certificate_path
from engines.docker import Docker
from engines.images import Pusher, image, layer
from engines.registries import Registries, Requests
from engines.swarm import Daemon, a_swarm

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20

# Docker takes no proxy to loopback, so the registry gets a name that only the rules know.
SETTINGS = """
[supernode.source]
ca_file = "{ca}"

[daemon.source]
ca_file = "{ca}"

[[daemon.proxy.rules]]
action = "redirect"
host = "registry.test"
redirect_to = "{url}"

[[daemon.proxy.rules]]
action = "p2p"
host = "127.0.0.1"
path = "/v2/**/blobs/sha256:*"
"""


def by_proxy(daemon: Daemon) -> dict[str, str]:
    """Return the environment of a dockerd that pulls by a daemon and trusts its CA."""
    trusted = str(certificate_path(str(daemon.folder)))
    return {"HTTPS_PROXY": daemon.url, "NO_PROXY": "", "SSL_CERT_FILE": trusted}


async def test_docker_pulls_by_the_proxy_and_the_registry_is_read_once(
    tmp_path: Path,
    registries: Registries,
    pusher: Pusher,
    docker: Callable[..., Docker],
) -> None:
    registry = registries.tls
    made = image(*(layer(size, f"by-proxy-{size}") for size in (7 * MIB, 300 * KIB, 10)))
    pusher.push("lib/by-proxy", ["v1"], made)
    settings = SETTINGS.format(ca=registry.ca_file, url=registry.url)
    asked = len(registry.requests)

    with a_swarm(tmp_path / "swarm", settings) as swarm:
        daemons = [swarm.daemon(name) for name in ("ann", "bob")]
        dockers = [docker(env=by_proxy(daemon)) for daemon in daemons]
        async with asyncio.TaskGroup() as tasks:
            reference = "registry.test/lib/by-proxy:v1"
            pulls = [tasks.create_task(each.pull(reference)) for each in dockers]

    assert [pull.result().err for pull in pulls] == ["", ""]
    assert dockers[0].digests(reference) == dockers[1].digests(reference) == [made.digest]
    reads = Requests(registry.requests[asked:]).of("GET", "/blobs/")
    names = sorted(read.path.rpartition("/")[2] for read in reads)
    assert names == sorted(blob.digest for blob in made.blobs)
