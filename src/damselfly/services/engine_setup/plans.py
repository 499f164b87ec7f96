"""What it takes to set an engine up: which files, with which text.

Planning is pure: a planner gets the present files as text and returns the new ones as text,
always from what the files would be without us. So the same command gives the same files
however often it is run, and a plan can be shown, tested and thrown away. `writing.py` reads
and writes; nothing else does.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from damselfly.core.urls import is_host_port
from damselfly.errors import EngineConfigError, UsageError

# Podman and CRI-O have no entry for "every registry"; these are the ones that most images name.
WELL_KNOWN: Final = (
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "quay.io",
    "registry.k8s.io",
)
DOCKER_HUB: Final = "docker.io"
LOOPBACK: Final = ("127.", "localhost:", "[::1]:")
_DOCKER_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# A name, an IPv4 address or an IPv6 one in brackets; and perhaps a port.
_ADDRESS: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?",
    re.IGNORECASE | re.ASCII,
)


class Engine(StrEnum):
    """A container engine that can be set up."""

    CONTAINERD = "containerd"
    DOCKER = "docker"
    PODMAN = "podman"
    CRIO = "crio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry, as engines name it.

    Attributes:
        name: `host` or `host:port`, as in the names of images.
        is_plain_http: It has no TLS.
    """

    name: str
    is_plain_http: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the registry in `registry.example`, `host:5000` or `http://host:5000`.

        On loopback it has no TLS unless `https://` says so; engines and daemon think so too.

        Raises:
            UsageError: It is none.
        """
        scheme, found, rest = text.rpartition("://")
        name = (rest if found else text).removesuffix("/").lower()
        if scheme not in ("", "http", "https") or not _ADDRESS.fullmatch(name):
            expected = "a host with or without a port, such as registry.example:5000"
            raise UsageError(f"--registry {text!r} is not {expected}")
        name = DOCKER_HUB if name in _DOCKER_HUB_HOSTS else name
        is_plain = scheme == "http" or (not scheme and name.startswith(LOOPBACK))
        return cls(name=name, is_plain_http=is_plain)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = "registry-1.docker.io" if self.name == DOCKER_HUB else self.name
        return f"http{'' if self.is_plain_http else 's'}://{host}"


def check_proxy(address: str) -> None:
    """Refuse what is no address of a daemon for engines.

    Raises:
        UsageError: It is none.
    """
    if not is_host_port(address):
        raise UsageError(f"--proxy {address!r} is not host:port, such as 127.0.0.1:65001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user wants an engine to do.

    Attributes:
        proxy: `host:port` of the daemon, for engines.
        registries: Those named; empty: all, as far as the engine can say so.
        ca_text: Certificate of the daemon's own CA in PEM; empty: there is none yet.
        is_mirror_only: Leave an engine's proxy settings alone.
    """

    proxy: str
    registries: tuple[Registry, ...] = ()
    ca_text: str = ""
    is_mirror_only: bool = False

    def __post_init__(self) -> None:
        check_proxy(self.proxy)

    @property
    def told_elsewhere(self) -> tuple[str, ...]:
        """What the daemon's settings must say so that these registries come through it."""
        return tuple(
            f'{each.name} has no TLS: tell the daemon by url = "{each.url}" in its registries '
            "settings, or it is pulled past it"
            for each in self.registries
            if each.is_plain_http and not each.name.startswith(LOOPBACK)
        )

    @property
    def proxy_url(self) -> str:
        """The daemon as a URL."""
        return f"http://{self.proxy}"


class FileKind(StrEnum):
    """How our part is told from the rest of a file; see `engines.py`."""

    OWN = "own"
    HOSTS_TOML = "hosts_toml"
    CONTAINERD_CONFIG = "containerd_config"
    DAEMON_JSON = "daemon_json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file as it shall be.

    Attributes:
        path: On the host, whatever `--root` says.
        kind: How our part of it is found again.
        text: All of it.
    """

    path: str
    kind: FileKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """What sets an engine up.

    Attributes:
        files: In the order in which they are written.
        notes: Sentences for the user.
    """

    files: tuple[PlannedFile, ...]
    notes: tuple[str, ...] = ()


class Files(Protocol):
    """The files of a host as they would be without us."""

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None: there is none."""

    def names(self, folder: str) -> Sequence[str]:
        """Return the names in a folder, sorted; empty: there is no such folder."""


Planner = Callable[[Files, Wish], EnginePlan]


def unreadable(path: str, what: str, advice: str = "correct it") -> EngineConfigError:
    """Return the error of a file that we cannot parse and therefore do not touch."""
    return EngineConfigError(path=path, reason=f"{what}; {advice} (nothing was changed)")
