"""Every form of content that registries hold, by each engine that can take it, both ways."""

from collections.abc import Callable

import pytest

from engines.containerd import Containerd
from engines.containers import Containers
from engines.docker import Docker
from engines.forms import ARTIFACTS, FORMS, IMAGES, digests, repository_of
from engines.images import CONFIG, Blob, Image, Pusher, artifact, layer
from engines.registries import Registries
from engines.swarm import Daemon

pytestmark = pytest.mark.slow

LARGE_BYTES = 500_000_000


@pytest.fixture(scope="module")
def forms(pusher: Pusher) -> dict[str, Image]:
    made = {form: make() for form, make in FORMS.items()}
    for form, each in made.items():
        pusher.push(repository_of(form), ["v1"], each)
    return made


@pytest.fixture(params=["direct", "mirror"])
def mirror(request: pytest.FixtureRequest, daemon: Daemon) -> Daemon | None:
    return daemon if request.param == "mirror" else None


@pytest.mark.parametrize("form", FORMS)
async def test_skopeo_copies(
    registries: Registries,
    forms: dict[str, Image],
    containers: Callable[..., Containers],
    form: str,
    mirror: Daemon | None,
) -> None:
    engine = containers()
    engine.use(registries.open, mirror)

    ended = await engine.skopeo_copy(f"{registries.open.host}/{repository_of(form)}:v1", "out")

    assert ended.code == 0, ended.err
    assert engine.blobs_in("out") == digests(forms[form])


@pytest.mark.parametrize("form", IMAGES)
async def test_containerd_pulls(
    registries: Registries,
    forms: dict[str, Image],
    containerd: Callable[..., Containerd],
    form: str,
    mirror: Daemon | None,
) -> None:
    engine = containerd()
    engine.use(registries.open, mirror)
    reference = f"{registries.open.host}/{repository_of(form)}:v1"

    ended = await engine.pull(reference, flags=["--all-platforms"])

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(forms[form])


@pytest.mark.parametrize("form", [form for form in ARTIFACTS if form != "0-byte layer"])
async def test_containerd_fetches(
    registries: Registries,
    forms: dict[str, Image],
    containerd: Callable[..., Containerd],
    form: str,
    mirror: Daemon | None,
) -> None:
    engine = containerd()
    engine.use(registries.open, mirror)

    ended = await engine.fetch(f"{registries.open.host}/{repository_of(form)}:v1")

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(forms[form])


@pytest.mark.parametrize("form", ["gzip and plain", "docker", "multi-platform"])
async def test_docker_pulls_straight(
    registries: Registries, forms: dict[str, Image], docker: Callable[..., Docker], form: str
) -> None:
    engine = docker()
    reference = f"{registries.open.host}/{repository_of(form)}:v1"

    ended = await engine.pull(reference)

    assert ended.code == 0, ended.err
    assert engine.digests(reference) == [forms[form].digest]


@pytest.mark.parametrize("form", ["gzip and plain", "docker", "multi-platform"])
async def test_docker_pulls_names_of_its_hub_by_the_mirror(
    forms: dict[str, Image], docker: Callable[..., Docker], daemon: Daemon, form: str
) -> None:
    engine = docker(mirror=daemon.url)

    ended = await engine.pull(f"{repository_of(form)}:v1")

    assert ended.code == 0, ended.err
    assert engine.digests(f"{repository_of(form)}:v1") == [forms[form].digest]


@pytest.mark.parametrize("form", ["gzip and plain", "zstd", "multi-platform"])
async def test_podman_pulls(
    registries: Registries,
    forms: dict[str, Image],
    containers: Callable[..., Containers],
    form: str,
    mirror: Daemon | None,
) -> None:
    engine = containers()
    engine.use(registries.open, mirror)
    reference = f"{registries.open.host}/{repository_of(form)}:v1"

    ended = await engine.podman_pull(reference)

    assert ended.code == 0, ended.err
    assert await engine.podman_digest(reference) == forms[form].digest


async def test_one_large_layer_comes_through_the_mirror(
    registries: Registries, pusher: Pusher, containers: Callable[..., Containers], daemon: Daemon
) -> None:
    large = layer(LARGE_BYTES, "large")
    pusher.push("public/large", ["v1"], artifact(Blob(CONFIG, b"{}"), large))
    engine = containers()
    engine.use(registries.open, daemon)

    ended = await engine.skopeo_copy(f"{registries.open.host}/public/large:v1", "out")

    assert ended.code == 0, ended.err
    assert large.digest in engine.blobs_in("out")
    # Once, but for what is on its way when the SuperNode turns to several connections.
    sent_bytes = registries.open.requests.of("GET", large.digest).sent_bytes
    assert len(large.data) <= sent_bytes < 1.1 * len(large.data)
