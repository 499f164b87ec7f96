"""Logging in to registries, to read there without anybody who asks.

With what the settings have for a registry, or with nothing: many registries give what is
public only to who has fetched a token first.
"""

import asyncio
import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from damselfly.clock import now_s
from damselfly.core.task import Headers, TaskSpec
from damselfly.errors import SettingsError, SourceBrokenError, SourceRefusedError
from damselfly.services.options import RegistryOptions
from damselfly.services.preheating.bodies import read_body
from damselfly.services.registries import Registry
from damselfly.transport.sources.http import HttpSource
from damselfly.wire.challenges import parse_challenge, token_url
from damselfly.wire.registry_paths import Kind, RegistryPath

OK, UNAUTHORIZED = 200, 401
TOKEN_BYTES_MAX: Final = 1 << 20
TOKENS_MAX: Final = 1000
VALID_S: Final = 60.0  # what a token is good for if its giver does not say (Docker's rule)
MARGIN_S: Final = 10.0


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = VALID_S


class Logins:
    """Knows how to log in to registries; tokens are remembered while they are good."""

    def __init__(self, known: Iterable[RegistryOptions], source: HttpSource) -> None:
        self._files = {each.name: each.auth_file for each in known if each.auth_file}
        self._source = source
        # {(URL of the registry, repository): headers, and until when they are good}.
        self._headers: dict[tuple[str, str], tuple[Headers, float]] = {}

    async def headers_for(self, registry: Registry, base: str, path: RegistryPath) -> Headers:
        """Return what a registry is shown, to read a repository.

        Raises:
            SettingsError: The file with the credentials cannot be read.
            SourceError: The registry, or who gives its tokens, does not answer.
        """
        key = (base, path.name)
        headers, until_s = self._headers.get(key, ((), 0.0))
        if now_s() >= until_s:
            given = await asyncio.to_thread(self._given, registry.name)
            headers, valid_s = await self._log_in(registry, base, path, given)
            if len(self._headers) >= TOKENS_MAX:
                self._headers.clear()
            self._headers[key] = (headers, now_s() + valid_s - MARGIN_S)
        return headers

    def _given(self, name: str) -> str:
        """Return the value of an Authorization header with what the settings have, or nothing."""
        file = self._files.get(name, "")
        if not file:
            return ""
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            expected = f"{file} cannot be read: {getattr(exc, 'strerror', exc)}"
            raise SettingsError(
                where="supernode", key="registries.auth_file", expected=expected
            ) from exc
        if ":" not in text:
            return f"Bearer {text}"
        return f"Basic {base64.b64encode(text.encode()).decode()}"

    async def _log_in(
        self, registry: Registry, base: str, path: RegistryPath, given: str
    ) -> tuple[Headers, float]:
        if given.startswith("Bearer "):
            return (("Authorization", given),), VALID_S
        told = await self._source.ask("GET", TaskSpec(url=f"{base}/v2/"), {})
        told.close()
        if told.status != UNAUTHORIZED:
            return (), VALID_S
        scheme, words = parse_challenge(told.headers.getall("WWW-Authenticate", ()))
        if scheme != "bearer":
            return ((("Authorization", given),) if given else ()), VALID_S
        theirs = registry.url("", RegistryPath(kind=Kind.TAGS, name=path.name))
        repository = theirs.removeprefix("/v2/").removesuffix("/tags/list")
        return await self._token(words, f"repository:{repository}:pull", given)

    async def _token(self, words: dict[str, str], scope: str, given: str) -> tuple[Headers, float]:
        url = token_url(words, [scope])
        spec = TaskSpec(url=url, headers=(("Authorization", given),) if given else ())
        told = await self._source.ask("GET", spec, {})
        try:
            if told.status != OK:
                raise SourceRefusedError(url=spec.display_url, status=told.status)
            body = await read_body(told, spec, bytes_max=TOKEN_BYTES_MAX)
            token = msgspec.json.decode(body, type=_Token)
        except msgspec.MsgspecError as exc:
            reason = "a token that is none"
            raise SourceBrokenError(url=spec.display_url, reason=reason) from exc
        finally:
            told.close()
        value = token.token or token.access_token
        return (("Authorization", f"Bearer {value}"),), max(token.expires_in, VALID_S)
