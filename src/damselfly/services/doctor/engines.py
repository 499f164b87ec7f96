"""Each engine of this host: is it there, is it set up, and does its set-up hold?"""

from collections.abc import Callable, Mapping
from typing import Final

from damselfly.errors import EngineConfigError
from damselfly.services.ca_files import certificate_path
from damselfly.services.doctor.findings import Finding, Scene, failed, ok, skipped, warning
from damselfly.services.engine_setup import containerd, docker, registries_conf
from damselfly.services.engine_setup.host_files import HostFiles
from damselfly.services.engine_setup.installed import Installed, text_of
from damselfly.services.engine_setup.plans import Engine
from damselfly.services.options import ProxyOptions

PROGRAMS: Final = {
    Engine.CONTAINERD: "containerd",
    Engine.DOCKER: "dockerd",
    Engine.PODMAN: "podman",
    Engine.CRIO: "crio",
}
FOLDERS: Final = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "bin", "sbin")


class AsTheyAre:
    """The files of a host, our part included."""

    def __init__(self, host: HostFiles) -> None:
        self._host = host

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None: there is none."""
        return text_of(self._host.read(path), path)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        return self._host.names(folder)


def check_engines(scene: Scene) -> list[Finding]:
    """Look at each engine that is there."""
    host = HostFiles(scene.root)
    there = [engine for engine in Engine if _is_there(host, engine)]
    if not there:
        return [skipped("engine", f"no container engine is installed below {host.root}")]
    return [_finding(scene, host, engine) for engine in there]


def _is_there(host: HostFiles, engine: Engine) -> bool:
    name = PROGRAMS[engine]
    return any((host.root / folder / name).exists() for folder in FOLDERS)


def _finding(scene: Scene, host: HostFiles, engine: Engine) -> Finding:
    check, command = f"engine {engine}", f"damselfly install {engine}"
    where = f" --proxy {scene.proxy}" if scene.proxy not in ("", ProxyOptions().listen) else ""
    try:
        told = {file.proxy_url for file in Installed(host).files.values() if engine in file.engines}
        url = next(iter(told), f"http://{scene.proxy}")
        fault = _FAULTS[engine](AsTheyAre(host), url)
        if engine is Engine.DOCKER and not fault:
            fault = _fault_of_trust(AsTheyAre(host), scene.data)
    except EngineConfigError as exc:
        return failed(check, f"its files cannot be judged: {exc}", "correct what it names")
    if fault and told:
        return failed(check, f"it was set up, but {fault}", f"run `{command}{where}` again")
    if fault:
        return warning(check, f"it is not set up: {fault}", f"run `{command}{where}`")
    if scene.proxy and url != f"http://{scene.proxy}":
        text = f"it is set up for {url}, but the daemon is on {scene.proxy}"
        return failed(check, text, f"run `{command} --proxy {scene.proxy}`")
    return ok(check, f"it pulls through {url}")


# --- what is wrong with an engine's files; nothing: all is well


def _fault_of_containerd(files: AsTheyAre, url: str) -> str:
    text = files.read(containerd.CONFIG) or ""
    folder = containerd.config_path(text)
    if not folder and not containerd.is_cri_disabled(text):
        return f"its CRI plugin looks in no folder for mirrors ({containerd.CONFIG})"
    path = f"{folder or containerd.CERTS_D}/{containerd.DEFAULT}/hosts.toml"
    if containerd.mirrors(files.read(path) or "", path)[:1] != [url]:
        return f"the daemon is not the first host in {path}"
    return ""


def _fault_of_docker(files: AsTheyAre, url: str) -> str:
    mirrors = [each.rstrip("/") for each in docker.mirrors(files.read(docker.DAEMON_JSON) or "")]
    if url not in mirrors:
        return f"the daemon is not among the registry-mirrors of {docker.DAEMON_JSON}"
    proxied = files.read(docker.DROP_IN)
    if proxied is not None and f"HTTPS_PROXY={url}" not in proxied:
        return f"{docker.DROP_IN} names another proxy"
    return ""


def _fault_of_trust(files: AsTheyAre, data: str) -> str:
    """Say for which registries Docker trusts a CA that is not the daemon's any more."""
    try:
        ours = certificate_path(data).read_text()
    except OSError:
        return ""  # none yet, or not for us to read; the check of the CA says so
    old = [
        name
        for name in files.names(docker.CERTS_D)
        if files.read(f"{docker.CERTS_D}/{name}/damselfly.crt") not in (None, ours)
    ]
    return f"it trusts another CA than the daemon's for {', '.join(old)}" if old else ""


def _fault_of_registries_conf(files: AsTheyAre, url: str) -> str:
    ours = registries_conf.mirrors(files.read(registries_conf.PATH) or "")
    if not ours:
        return f"there is no {registries_conf.PATH}"
    start = f"{url.removeprefix('http://')}/"
    in_force = registries_conf.first_mirrors(registries_conf.entries(files))
    hidden = [name for name in ours if not in_force.get(name, "").startswith(start)]
    if hidden:
        return f"another file speaks for {', '.join(hidden)} after ours"
    return ""


_FAULTS: Final[Mapping[Engine, Callable[[AsTheyAre, str], str]]] = {
    Engine.CONTAINERD: _fault_of_containerd,
    Engine.DOCKER: _fault_of_docker,
    Engine.PODMAN: _fault_of_registries_conf,
    Engine.CRIO: _fault_of_registries_conf,
}
