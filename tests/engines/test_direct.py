"""Each engine straight from each registry: what the other tests build on is as they think."""

from collections.abc import Callable

import pytest

from engines.containerd import Containerd
from engines.containers import Containers
from engines.docker import Docker
from engines.forms import digests
from engines.images import Image, Pusher, image, layer
from engines.registries import ALICE, BOB, STRANGER, Registries

pytestmark = pytest.mark.slow

KIB = 1 << 10
KINDS = {"open": "", "basic": ALICE, "bearer": ALICE, "tls": "", "redirecting": ALICE}


@pytest.fixture(scope="module")
def small(pusher: Pusher) -> Image:
    made = image(layer(200 * KIB, "direct-a"), layer(300 * KIB, "direct-b", "none"))
    for repository in ("public/direct", "private/direct"):
        pusher.push(repository, ["v1"], made)
    return made


@pytest.mark.parametrize("kind", KINDS)
async def test_containerd_pulls(
    registries: Registries, small: Image, containerd: Callable[..., Containerd], kind: str
) -> None:
    registry = getattr(registries, kind)
    engine = containerd()
    engine.use(registry)

    ended = await engine.pull(f"{registry.host}/private/direct:v1", user=KINDS[kind])

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(small)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_cri_of_containerd_pulls(
    registries: Registries, small: Image, containerd: Callable[..., Containerd], kind: str
) -> None:
    registry = getattr(registries, kind)
    engine = containerd()
    engine.use(registry)

    ended = await engine.cri_pull(f"{registry.host}/private/direct:v1", user=KINDS[kind])

    assert ended.code == 0, ended.err
    assert engine.blobs() == digests(small)
    assert (await engine.images("k8s.io"))[f"{registry.host}/private/direct:v1"] == small.digest


@pytest.mark.parametrize("kind", KINDS)
async def test_docker_pulls(
    registries: Registries, small: Image, docker: Callable[..., Docker], kind: str
) -> None:
    registry = getattr(registries, kind)
    engine = docker(env={"SSL_CERT_FILE": str(registries.ca_file)})
    reference = f"{registry.host}/private/direct:v1"

    ended = await engine.pull(reference, user=KINDS[kind])

    assert ended.code == 0, ended.err
    assert engine.digests(reference) == [small.digest]
    assert engine.layers(reference) == [each.diff_id for each in small.layers]


@pytest.mark.parametrize("kind", KINDS)
async def test_podman_and_skopeo_pull(
    registries: Registries, small: Image, containers: Callable[..., Containers], kind: str
) -> None:
    registry = getattr(registries, kind)
    engine = containers(env={"SSL_CERT_FILE": str(registries.ca_file)})
    engine.use(registry)
    reference = f"{registry.host}/private/direct:v1"

    pulled = await engine.podman_pull(reference, user=KINDS[kind])
    copied = await engine.skopeo_copy(reference, "out", user=KINDS[kind])

    assert (pulled.code, copied.code) == (0, 0), pulled.err + copied.err
    assert await engine.podman_digest(reference) == small.digest
    assert engine.blobs_in("out") == digests(small)


@pytest.mark.parametrize("kind", ["basic", "bearer", "redirecting"])
@pytest.mark.parametrize("user", ["", BOB, STRANGER])
@pytest.mark.usefixtures("small")
async def test_private_registries_refuse_others(
    registries: Registries,
    containers: Callable[..., Containers],
    kind: str,
    user: str,
) -> None:
    registry = getattr(registries, kind)
    engine = containers()
    engine.use(registry)

    private = await engine.skopeo_copy(f"{registry.host}/private/direct:v1", "out", user=user)
    public = await engine.skopeo_copy(f"{registry.host}/public/direct:v1", "public", user=user)

    is_known_everywhere = kind == "basic" and user == BOB
    assert (private.code == 0) is is_known_everywhere
    assert (public.code == 0) is (is_known_everywhere or (kind != "basic" and user != STRANGER))
