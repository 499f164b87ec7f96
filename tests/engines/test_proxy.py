"""Engines pull by the HTTP proxy: TLS opened by our CA, or none; blobs through the swarm."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from damselfly.services.ca_files import certificate_path
from engines.containers import Containers
from engines.docker import Docker
from engines.forms import digests
from engines.images import Pusher, image, layer
from engines.registries import Registries, Registry, Request, Requests
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
    """Return the environment of an engine that pulls by a daemon and trusts its CA."""
    trusted = str(certificate_path(str(daemon.folder)))
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), daemon.url)
    return {**proxies, "NO_PROXY": "", "SSL_CERT_FILE": trusted}


def settings_for(registry: Registry) -> str:
    return SETTINGS.format(ca=registry.ca_file or "", url=registry.url)


def digests_read(requests: list[Request]) -> list[str]:
    """Return the digests of which a registry gave the bytes, each as often as it did."""
    return sorted(each.path.rpartition("/")[2] for each in Requests(requests).of("GET", "/blobs/"))


async def test_docker_pulls_by_the_proxy_and_the_registry_is_read_once(
    tmp_path: Path,
    registries: Registries,
    pusher: Pusher,
    docker: Callable[..., Docker],
) -> None:
    registry = registries.tls
    made = image(*(layer(size, f"by-proxy-{size}") for size in (7 * MIB, 300 * KIB, 10)))
    pusher.push("lib/by-proxy", ["v1"], made)
    asked = len(registry.requests)

    with a_swarm(tmp_path / "swarm", settings_for(registry)) as swarm:
        daemons = [swarm.daemon(name) for name in ("ann", "bob")]
        dockers = [docker(env=by_proxy(daemon)) for daemon in daemons]
        async with asyncio.TaskGroup() as tasks:
            reference = "registry.test/lib/by-proxy:v1"
            pulls = [tasks.create_task(each.pull(reference)) for each in dockers]

    assert [pull.result().err for pull in pulls] == ["", ""]
    assert dockers[0].digests(reference) == dockers[1].digests(reference) == [made.digest]
    assert digests_read(registry.requests[asked:]) == sorted(each.digest for each in made.blobs)


async def test_podman_and_skopeo_pull_by_https(
    tmp_path: Path,
    registries: Registries,
    pusher: Pusher,
    containers: Callable[..., Containers],
) -> None:
    registry = registries.tls
    made = image(layer(3 * MIB, "podman by proxy"), layer(KIB, "podman by proxy, small"))
    pusher.push("lib/podman", ["v1"], made)
    asked = len(registry.requests)

    with a_swarm(tmp_path / "swarm", settings_for(registry)) as swarm:
        engine = containers(env=by_proxy(swarm.daemon("host")))
        pulled = await engine.podman_pull("registry.test/lib/podman:v1")
        copied = await engine.skopeo_copy("registry.test/lib/podman:v1", "out")

    assert (pulled.code, copied.code) == (0, 0), pulled.err + copied.err
    assert await engine.podman_digest("registry.test/lib/podman:v1") == made.digest
    assert engine.blobs_in("out") == digests(made)
    assert digests_read(registry.requests[asked:]) == sorted(each.digest for each in made.blobs)


async def test_engine_that_does_not_trust_the_ca_pulls_nothing(
    tmp_path: Path,
    registries: Registries,
    pusher: Pusher,
    containers: Callable[..., Containers],
) -> None:
    pusher.push("lib/untrusting", ["v1"], image(layer(KIB, "untrusting")))

    with a_swarm(tmp_path / "swarm", settings_for(registries.tls)) as swarm:
        env = {**by_proxy(swarm.daemon("host")), "SSL_CERT_FILE": str(registries.ca_file)}
        ended = await containers(env=env).skopeo_copy("registry.test/lib/untrusting:v1", "out")

    assert ended.code != 0
    assert "certificate" in ended.err


async def test_registry_without_tls_is_pulled_from_in_absolute_form(
    tmp_path: Path,
    registries: Registries,
    pusher: Pusher,
    containers: Callable[..., Containers],
) -> None:
    registry = registries.open
    made = image(layer(MIB, "absolute form"))
    pusher.push("lib/absolute", ["v1"], made)
    asked = len(registry.requests)

    with a_swarm(tmp_path / "swarm", settings_for(registry)) as swarm:
        copied = []
        for name in ("ann", "bob"):
            engine = containers(env=by_proxy(swarm.daemon(name)))
            flags = ["--src-tls-verify=false"]
            ended = await engine.skopeo_copy("registry.test/lib/absolute:v1", "out", flags=flags)
            assert ended.code == 0, ended.err
            copied.append(engine.blobs_in("out"))

    assert copied == [digests(made)] * 2
    assert digests_read(registry.requests[asked:]) == sorted(each.digest for each in made.blobs)
