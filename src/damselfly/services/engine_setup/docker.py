"""Docker: a mirror for Docker Hub in daemon.json, and a proxy for every other registry.

`registry-mirrors` are asked for names of Docker Hub only, and Docker goes on without one that
does not answer. Other registries reach the daemon only as dockerd's HTTP proxy, which is set
by the environment of its service. TLS to a registry that a rule of the proxy names is opened
by the daemon, so Docker must trust its CA for that registry.
"""

import json
from collections.abc import Collection
from typing import Any, Final

from damselfly.services.engine_setup.plans import (
    LOOPBACK,
    EnginePlan,
    FileKind,
    Files,
    PlannedFile,
    Wish,
    unreadable,
)

DAEMON_JSON: Final = "/etc/docker/daemon.json"
DROP_IN_FOLDER: Final = "/etc/systemd/system/docker.service.d"
DROP_IN: Final = f"{DROP_IN_FOLDER}/damselfly.conf"
CERTS_D: Final = "/etc/docker/certs.d"
NO_PROXY: Final = "localhost,127.0.0.0/8,::1"
MIRRORS: Final = "registry-mirrors"
_INSECURE: Final = "insecure-registries"


def planned(files: Files, wish: Wish) -> EnginePlan:
    """Return what makes Docker pull through the daemon."""
    text = with_mirror(files.read(DAEMON_JSON) or "", wish.proxy)
    wanted = [PlannedFile(path=DAEMON_JSON, kind=FileKind.DAEMON_JSON, text=text)]
    notes = []
    if wish.is_mirror_only:
        notes.append("only images of Docker Hub come through the daemon: --mirror-only")
    else:
        _refuse_other_proxy(files)
        wanted.append(PlannedFile(path=DROP_IN, kind=FileKind.OWN, text=drop_in(wish.proxy_url)))
        notes.append(
            "while the daemon is down, Docker reaches no registry, as its proxy settings name "
            "the daemon; --mirror-only leaves them alone"
        )
        for registry in wish.registries if wish.ca_text else ():
            path = f"{CERTS_D}/{registry.name}/damselfly.crt"
            wanted.append(PlannedFile(path=path, kind=FileKind.OWN, text=wish.ca_text))
        notes.append(_note_of_trust(wish))
    return EnginePlan(files=tuple(wanted), notes=tuple(notes))


def restart_after(paths: Collection[str]) -> str:
    """Return the command after which changes of these files count; empty: at once."""
    if DROP_IN in paths:
        return "systemctl daemon-reload && systemctl restart docker"
    return "systemctl reload docker" if DAEMON_JSON in paths else ""


def _note_of_trust(wish: Wish) -> str:
    if wish.registries and not wish.ca_text:
        return (
            "the daemon has no CA yet, so Docker was not told to trust one: start the daemon, "
            "then run this again"
        )
    if wish.registries:
        return "Docker trusts the daemon's CA for the registries named"
    return (
        "a registry whose TLS a rule of the proxy opens must be named, with --registry, for "
        "Docker to trust the daemon's CA; all others are tunnelled"
    )


def _refuse_other_proxy(files: Files) -> None:
    what, advice = "it gives Docker another proxy", "take it out, or use --mirror-only"
    if parsed(files.read(DAEMON_JSON) or "").get("proxies"):
        raise unreadable(DAEMON_JSON, f"{what}, which goes before ours", advice)
    for name in files.names(DROP_IN_FOLDER):
        path = f"{DROP_IN_FOLDER}/{name}"
        text = files.read(path) or ""
        if path != DROP_IN and name.endswith(".conf") and "_PROXY=" in text.upper():
            raise unreadable(path, f"{what}, which ours would replace", advice)


def drop_in(proxy_url: str) -> str:
    """Return the drop-in that gives dockerd the daemon as its proxy."""
    values = {"HTTP_PROXY": proxy_url, "HTTPS_PROXY": proxy_url, "NO_PROXY": NO_PROXY}
    lines = [f'Environment="{name}={value}"\n' for name, value in values.items()]
    header = "# `damselfly install docker` wrote this; `damselfly uninstall docker` removes it.\n"
    return f"{header}[Service]\n{''.join(lines)}"


def with_mirror(text: str, proxy: str) -> str:
    """Return `daemon.json` with the daemon as the first mirror; other keys keep their order.

    Raises:
        EngineConfigError: It is no JSON object, or its mirrors are no list.
    """
    config = parsed(text)
    url = f"http://{proxy}"
    _put_first(config, MIRRORS, url)
    if not proxy.startswith(LOOPBACK):
        _put_first(config, _INSECURE, proxy)  # else Docker asks it for TLS
    return text if config == parsed(text) else _written(config, like=text)


def without_mirror(text: str, proxy_url: str) -> str:
    """Return `daemon.json` without the daemon; empty: nothing else was in it.

    Raises:
        EngineConfigError: It is no JSON object, or its mirrors are no list.
    """
    config = parsed(text)
    ours = {MIRRORS: proxy_url, _INSECURE: proxy_url.removeprefix("http://")}
    for key, value in ours.items():
        if value in _list(config, key):
            config[key] = [each for each in _list(config, key) if each.rstrip("/") != value]
            if not config[key]:
                del config[key]
    if config == parsed(text):
        return text
    return _written(config, like=text) if config else ""


def mirrors(text: str) -> list[str]:
    """Return the mirrors in a `daemon.json`.

    Raises:
        EngineConfigError: It is no JSON object, or its mirrors are no list.
    """
    return _list(parsed(text), MIRRORS)


def parsed(text: str) -> dict[str, Any]:
    """Return the object in a `daemon.json`; an empty file, as for Docker, is an empty one."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise unreadable(DAEMON_JSON, f"it is no JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise unreadable(DAEMON_JSON, "it is no JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands in it twice")
    return dict(pairs)


def _list(config: dict[str, Any], key: str) -> list[str]:
    value = config.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise unreadable(DAEMON_JSON, f"{key} is no list of texts")
    return value


def _put_first(config: dict[str, Any], key: str, value: str) -> None:
    there = _list(config, key)
    if not there or there[0].rstrip("/") != value:
        config[key] = [value, *(each for each in there if each.rstrip("/") != value)]


def _written(config: dict[str, Any], *, like: str) -> str:
    """Return JSON with the indentation of a text."""
    indents = [line[: len(line) - len(line.lstrip())] for line in like.splitlines()]
    indent = next((each for each in indents if each), "" if "{" in like else "  ")
    if not indent and "\n" not in like.strip():
        end = "\n" if like.endswith("\n") else ""
        return json.dumps(config, ensure_ascii=False) + end
    return json.dumps(config, indent=indent or "  ", ensure_ascii=False) + "\n"
