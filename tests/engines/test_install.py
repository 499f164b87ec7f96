"""What `damselfly install` writes, given to real engines: through the daemon, and without it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from damselfly.services.engine_setup.plans import Engine, Registry, Wish
from damselfly.services.engine_setup.setup import EngineSetup
from e2e.processes import run
from engines import registries
from engines.containerd import Containerd
from engines.containers import Containers
from engines.docker import Docker
from engines.forms import digests
from engines.images import Image, Pusher, image, layer
from engines.swarm import Daemon, Swarm, a_swarm, settings_of

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20
ENGINES = {"containerd", "containers", "docker", "skopeo"}  # as they call themselves


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[registries.Registry]:
    registry = registries.Registry(tmp_path / "registry", tmp_path / "storage")
    yield registry
    registry.stop()


@pytest.fixture
def swarm(tmp_path: Path, registry: registries.Registry) -> Iterator[Swarm]:
    with a_swarm(tmp_path / "swarm", settings_of(registry)) as swarm:
        yield swarm


@pytest.fixture
def pushed(registry: registries.Registry) -> dict[str, Image]:
    """Give images by repository; they lie in the registry."""
    made = {name: image(layer(2 * MIB, name), layer(KIB, name)) for name in ("lib/one", "lib/two")}
    pusher = Pusher(registry.url)
    for repository, each in made.items():
        pusher.push(repository, ["v1"], each)
    pusher.close()
    return made


def installed(engine: Engine, root: Path, daemon: Daemon, *names: str) -> Path:
    """Install into a folder, and return it."""
    named = tuple(Registry.parse(name) for name in names)
    root.mkdir(exist_ok=True)
    EngineSetup(str(root)).install(engine, Wish(proxy=daemon.proxy, registries=named))
    return root


def agents(registry: registries.Registry, repository: str) -> set[str]:
    """Return the programs that asked the registry for blobs of a repository: ours as `us`."""
    asked = registry.requests.of("GET", f"/{repository}/blobs/")
    names = {each.agent.partition("/")[0] for each in asked}
    return {name if name in ENGINES else "us" for name in names}


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "default"])
async def test_containerd_pulls_through_the_daemon_and_without_it_when_it_is_down(
    registry: registries.Registry,
    swarm: Swarm,
    pushed: dict[str, Image],
    containerd: Callable[..., Containerd],
    tmp_path: Path,
    *,
    is_named: bool,
) -> None:
    daemon, engine = swarm.daemon("host"), containerd()
    root = installed(
        Engine.CONTAINERD, tmp_path / "root", daemon, *([registry.url] if is_named else [])
    )
    shutil.copytree(root / "etc/containerd/certs.d", engine.hosts_folder)

    first = await engine.pull(f"{registry.host}/lib/one:v1")
    daemon.stop()
    second = await engine.cri_pull(f"{registry.host}/lib/two:v1")

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert engine.blobs() == digests(pushed["lib/one"]) | digests(pushed["lib/two"])
    assert agents(registry, "lib/one") == {"us"}
    assert agents(registry, "lib/two") == {"containerd"}


@pytest.mark.parametrize("before", ["none", "default", "hand-written"])
async def test_containerd_reads_the_configuration(
    before: str, swarm: Swarm, tmp_path: Path
) -> None:
    config = tmp_path / "root/etc/containerd/config.toml"
    config.parent.mkdir(parents=True)
    if before == "default":
        config.write_text((await run("containerd", "config", "default")).out)
    elif before == "hand-written":
        config.write_text('version = 2\n[plugins]\n  [plugins."io.containerd.grpc.v1.cri"]\n')
    installed(Engine.CONTAINERD, tmp_path / "root", swarm.daemon("host"))

    dumped = await run("containerd", "--config", str(config), "config", "dump")

    assert dumped.code == 0, dumped.err
    # containerd 2 writes other quotes than 1.6.
    assert 'config_path = "/etc/containerd/certs.d"' in dumped.out.replace("'", '"')


async def test_podman_and_skopeo_pull_through_the_daemon_and_without_it_when_it_is_down(
    registry: registries.Registry,
    swarm: Swarm,
    pushed: dict[str, Image],
    containers: Callable[..., Containers],
    tmp_path: Path,
) -> None:
    daemon, engine = swarm.daemon("host"), containers()
    root = installed(Engine.PODMAN, tmp_path / "root", daemon, registry.url)
    ours = root / "etc/containers/registries.conf.d/damselfly.conf"
    shutil.copy(ours, engine.registries_file)

    first = await engine.podman_pull(f"{registry.host}/lib/one:v1")
    daemon.stop()
    second = await engine.skopeo_copy(f"{registry.host}/lib/two:v1", "out")

    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert agents(registry, "lib/one") == {"us"}
    assert agents(registry, "lib/two") == {"skopeo"}
    assert engine.blobs_in("out") == digests(pushed["lib/two"])


async def test_docker_takes_the_mirror(
    registry: registries.Registry,
    swarm: Swarm,
    pushed: dict[str, Image],
    docker: Callable[..., Docker],
    tmp_path: Path,
) -> None:
    root = installed(Engine.DOCKER, tmp_path / "root", swarm.daemon("host"))
    (mirror,) = json.loads((root / "etc/docker/daemon.json").read_text())["registry-mirrors"]
    engine = docker(mirror=mirror)

    ended = await engine.pull("lib/one:v1")  # a name of Docker Hub, which here is the registry

    assert ended.code == 0, ended.err
    assert engine.digests("lib/one:v1") == [pushed["lib/one"].digest]
    assert agents(registry, "lib/one") == {"us"}
