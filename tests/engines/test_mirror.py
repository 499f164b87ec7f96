"""Engines pull through daemons: what the registry is asked, and what happens when it fails."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.containerd import Containerd
from engines.containers import Containers
from engines.forms import digests
from engines.images import Blob, Image, Pusher, image, layer
from engines.registries import Registries, Registry, Requests
from engines.swarm import Daemon, Swarm, a_swarm, settings_of

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Give a registry of one's own, which a test may stop or break."""
    registry = Registry(tmp_path / "registry", tmp_path / "storage")
    yield registry
    registry.stop()


@pytest.fixture
def swarm(tmp_path: Path, registry: Registry) -> Iterator[Swarm]:
    with a_swarm(tmp_path / "swarm", settings_of(registry)) as swarm:
        yield swarm


@pytest.fixture
def push(registry: Registry) -> Iterator[Callable[[str, str, Image], None]]:
    pusher = Pusher(registry.url)
    yield lambda repository, tag, made: pusher.push(repository, [tag], made)
    pusher.close()


def blob_file(storage: Path, blob: Blob) -> Path:
    """Return where docker-registry keeps a blob."""
    value = blob.digest.partition(":")[2]
    return storage / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data"


def reads(requests: Requests) -> Counter[str]:
    """Return {digest: how often its bytes were asked for}."""
    found = requests.of("GET", "/blobs/sha256:")
    return Counter(each.path.partition("?")[0].rpartition("/")[2] for each in found)


async def test_hosts_with_different_engines_read_the_registry_once(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containerd: Callable[..., Containerd],
    containers: Callable[..., Containers],
) -> None:
    made = image(*(layer(size, f"once-{size}") for size in (9 * MIB, 2 * MIB, 300 * KIB, 10)))
    push("lib/once", "v1", made)
    daemons = [swarm.daemon(f"host-{number}") for number in range(4)]
    asked = len(registry.requests)
    first, second, third, fourth = containerd(), containerd(), containers(), containers()
    first.use(registry, daemons[0])
    second.use(registry, daemons[1])
    third.use(registry, daemons[2])
    fourth.use(registry, daemons[3])
    reference = f"{registry.host}/lib/once:v1"

    async with asyncio.TaskGroup() as tasks:
        pulls = [
            tasks.create_task(first.pull(reference)),
            tasks.create_task(second.cri_pull(reference)),
            tasks.create_task(third.podman_pull(reference)),
            tasks.create_task(fourth.skopeo_copy(reference, "out")),
        ]

    assert [pull.result().code for pull in pulls] == [0] * 4, [each.result().err for each in pulls]
    assert first.blobs() == second.blobs() == fourth.blobs_in("out") == digests(made)
    requests = Requests(registry.requests[asked:])
    assert reads(requests) == Counter(blob.digest for blob in made.blobs)
    sizes = sum(len(blob.data) for blob in made.blobs)
    assert requests.of("GET", "/blobs/").sent_bytes == sizes
    tags = [each for each in requests if each.path.partition("?")[0].endswith("/manifests/v1")]
    assert len(tags) <= len(daemons)


async def test_the_same_layer_in_two_repositories_is_read_once(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containers: Callable[..., Containers],
) -> None:
    shared = layer(3 * MIB, "shared by two")
    for repository in ("team-a/app", "team-b/app"):
        push(repository, "v1", image(shared, layer(KIB, repository)))
    here, there = swarm.daemon("here"), swarm.daemon("there")

    for daemon, repository in ((here, "team-a/app"), (here, "team-b/app"), (there, "team-b/app")):
        engine = containers()
        engine.use(registry, daemon)
        ended = await engine.skopeo_copy(f"{registry.host}/{repository}:v1", "out")
        assert ended.code == 0, ended.err

    assert reads(registry.requests)[shared.digest] == 1


async def test_a_pull_by_digest_asks_for_no_tag(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containerd: Callable[..., Containerd],
) -> None:
    made = image(layer(KIB, "by digest"))
    push("lib/pinned", "v1", made)
    engine, again = containerd(), containerd()
    daemon = swarm.daemon("host")
    asked = len(registry.requests)
    reference = f"{registry.host}/lib/pinned@{made.digest}"

    for each in (engine, again):
        each.use(registry, daemon)
        ended = await each.pull(reference)
        assert ended.code == 0, ended.err

    assert engine.blobs() == again.blobs() == digests(made)
    requests = Requests(registry.requests[asked:])
    assert len(requests.of("GET", "/manifests/sha256:")) == 1
    assert [each for each in requests if each.path.endswith("/v1")] == []


async def test_a_tag_that_moved_is_seen(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containerd: Callable[..., Containerd],
) -> None:
    daemon = swarm.daemon("host")
    engine = containerd()
    engine.use(registry, daemon)
    reference = f"{registry.host}/lib/moves:latest"
    pulled = []

    for version in (1, 2):
        made = image(layer(KIB, f"version {version}"))
        push("lib/moves", "latest", made)
        ended = await engine.pull(reference)
        assert ended.code == 0, ended.err
        pulled.append((await engine.images())[reference] == made.digest)

    assert pulled == [True, True]


async def test_with_its_registry_down_a_pinned_image_comes_from_the_swarm_and_a_tag_does_not(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containers: Callable[..., Containers],
) -> None:
    made = image(layer(MIB, "down-a"), layer(KIB, "down-b"))
    push("lib/down", "v1", made)
    here, there = swarm.daemon("here"), swarm.daemon("there")
    engine, other = containers(), containers()
    engine.use(registry, here)
    other.use(registry, there)
    pinned = f"{registry.host}/lib/down@{made.digest}"
    assert (await engine.skopeo_copy(pinned, "first")).code == 0

    registry.stop()
    again = await engine.skopeo_copy(pinned, "again")
    elsewhere = await other.skopeo_copy(pinned, "out")
    tagged = await engine.skopeo_copy(f"{registry.host}/lib/down:v1", "tagged")

    assert again.code == elsewhere.code == 0, again.err + elsewhere.err
    assert engine.blobs_in("again") == other.blobs_in("out") == digests(made)
    assert tagged.code != 0


async def test_containerd_pulls_from_the_registry_when_the_daemon_is_down(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containerd: Callable[..., Containerd],
) -> None:
    made = image(layer(MIB, "fallback"))
    push("lib/fallback", "v1", made)
    daemon = swarm.daemon("host")
    engine = containerd()
    engine.use(registry, daemon, falls_back=True)

    daemon.stop()
    ended = await engine.pull(f"{registry.host}/lib/fallback:v1")

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(made)


async def test_a_blob_with_wrong_bytes_is_never_whole_and_nothing_of_it_stays(
    registry: Registry,
    swarm: Swarm,
    push: Callable[[str, str, Image], None],
    containers: Callable[..., Containers],
    tmp_path: Path,
) -> None:
    made = image(layer(6 * MIB, "wrong"))
    push("lib/wrong", "v1", made)
    file = blob_file(tmp_path / "storage", made.layers[0])
    shutil.copy(file, tmp_path / "right")
    with file.open("r+b") as content:
        content.seek(5 * MIB)
        content.write(b"not what it was")
    engine = containers()
    engine.use(registry, swarm.daemon("host"))
    reference = f"{registry.host}/lib/wrong:v1"

    wrong = await engine.skopeo_copy(reference, "wrong")
    shutil.copy(tmp_path / "right", file)
    right = await engine.skopeo_copy(reference, "right")

    assert wrong.code != 0
    assert right.code == 0, right.err
    assert engine.blobs_in("right") == digests(made)


async def test_a_registry_with_a_certificate_of_an_own_authority(
    registries: Registries,
    pusher: Pusher,
    daemon: Daemon,
    containerd: Callable[..., Containerd],
) -> None:
    made = image(layer(MIB, "tls"))
    pusher.push("public/tls", ["v1"], made)
    engine = containerd()
    engine.use(registries.tls, daemon)

    ended = await engine.pull(f"{registries.tls.host}/public/tls:v1")

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(made)
