"""Every form of content that registries hold, by each engine that can take it."""

from collections.abc import Callable

import pytest

from engines.containerd import Containerd
from engines.containers import Containers
from engines.docker import Docker
from engines.forms import ARTIFACTS, FORMS, IMAGES, digests, repository_of
from engines.images import Image, Pusher
from engines.registries import Registries

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def forms(pusher: Pusher) -> dict[str, Image]:
    made = {form: make() for form, make in FORMS.items()}
    for form, each in made.items():
        pusher.push(repository_of(form), ["v1"], each)
    return made


@pytest.mark.parametrize("form", FORMS)
async def test_skopeo_copies(
    registries: Registries,
    forms: dict[str, Image],
    containers: Callable[..., Containers],
    form: str,
) -> None:
    engine = containers()
    engine.use(registries.open.host, registries.open.url)

    ended = await engine.skopeo_copy(f"{registries.open.host}/{repository_of(form)}:v1", "out")

    assert ended.code == 0, ended.err
    assert engine.blobs_in("out") == digests(forms[form])


@pytest.mark.parametrize("form", IMAGES)
async def test_containerd_pulls(
    registries: Registries,
    forms: dict[str, Image],
    containerd: Callable[..., Containerd],
    form: str,
) -> None:
    engine = containerd()
    engine.use(registries.open.host, registries.open.url)
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
) -> None:
    engine = containerd()
    engine.use(registries.open.host, registries.open.url)

    ended = await engine.fetch(f"{registries.open.host}/{repository_of(form)}:v1")

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(forms[form])


@pytest.mark.parametrize("form", ["gzip and plain", "docker", "multi-platform"])
async def test_docker_pulls(
    registries: Registries, forms: dict[str, Image], docker: Callable[..., Docker], form: str
) -> None:
    engine = docker()
    reference = f"{registries.open.host}/{repository_of(form)}:v1"

    ended = await engine.pull(reference)

    assert ended.code == 0, ended.err
    assert engine.digests(reference) == [forms[form].digest]


@pytest.mark.parametrize("form", ["gzip and plain", "zstd", "multi-platform"])
async def test_podman_pulls(
    registries: Registries,
    forms: dict[str, Image],
    containers: Callable[..., Containers],
    form: str,
) -> None:
    engine = containers()
    engine.use(registries.open.host, registries.open.url)
    reference = f"{registries.open.host}/{repository_of(form)}:v1"

    ended = await engine.podman_pull(reference)

    assert ended.code == 0, ended.err
    assert await engine.podman_digest(reference) == forms[form].digest
