"""The engines that can be set up, and how our part is taken out of each kind of file."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from damselfly.services.engine_setup import containerd, docker, registries_conf
from damselfly.services.engine_setup.plans import Engine, FileKind, Planner

PLANNERS: Final[Mapping[Engine, Planner]] = {
    Engine.CONTAINERD: containerd.planned,
    Engine.DOCKER: docker.planned,
    Engine.PODMAN: registries_conf.planned,
    Engine.CRIO: registries_conf.planned,
}

# {engine: (paths that changed) → the command after which that counts; empty: at once}
RESTARTS: Final[Mapping[Engine, Callable[[Collection[str]], str]]] = {
    Engine.CONTAINERD: containerd.restart_after,
    Engine.DOCKER: docker.restart_after,
    Engine.PODMAN: registries_conf.restart_after_podman,
    Engine.CRIO: registries_conf.restart_after_crio,
}

# {kind: (text, URL of the daemon) → the text without our part; empty: nothing else is in it}.
# A kind that is not here is a file of ours alone.
REMOVERS: Final[Mapping[FileKind, Callable[[str, str], str]]] = {
    FileKind.HOSTS_TOML: containerd.without_mirror,
    FileKind.CONTAINERD_CONFIG: containerd.without_config_path,
    FileKind.DAEMON_JSON: docker.without_mirror,
}
