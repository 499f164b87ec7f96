"""Podman, CRI-O and others that read registries.conf: a mirror per registry in a file of ours.

Their requests do not say which registry they are meant for, so the mirror's location carries
it as the first part of the path; a port with `_` for the colon, which no path may hold. There
is no entry for "every registry". A later file replaces a registry's whole entry, so what the
others say of it is taken over into ours, and its own mirrors follow after us.
"""

import tomllib
from collections.abc import Collection
from typing import Any, Final

import tomlkit

from damselfly.errors import UsageError
from damselfly.services.engine_setup.plans import (
    WELL_KNOWN,
    EnginePlan,
    FileKind,
    Files,
    PlannedFile,
    Registry,
    Wish,
    unreadable,
)

MAIN: Final = "/etc/containers/registries.conf"
FOLDER: Final = "/etc/containers/registries.conf.d"
NAME: Final = "damselfly.conf"  # letters sort after the digits that others begin with
PATH: Final = f"{FOLDER}/{NAME}"
_HEADER: Final = """\
# `damselfly install podman` or `crio` wrote this; `damselfly uninstall` of the same removes it.
# Podman, Buildah, Skopeo and CRI-O all read it. The registry itself is used when the daemon
# does not answer.
"""
_COPIED: Final = ("insecure", "blocked", "mirror-by-digest-only")


def planned(files: Files, wish: Wish) -> EnginePlan:
    """Return what makes Podman and CRI-O pull through the daemon."""
    present = entries(files)
    registries = wish.registries or tuple(Registry(name=name) for name in WELL_KNOWN)
    notes = []
    if not wish.registries:
        names = ", ".join(registry.name for registry in registries)
        notes.append(f"mirrored are {names}; others must be named with --registry")
    for registry in registries:
        nearer = [name for name in present if name.startswith(f"{registry.name}/")]
        if nearer:
            notes.append(f"{', '.join(nearer)}: has an entry of its own and is not mirrored")
    text = written(registries, present, wish.proxy)
    file = PlannedFile(path=PATH, kind=FileKind.OWN, text=text)
    return EnginePlan(files=(file,), notes=(*notes, *wish.told_elsewhere))


def restart_after_podman(_: Collection[str]) -> str:
    """Return nothing: each run of Podman reads the files."""
    return ""


def restart_after_crio(paths: Collection[str]) -> str:
    """Return the command after which changes of these files count; empty: at once."""
    return "systemctl reload crio" if PATH in paths else ""


def entries(files: Files) -> dict[str, dict[str, Any]]:
    """Return the registries that the files configure, by prefix; later files win.

    Raises:
        EngineConfigError: A file cannot be parsed, or is in the old format.
    """
    paths = [MAIN]
    paths += [f"{FOLDER}/{name}" for name in files.names(FOLDER) if name.endswith(".conf")]
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        for entry in _entries_of(files.read(path) or "", path):
            found[_prefix(entry)] = entry
    return found


def _entries_of(text: str, path: str) -> list[dict[str, Any]]:
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise unreadable(path, f"it is no TOML: {exc}") from exc
    if "registries" in config:
        raise unreadable(path, "it is in the old format, which cannot be mixed with [[registry]]")
    tables = config.get("registry", [])
    for table in tables if isinstance(tables, list) else [None]:
        mirrors = table.get("mirror", []) if isinstance(table, dict) else None
        if not isinstance(mirrors, list) or not all(isinstance(each, dict) for each in mirrors):
            raise unreadable(path, "its [[registry]] and their mirrors are no lists of tables")
    return list(tables)


def written(
    registries: tuple[Registry, ...], present: dict[str, dict[str, Any]], proxy: str
) -> str:
    """Return our file.

    Args:
        registries: Those to mirror.
        present: {prefix: entry} of the other files.
        proxy: `host:port` of the daemon.

    Raises:
        UsageError: One of them cannot be mirrored.
    """
    document = tomlkit.document()
    tables = tomlkit.aot()
    for registry in registries:
        entry = present.get(registry.name, {})
        location = str(entry.get("location") or registry.name)
        table = tomlkit.table()
        table["prefix"] = registry.name
        table["location"] = location
        if registry.is_plain_http:
            table["insecure"] = True
        for key in _COPIED:
            if key in entry:
                table[key] = entry[key]
        mirrors = tomlkit.aot()
        ours = tomlkit.table()
        ours["location"] = mirror_location(location, proxy)
        ours["insecure"] = True  # no TLS: it is this host
        mirrors.append(ours)
        for other in entry.get("mirror", []):
            mirrors.append(tomlkit.item(other))
        table["mirror"] = mirrors
        tables.append(table)
    document["registry"] = tables
    return f"{_HEADER}\n{tomlkit.dumps(document)}"


def mirror_location(location: str, proxy: str) -> str:
    """Return where the daemon mirrors a location, such as `127.0.0.1:65001/host_5000/team`.

    Raises:
        UsageError: It is an IPv6 address, which no path of an image may hold.
    """
    host, slash, path = location.partition("/")
    if host.startswith("["):
        raise UsageError(f"{host}: Podman and CRI-O need a name or an IPv4 address for a mirror")
    return f"{proxy}/{host.replace(':', '_')}{slash}{path}"


def mirrors(text: str) -> dict[str, str]:
    """Return {prefix: location of the first mirror} of our file.

    Raises:
        EngineConfigError: It cannot be parsed.
    """
    return first_mirrors({_prefix(entry): entry for entry in _entries_of(text, PATH)})


def first_mirrors(present: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return {prefix: location of the first mirror}, of those that have one."""
    return {
        prefix: str(entry["mirror"][0].get("location"))
        for prefix, entry in present.items()
        if entry.get("mirror")
    }


def _prefix(entry: dict[str, Any]) -> str:
    return str(entry.get("prefix") or entry.get("location"))
