"""Registries: do they answer, through the daemon and straight?"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, urlsplit

import msgspec

from damselfly.services.doctor.asking import SYSTEM, UnansweredError, ask, reachable
from damselfly.services.doctor.findings import (
    Finding,
    Scene,
    TriedRegistry,
    failed,
    ok,
    skipped,
    warning,
)
from damselfly.services.engine_setup.plans import Registry
from damselfly.services.options import RegistryOptions
from damselfly.services.registries import Registries, trusts_of
from damselfly.transport.sources.http import Trust

ANSWERS = (200, 401)  # it wants credentials, as many do; that is the engine's business


class _Error(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    errors: list[_Error] = []


def registries_to_try(
    named: Sequence[Registry], known: Iterable[RegistryOptions]
) -> Iterator[TriedRegistry]:
    """Yield those that are named, then the others of the settings, each once.

    Raises:
        RegistryPathError: One of them is no name of a registry.
    """
    known = tuple(known)
    plain = {registry.name: registry.url for registry in named if registry.is_plain_http}
    registries, trusts = Registries(known), trusts_of(known)
    in_settings = {each.name for each in known}
    names = [*(registry.name for registry in named), *(each.name for each in known if each.name)]
    for name in dict.fromkeys(names):
        is_plain = name in plain and name not in in_settings
        urls = (plain[name],) if is_plain else registries.find(name).bases
        yield TriedRegistry(name=name, urls=urls, trusts=trusts)


def check_registries(scene: Scene) -> list[Finding]:
    """Ask each registry both ways."""
    if not scene.registries:
        return [skipped("registry", "none is named; try one with --registry")]
    return [
        finding
        for registry in scene.registries
        for finding in (_straight(registry), _through(registry, scene))
    ]


def _straight(registry: TriedRegistry) -> Finding:
    check = f"registry {registry.name}"
    faults = []
    for url in registry.urls:
        parts = urlsplit(url)
        trust = registry.trusts.get(f"{parts.scheme}://{parts.netloc}", SYSTEM)
        if not (fault := _fault(f"{url}/v2/", trust)):
            return ok(check, f"answers this host on {url}")
        faults.append(f"{url}: {fault}")
    # The SuperNode reads it, not this host: that may well be how the network is meant to be.
    text = f"does not answer this host as a registry: {', '.join(faults)}"
    advice = "open the way to it, if engines shall fall back to it while the daemon is down"
    return warning(check, text, advice)


def _through(registry: TriedRegistry, scene: Scene) -> Finding:
    check = f"registry {registry.name} through the daemon"
    if scene.status is None or not scene.proxy:
        return skipped(check, "the daemon is down" if scene.proxy else "it has no port for engines")
    url = f"http://{reachable(scene.proxy)}/v2/?ns={quote(registry.name)}"
    if fault := _fault(url, SYSTEM):
        advice = "see the daemon's log; its address and CA are settings of the daemon"
        return failed(check, f"does not answer as a registry: {fault}", advice)
    return ok(check, "answers")


def _fault(url: str, trust: Trust) -> str:
    try:
        answer = ask(url, trust)
    except UnansweredError as exc:
        return str(exc)
    if answer.status in ANSWERS:
        return ""
    return f"it says {answer.status} to /v2/{_reason(answer.body)}"


def _reason(body: bytes) -> str:
    """Return what an answer says of itself in the words of registries, and so of our mirror."""
    with contextlib.suppress(msgspec.MsgspecError):
        errors = msgspec.json.decode(body, type=_Refusal).errors
        return "".join(f": {each.message}" for each in errors[:1] if each.message)
    return ""
