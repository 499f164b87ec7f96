"""Logging in to a registry that only the name of a repository names: Podman, CRI-O, skopeo.

They ask `GET /v2/` once and take from its answer alone how to log in; but that question names
no registry. So the mirror answers with a challenge of its own, whose tokens each registry's own
way of logging in is translated into: they ask for a token with the name of the repository and
the user's credentials, and get

- the registry's own token, where the registry has tokens;
- the credentials themselves, wrapped, where it wants them with each request;
- a token that says nothing, where it wants none, or is down: the swarm may still have what
  is public.

Nothing is kept: what a token stands for is in it, and only the engine that asked for it has it.
"""

import contextlib
import re
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from damselfly.core.task import TaskSpec
from damselfly.core.urls import display_url
from damselfly.errors import RegistryPathError, SourceError
from damselfly.faces.proxy.reach import Reach
from damselfly.faces.proxy.registry_answers import pass_on
from damselfly.services.registries import Registries, Registry
from damselfly.transport.sources.http import HttpSource
from damselfly.wire.challenges import parse_challenge, token_url
from damselfly.wire.registry_paths import Kind, RegistryPath, parse_registry_path

TOKEN_PATH: Final = "/v2/token"  # noqa: S105  # a path; no repository can have this one
SERVICE: Final = "damselfly"
OK, UNAUTHORIZED = 200, 401

_NOTHING: Final = "damselfly-nothing"
_BASIC: Final = "damselfly-basic-"
_VALID_S: Final = 300  # clients take a minute at least; longer saves nothing
_PUBLIC_HOST: Final = re.compile(r"[\w.:\[\]-]+")
_PASSED: Final = ("account", "client_id", "offline_token")
VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}

_UNSAID: Final = {"Cache-Control": "no-store"}


def welcome(request: web.Request) -> web.Response:
    """Return the answer to `GET /v2/`: tokens are to be had here; with one it is well."""
    if request.headers.get("Authorization", "").startswith("Bearer "):
        return web.json_response({}, headers=VERSION)
    host = request.host if _PUBLIC_HOST.fullmatch(request.host) else "localhost"
    words = f'Bearer realm="http://{host}{TOKEN_PATH}",service="{SERVICE}"'
    return web.json_response(
        {"errors": [{"code": "UNAUTHORIZED", "message": "a token is to be had at the realm"}]},
        status=UNAUTHORIZED,
        headers={"WWW-Authenticate": words, **VERSION},
    )


def for_registry(authorization: str) -> str:
    """Return an Authorization as the registry knows it; empty: none."""
    token = authorization.removeprefix("Bearer ")
    if token == _NOTHING:
        return ""
    if token.startswith(_BASIC):
        return f"Basic {token.removeprefix(_BASIC)}"
    return authorization


class RegistryTokens:
    """Gives tokens for repositories whose names begin with their registry."""

    def __init__(self, registries: Registries, reach: Reach, *, default: str) -> None:
        self._registries = registries
        self._reach = reach
        self._default = default

    async def give(self, request: web.Request) -> web.StreamResponse:
        """Answer with a token for the repositories of the request.

        Raises:
            RegistryPathError: They are no names, or of several registries.
            SourceError: Who gives the registry's tokens does not answer.
        """
        if request.method != "GET":
            raise RegistryPathError(code="UNSUPPORTED", reason="ask by GET", status=405)
        scopes = request.query.getall("scope", [])
        if not scopes:  # a login that is for no repository yet; whose could it be?
            return _token(_NOTHING)
        registry, theirs = self._understood(scopes)
        source = self._reach.source_for(request, registry)
        scheme, words = await _challenge(registry, source)
        given = request.headers.get("Authorization", "")
        if scheme == "bearer":
            passed = [(name, request.query[name]) for name in _PASSED if name in request.query]
            url = token_url(words, theirs, passed)
            spec = TaskSpec(url=url, headers=(("Authorization", given),) if given else ())
            told = await source.ask("GET", spec, {})
            return await pass_on(request, told, headers=_UNSAID, url=display_url(url))
        if scheme == "basic" and given.startswith("Basic "):
            return _token(_BASIC + given.removeprefix("Basic "))
        return _token(_NOTHING)

    def _understood(self, scopes: Iterable[str]) -> tuple[Registry, list[str]]:
        """Return the registry that scopes are about, and the scopes as it knows them.

        A scope that names none is of the same: it is from a challenge that the registry sent.
        """
        named = set()
        theirs = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            path = parse_registry_path(str(RegistryPath(kind=Kind.TAGS, name=name)))
            registry, name = path.split_registry()
            if registry:
                named.add(registry)
                prefix = self._registries.find(registry).prefix
                name = f"{prefix}/{name}" if prefix else name
            theirs.append(f"{kind}:{name}:{actions}")
        if len(named) > 1:
            reason = "one token is for one registry"
            raise RegistryPathError(code="NAME_INVALID", reason=reason)
        registry = next(iter(named), self._default)
        return self._registries.find(registry), list(dict.fromkeys(theirs))


async def _challenge(registry: Registry, source: HttpSource) -> tuple[str, dict[str, str]]:
    """Return how a registry wants to be logged in to, and the words of its challenge."""
    for base in registry.bases:
        url = registry.url(base, RegistryPath(kind=Kind.BASE))
        with contextlib.suppress(SourceError):
            told = await source.ask("GET", TaskSpec(url=url), {})
            told.close()
            if told.status in (OK, UNAUTHORIZED):
                return parse_challenge(told.headers.getall("WWW-Authenticate", ()))
    return "", {}


def _token(token: str) -> web.Response:
    body = {"token": token, "access_token": token, "expires_in": _VALID_S}
    return web.json_response(body, headers=_UNSAID)
