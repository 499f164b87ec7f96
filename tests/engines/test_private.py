"""Private images through daemons: a user gets what the registry lets him read, cached or not."""

import base64
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from engines.containerd import Containerd
from engines.containers import Containers
from engines.forms import digests
from engines.images import Image, Pusher, image, layer
from engines.registries import ALICE, BOB, STRANGER, RedirectingRegistry, Registries, Registry
from engines.swarm import Swarm, a_swarm, settings_of

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20
KINDS = ["basic", "bearer", "redirecting"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def registry(registries: Registries, kind: str) -> Registry | RedirectingRegistry:
    registry: Registry | RedirectingRegistry = getattr(registries, kind)
    return registry


@pytest.fixture
def swarm(tmp_path: Path, registry: Registry) -> Iterator[Swarm]:
    with a_swarm(tmp_path / "swarm", settings_of(registry)) as swarm:
        yield swarm


@pytest.fixture
def secret(pusher: Pusher, kind: str, tmp_path: Path) -> Image:
    """Give an image of private/app that nobody has pulled yet."""
    made = image(
        layer(2 * MIB, f"{tmp_path.name}-{kind}-a"), layer(KIB, f"{tmp_path.name}-{kind}-b")
    )
    pusher.push("private/app", ["v1"], made)
    return made


def may_read(user: str, kind: str) -> bool:
    """Tell whether a user may read private/app; htpasswd knows no repositories."""
    return user == ALICE or (kind == "basic" and user == BOB)


async def test_skopeo_gets_what_its_user_may_read_though_it_is_cached(
    registry: Registry,
    swarm: Swarm,
    secret: Image,
    containers: Callable[..., Containers],
    kind: str,
) -> None:
    here, there = swarm.daemon("here"), swarm.daemon("there")
    reference = f"{registry.host}/private/app:v1"

    others = [(user, daemon) for user in (STRANGER, "", BOB) for daemon in (here, there)]
    for user, daemon in ((ALICE, here), *others):
        engine = containers()
        engine.use(registry, daemon, user=user)
        ended = await engine.skopeo_copy(reference, "out")

        assert (ended.code == 0) is may_read(user, kind), (user, daemon.folder, ended.err)
        assert ended.code or engine.blobs_in("out") == digests(secret)


async def test_containerd_and_its_cri_pull_with_their_users_rights(
    registry: Registry, swarm: Swarm, secret: Image, containerd: Callable[..., Containerd]
) -> None:
    here, there = swarm.daemon("here"), swarm.daemon("there")
    first, second, third = containerd(), containerd(), containerd()
    first.use(registry, here)
    second.use(registry, there)
    third.use(registry, there)
    reference = f"{registry.host}/private/app:v1"
    asked = len(registry.requests)

    pulled = await first.pull(reference, user=ALICE)
    by_cri = await second.cri_pull(reference, user=ALICE)
    refused = await third.pull(reference, user=STRANGER)

    assert (pulled.code, by_cri.code) == (0, 0), pulled.err + by_cri.err
    assert first.blobs() == second.blobs() == digests(secret)
    assert refused.code != 0
    assert third.blobs() == set()
    requests = registry.requests[asked:]
    digest = secret.layers[0].digest
    reads = [each for each in requests if each.method == "GET" and digest in each.path]
    assert sum(each.sent_bytes >= MIB for each in reads) <= 1


@pytest.mark.parametrize("kind", ["bearer"])
async def test_podman_pulls_after_its_login(
    registry: Registry, swarm: Swarm, secret: Image, containers: Callable[..., Containers]
) -> None:
    daemon = swarm.daemon("host")
    engine = containers()
    engine.use(registry, daemon)
    reference = f"{registry.host}/private/app:v1"

    refused = await engine.podman_pull(reference)
    login = await engine.podman_login(registry, daemon, ALICE)
    ended = await engine.podman_pull(reference)

    assert refused.code != 0
    assert (login.code, ended.code) == (0, 0), login.err + ended.err
    assert await engine.podman_digest(reference) == secret.digest


@pytest.mark.parametrize("kind", ["basic"])
async def test_the_challenge_of_the_registry_reaches_the_engine(
    registry: Registry, swarm: Swarm, secret: Image, containers: Callable[..., Containers]
) -> None:
    daemon = swarm.daemon("host")
    engine = containers()
    engine.use(registry, daemon, user=ALICE)
    reference = f"{registry.host}/private/app:v1"
    assert (await engine.skopeo_copy(reference, "out")).code == 0
    connection = HTTPConnection(daemon.proxy)
    answers = []

    for what in (f"blobs/{secret.layers[0].digest}", f"manifests/{secret.digest}"):
        connection.request("GET", f"/v2/private/app/{what}?ns={registry.host}")
        answer = connection.getresponse()
        answers.append((answer.status, answer.getheader("WWW-Authenticate"), len(answer.read())))
    connection.close()

    assert [status for status, _, _ in answers] == [401, 401]
    assert all(challenge == 'Basic realm="tests"' for _, challenge, _ in answers)
    assert all(size < MIB for _, _, size in answers)


async def test_credentials_are_nowhere_afterwards(
    registries: Registries,
    registry: Registry,
    swarm: Swarm,
    secret: Image,
    containers: Callable[..., Containers],
) -> None:
    here, there = swarm.daemon("here", "--log-level", "debug"), swarm.daemon("there")
    for daemon in (here, there):
        engine = containers()
        engine.use(registry, daemon, user=ALICE)
        ended = await engine.skopeo_copy(f"{registry.host}/private/app:v1", "out")
        assert ended.code == 0, ended.err
        assert secret.digest in engine.blobs_in("out")

    secrets = {ALICE, base64.b64encode(ALICE.encode()).decode(), *registries.tokens.given}
    texts = [
        path.read_bytes()
        for folder in (swarm.folder, here.folder, there.folder)
        for path in folder.rglob("*")
        if path.is_file()
    ]

    assert len(texts) > 5
    assert [each for each in secrets if any(each.encode() in text for text in texts)] == []


@pytest.mark.parametrize("kind", ["redirecting"])
async def test_signed_urls_are_no_identity(
    registry: RedirectingRegistry,
    swarm: Swarm,
    secret: Image,
    containers: Callable[..., Containers],
) -> None:
    asked = len(registry.requests)

    for name in ("here", "there"):
        engine = containers()
        engine.use(registry, swarm.daemon(name), user=ALICE)
        ended = await engine.skopeo_copy(f"{registry.host}/private/app:v1", "out")
        assert ended.code == 0, ended.err

    value = secret.layers[0].digest.partition(":")[2]
    stored = [each for each in registry.requests[asked:] if f"/{value}/data" in each.path]
    assert sum(each.sent_bytes for each in stored) == len(secret.layers[0].data)
    assert {each.status for each in stored} == {200}
