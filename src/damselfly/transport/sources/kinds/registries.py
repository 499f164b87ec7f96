"""Images and artifacts: `oci://registry/repo:tag`, a manifest, and all that it names as a folder.

The folder is an OCI image layout, so every tool that reads those can read it. Blobs and
manifests are named by their digests, so they are one swarm with what engines pull.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.members import Member
from damselfly.core.task import Headers, TaskSpec, Validators
from damselfly.core.urls import host_of
from damselfly.errors import (
    RemoteProtocolError,
    SourceBrokenError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.transport.provider import SourceAnswer, Turn
from damselfly.transport.sources.accounts import Accounts, basic, user_of
from damselfly.transport.sources.chunks import read_whole
from damselfly.transport.sources.http import HttpReading, HttpSource
from damselfly.wire.challenges import parse_challenge, token_url
from damselfly.wire.manifest_children import MANIFEST_TYPES, children_of
from damselfly.wire.manifests import MANIFEST_BYTES_MAX, OCI_INDEX, media_type_of
from damselfly.wire.registry_paths import Kind, RegistryPath, parse_image_path

T = TypeVar("T")

OK, UNAUTHORIZED = 200, 401
TOKENS_MAX: Final = 256
DEPTH_MAX: Final = 4  # an index of indexes is rare, a deeper one is a trap
ACCEPTED: Final = ", ".join((*MANIFEST_TYPES, "*/*"))
LAYOUT: Final = '{"imageLayoutVersion":"1.0.0"}'


class FindUrls(Protocol):
    """Knows where registries are."""

    def __call__(self, registry: str, path: RegistryPath) -> Sequence[str]:
        """Return the URLs at which a path of a registry can be had, the first to try first."""


class RegistrySource:
    """Registries."""

    def __init__(self, http: HttpSource, accounts: Accounts, *, find_urls: FindUrls) -> None:
        self._http = http
        self._accounts = accounts
        self._find_urls = find_urls
        # {(registry, repository, credentials): header}; of those that gave or want one.
        self._logins: dict[tuple[str, str, Headers], Headers] = {}

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> HttpReading:
        """Ask for a manifest or a blob; see `provider.Source`."""

        async def ask(asked: TaskSpec) -> HttpReading:
            return await self._http.read(
                asked, start_byte=start_byte, stop_byte=stop_byte, validators=validators
            )

        return await self._logged_in(spec, ask)

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether a tag still means the same; see `provider.Source`."""
        return await self._answer(spec, lambda asked: self._http.validate(asked, validators))

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether the registry would answer; see `provider.Source`."""
        return await self._answer(spec, self._http.authorise)

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """List the image layout of a manifest and all that it names; see `KindOfSource`."""
        place = _place_of(spec)
        base = f"oci://{host_of(spec.url)}/{place.name}"
        found: dict[str, Member] = {}
        top, media_type, size = await self._walk(spec, base, found, turn=turn, depth=0)
        reference = {"org.opencontainers.image.ref.name": place.tag} if place.tag else {}
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {
                    "mediaType": media_type,
                    "digest": str(top),
                    "size": size,
                    **({"annotations": reference} if reference else {}),
                }
            ],
        }
        texts = {"oci-layout": LAYOUT, "index.json": msgspec.json.encode(index).decode()}
        members = [
            Member(path=path, url="", size_bytes=len(text), text=text)
            for path, text in texts.items()
        ]
        return [*members, *found.values()]

    async def close(self) -> None:
        """The connections are those of HTTP."""
        self._logins.clear()

    async def _walk(
        self, spec: TaskSpec, base: str, found: dict[str, Member], *, turn: Turn, depth: int
    ) -> tuple[Digest, str, int]:
        """Find a manifest and all that it names; return what an index says of it."""
        if depth > DEPTH_MAX:
            reason = "its indexes name indexes without end"
            raise SourceBrokenError(url=spec.display_url, reason=reason)
        async with turn(), await self.read(spec) as reading:
            body = await read_whole(reading, bytes_max=MANIFEST_BYTES_MAX, url=spec.display_url)
        digest = Digest("sha256", hashlib.sha256(body).hexdigest())
        try:
            media_type = media_type_of(body)
            children = children_of(body)
        except RemoteProtocolError as exc:
            raise SourceBrokenError(url=spec.display_url, reason=str(exc)) from exc
        found[str(digest)] = _member(f"{base}@{digest}", digest, len(body))
        for blob in children.blobs:
            url = f"{base}/blobs/{blob.digest}"
            found[str(blob.digest)] = _member(url, blob.digest, blob.size_bytes)
        for image in children.images:
            if str(image.digest) not in found:
                below = replace(spec, url=f"{base}@{image.digest}")
                await self._walk(below, base, found, turn=turn, depth=depth + 1)
        return digest, media_type, len(body)

    async def _answer(
        self, spec: TaskSpec, ask: Callable[[TaskSpec], Awaitable[SourceAnswer]]
    ) -> SourceAnswer:
        async def asked_and_raised(asked: TaskSpec) -> SourceAnswer:
            answer = await ask(asked)
            if answer.status == UNAUTHORIZED:
                raise SourceRefusedError(
                    url=spec.display_url, status=UNAUTHORIZED, http_headers=answer.http_headers
                )
            return answer

        try:
            return await self._logged_in(spec, asked_and_raised)
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)

    async def _logged_in(self, spec: TaskSpec, ask: Callable[[TaskSpec], Awaitable[T]]) -> T:
        """Ask the registry of an image; log in if it wants that."""
        place = _place_of(spec)
        registry = host_of(spec.url)
        user = user_of(spec, self._accounts.find(spec.url))
        own = (basic(*user),) if user[0] else ()
        given = [pair for pair in spec.headers if pair[0].lower() == "authorization"] or own
        key = (registry, place.name, tuple(given))
        others = [pair for pair in spec.headers if pair[0].lower() != "authorization"]
        error: SourceError | None = None
        for url in self._find_urls(registry, place):
            shown = (*others, ("Accept", ACCEPTED), *self._logins.get(key, tuple(given)))
            asked = TaskSpec(url=url, headers=shown)
            try:
                try:
                    return await ask(asked)
                except SourceRefusedError as exc:
                    if exc.status != UNAUTHORIZED:
                        raise
                    login = await self._log_in(exc, place.name, tuple(given))
                    if not login:
                        raise
                    if len(self._logins) >= TOKENS_MAX:
                        self._logins.clear()
                    self._logins[key] = login
                    return await ask(
                        replace(asked, headers=(*others, ("Accept", ACCEPTED), *login))
                    )
            except SourceUnreachableError as exc:
                error = error or exc
        assert error is not None
        raise error

    async def _log_in(
        self, refusal: SourceRefusedError, repository: str, given: Headers
    ) -> Headers:
        """Return the header that a registry wants instead; nothing: it wants what we have not."""
        lines = [value for name, value in refusal.http_headers if name == "WWW-Authenticate"]
        scheme, words = parse_challenge(lines)
        if scheme != "bearer" or not words.get("realm"):
            return ()
        url = token_url(words, [f"repository:{repository}:pull"])
        bearer = [pair for pair in given if pair[1].lower().startswith("bearer ")]
        asked = TaskSpec(url=url, headers=() if bearer else given)
        with suppress(msgspec.MsgspecError, SourceRefusedError):
            async with await self._http.read(asked) as reading:
                body = await read_whole(reading, bytes_max=1 << 20, url=asked.display_url)
            told = msgspec.json.decode(body, type=dict[str, object])
            token = told.get("token") or told.get("access_token")
            if isinstance(token, str) and token:
                return (("Authorization", f"Bearer {token}"),)
        return ()


def _place_of(spec: TaskSpec) -> RegistryPath:
    place = parse_image_path(urlsplit(spec.url).path)
    assert place.kind in (Kind.MANIFEST, Kind.BLOB)
    return place


def _member(url: str, digest: Digest, size: int) -> Member:
    path = f"blobs/{digest.algorithm}/{digest.value}"
    size_bytes = size if size >= 0 else None
    return Member(path=path, url=url, size_bytes=size_bytes, digest=str(digest))
