"""Registries for the whole session, engines for one test each."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.containerd import Containerd
from engines.containers import Containers
from engines.docker import Docker
from engines.images import Pusher
from engines.registries import Registries, some_registries
from engines.swarm import Daemon, a_swarm, settings_of


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    with some_registries(tmp_path_factory.mktemp("registries")) as registries:
        yield registries


@pytest.fixture(scope="session")
def pusher(registries: Registries) -> Iterator[Pusher]:
    pusher = Pusher(registries.open.url)
    yield pusher
    pusher.close()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, registries: Registries) -> Iterator[Daemon]:
    """Give a daemon for all tests that leave it as it is; it knows all registries."""
    known = (registries.open, registries.basic, registries.bearer, registries.tls)
    folder = tmp_path_factory.mktemp("swarm")
    with a_swarm(folder, settings_of(*known, registries.redirecting)) as swarm:
        yield swarm.daemon("host")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Give a folder whose path is short enough for the sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="df-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def containerd(short_path: Path) -> Iterator[Callable[..., Containerd]]:
    """Give what starts a containerd; all that it started end with the test."""
    started: list[Containerd] = []

    def start(**options: dict[str, str]) -> Containerd:
        started.append(Containerd(short_path / f"c{len(started)}", **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def docker(short_path: Path) -> Iterator[Callable[..., Docker]]:
    """Give what starts a dockerd; all that it started end with the test."""
    started: list[Docker] = []

    def start(**options: object) -> Docker:
        started.append(Docker(short_path / f"d{len(started)}", **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def containers(tmp_path: Path) -> Callable[..., Containers]:
    """Give what makes a place for podman and skopeo."""
    count = itertools.count()
    return lambda **options: Containers(tmp_path / f"p{next(count)}", **options)
