"""containerd: a mirror per registry in certs.d, and the CRI plugin told to look there.

Each `hosts.toml` lists hosts that are tried in the order of the file, and last its `server`:
so our mirror stands first, and the registry itself is used when the daemon is down.
containerd reads these files at every pull; only a change of `config.toml` needs a restart.
"""

import re
import tomllib
from collections.abc import Collection
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from damselfly.services.engine_setup.plans import (
    EnginePlan,
    FileKind,
    Files,
    PlannedFile,
    Registry,
    Wish,
    unreadable,
)

CONFIG: Final = "/etc/containerd/config.toml"
CERTS_D: Final = "/etc/containerd/certs.d"
DEFAULT: Final = "_default"  # the folder for every registry without one of its own

_IMAGES_PLUGIN: Final = "io.containerd.cri.v1.images"
# {version of config.toml: the plugin whose registry settings count}; 4 came with containerd 2.4
_PLUGINS: Final = {2: "io.containerd.grpc.v1.cri", 3: _IMAGES_PLUGIN, 4: _IMAGES_PLUGIN}
_HEADER: Final = "# `damselfly install containerd` wrote this; `damselfly uninstall` undoes it.\n"
_TABLE: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_HOST_TABLE: Final = re.compile(r"^[ \t]*\[host[ \t]*\.", re.MULTILINE)


def planned(files: Files, wish: Wish) -> EnginePlan:
    """Return what makes containerd pull through the daemon."""
    text = files.read(CONFIG) or ""
    config, notes = _with_config_path(text)
    folder = config_path(config) or CERTS_D
    wanted = [PlannedFile(path=CONFIG, kind=FileKind.CONTAINERD_CONFIG, text=config)]
    for registry in (None, *wish.registries):
        path = f"{folder}/{registry.name if registry else DEFAULT}/hosts.toml"
        new = with_mirror(files.read(path) or "", registry, wish.proxy_url, path)
        wanted.append(PlannedFile(path=path, kind=FileKind.HOSTS_TOML, text=new))
    named = {DEFAULT, *(registry.name for registry in wish.registries)}
    others = [
        name
        for name in files.names(folder)
        if name not in named and files.read(f"{folder}/{name}/hosts.toml") is not None
    ]
    if others:
        notes.append(
            f"{', '.join(others)}: has a hosts.toml of its own and is not mirrored; "
            f"add --registry {others[0]} to mirror it too"
        )
    return EnginePlan(files=tuple(wanted), notes=(*notes, *wish.told_elsewhere))


def restart_after(paths: Collection[str]) -> str:
    """Return the command after which changes of these files count; empty: at once."""
    return "systemctl restart containerd" if CONFIG in paths else ""


# --- config.toml


def _parsed(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise unreadable(path, f"it is no TOML: {exc}") from exc


def _registry_table(config: dict[str, Any]) -> dict[str, Any]:
    """Return the registry settings of the CRI plugin.

    Raises:
        EngineConfigError: They are not where the file's version has them.
    """
    version = config.get("version", 2)
    if version not in _PLUGINS:
        what = f"its layout is version {version}, and only versions 2 to 4 are known here"
        raise unreadable(CONFIG, what)
    table: Any = config
    for key in ("plugins", _PLUGINS[version], "registry"):
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise unreadable(CONFIG, f"{key} is no table in it")
    return dict(table)


def is_cri_disabled(text: str) -> bool:
    """Say whether a configuration turns the CRI plugin off.

    Raises:
        EngineConfigError: It cannot be parsed.
    """
    return _is_cri_disabled(_parsed(text, CONFIG))


def _is_cri_disabled(config: dict[str, Any]) -> bool:
    disabled = config.get("disabled_plugins", [])
    return isinstance(disabled, list) and any(
        plugin in disabled for plugin in ("cri", *_PLUGINS.values())
    )


def config_path(text: str) -> str:
    """Return the first folder in which the CRI plugin looks for `hosts.toml`; empty: none.

    Raises:
        EngineConfigError: It is no configuration of containerd.
    """
    config = _parsed(text, CONFIG)
    if config.get("version", 1) not in _PLUGINS:
        return ""
    return str(_registry_table(config).get("config_path", "")).partition(":")[0]


def _with_config_path(text: str) -> tuple[str, list[str]]:
    """Return `config.toml` with the CRI plugin looking in certs.d, and notes."""
    config = _parsed(text, CONFIG)
    if _is_cri_disabled(config):
        note = "its CRI plugin is disabled: only clients that read certs.d themselves (nerdctl, "
        return text, [note + "ctr --hosts-dir) pull through the daemon"]
    if text.strip() and config and "version" not in config:
        what = "it has no version line, so containerd reads it in the layout of version 1"
        raise unreadable(CONFIG, what, "convert it with `containerd config migrate`")
    registry = _registry_table(config)
    if registry.get("config_path"):
        return text, []
    old = [key for key in ("mirrors", "configs") if _is_in_the_way(registry.get(key))]
    if old:
        what = f"registry.{old[0]} is set, which containerd refuses beside config_path"
        raise unreadable(CONFIG, what, f"move it to hosts.toml files in {CERTS_D}")
    return _set_config_path(text, config), []


def _is_in_the_way(table: object) -> bool:
    """Say whether old registry settings keep containerd from starting with a config_path."""
    if not isinstance(table, dict):
        return False
    return any(
        not isinstance(value, dict) or "endpoint" in value or "tls" in value
        for value in table.values()
    )


def _set_config_path(text: str, config: dict[str, Any]) -> str:
    document = tomlkit.parse(text)
    version = config.get("version", 2)
    if "version" not in config:
        document.add(tomlkit.comment(_HEADER.removeprefix("# ").rstrip()))
        document.add("version", tomlkit.item(version))
        document.add(tomlkit.nl())
    table: Any = document
    for key in ("plugins", _PLUGINS[version], "registry"):
        if key not in table:
            table[key] = tomlkit.table(is_super_table=key != "registry")
        table = table[key]
    table["config_path"] = CERTS_D
    new = tomlkit.dumps(document)
    return _checked(text, new, CERTS_D)


def without_config_path(text: str, _: str) -> str:
    """Return `config.toml` without the folder that we set.

    Raises:
        EngineConfigError: It cannot be parsed.
    """
    config = _parsed(text, CONFIG)
    if config.get("version", 1) not in _PLUGINS:
        return text
    if _registry_table(config).get("config_path") != CERTS_D:
        return text
    try:
        document = tomlkit.parse(text)
        table: Any = document
        for key in ("plugins", _PLUGINS[config["version"]], "registry"):
            table = table[key]
        del table["config_path"]
        new = tomlkit.dumps(document)
    except (TOMLKitError, KeyError) as exc:
        raise unreadable(CONFIG, f"config_path is tangled with other lines: {exc}") from exc
    return _checked(text, new, None)


def _checked(old: str, new: str, folder: str | None) -> str:
    """Return the new text after making sure that nothing else in it means something else."""
    before, after = _parsed(old, CONFIG), _parsed(new, CONFIG)
    found = _take_config_path(after)
    _take_config_path(before)
    # An empty file becomes one of our version.
    if found != folder or _without_empty({"version": 2, **before}) != _without_empty(after):
        raise unreadable(CONFIG, "config_path is tangled with other lines", "set it by hand")
    return new


def _take_config_path(config: dict[str, Any]) -> Any:  # noqa: ANN401  # any TOML
    table = config
    for key in ("plugins", _PLUGINS[config.get("version", 2)], "registry"):
        table = table.get(key, {})
    return table.pop("config_path", None)


def _without_empty(value: Any) -> Any:  # noqa: ANN401  # any TOML
    """Return TOML without empty tables: a header that we add means nothing by itself."""
    if not isinstance(value, dict):
        return value
    kept = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item != {}}


# --- hosts.toml


def with_mirror(text: str, registry: Registry | None, proxy_url: str, path: str) -> str:
    """Return a `hosts.toml` in which the daemon comes first.

    Args:
        text: As it is; empty: there is none.
        registry: Whose it is; None: every registry's.
        proxy_url: Of the daemon.
        path: For messages.

    Raises:
        EngineConfigError: It cannot be parsed, or lists its hosts in a way we do not know.
    """
    before = _parsed(text, path)
    hosts = before.get("host", {})
    if proxy_url in hosts:
        return text
    table = f'[host."{proxy_url}"]\n  capabilities = ["pull", "resolve"]\n'
    if not text.strip():
        server = f'server = "{registry.url}"\n\n' if registry else ""
        return f"{_HEADER}{server}{table}"
    if not hosts:
        new = text.rstrip("\n") + "\n\n" + table
    else:
        first = _HOST_TABLE.search(text)
        if first is None:
            raise unreadable(path, "its hosts are not [host.…] tables", "write them so")
        new = f"{text[: first.start()]}{table}\n{text[first.start() :]}"
    after = _parsed(new, path)
    ours = {proxy_url: {"capabilities": ["pull", "resolve"]}, **hosts}
    if after != {**before, "host": ours} or list(after["host"]) != list(ours):
        raise unreadable(path, "our host cannot be put first in it", "put it there by hand")
    return new


def without_mirror(text: str, proxy_url: str) -> str:
    """Return a `hosts.toml` without the daemon; empty: nothing else was in it.

    Raises:
        EngineConfigError: It cannot be parsed.
    """
    before = _parsed(text, "hosts.toml")
    if proxy_url not in before.get("host", {}):
        return text
    ours = re.compile(rf'^[ \t]*\[host[ \t]*\.[ \t]*["\']{re.escape(proxy_url)}["\']', re.MULTILINE)
    kept, at = "", 0
    while (match := ours.search(text, at)) is not None:
        following = next(_TABLE.finditer(text, match.end()), None)
        kept += text[at : match.start()]
        at = following.start() if following else len(text)
    kept = (kept + text[at:]).removeprefix(_HEADER).lstrip("\n")
    after = _parsed(kept, "hosts.toml")
    expected = {name: host for name, host in before["host"].items() if name != proxy_url}
    if after.get("host", {}) != expected:
        raise unreadable("hosts.toml", "our host cannot be told from the rest", "take it out")
    # A server alone says what containerd does anyway; we wrote it, if the header was there.
    is_ours = text.startswith(_HEADER) and set(after) <= {"server"}
    return "" if is_ours or not kept.strip() else kept.rstrip("\n") + "\n"


def mirrors(text: str, path: str) -> list[str]:
    """Return the hosts of a `hosts.toml` in the order in which containerd tries them.

    Raises:
        EngineConfigError: It cannot be parsed.
    """
    return list(_parsed(text, path).get("host", {}))
