"""The registry mirror: a container engine asks here for what its registry has.

Which registry is meant says, in this order: `?ns=` (containerd), a first part of the name
that looks like a host (Podman, CRI-O), the header `X-Registry`, the settings.

Blobs, and manifests by digest, come through the swarm. What a tag means is asked of the
registry each time, by HEAD; the manifest then comes by its digest. All else is passed on.
The engine's credentials go to the registry with what it asks for, and its challenge goes
back; the mirror has none of its own. Where a question names no registry, `registry_tokens`
helps an engine to log in all the same.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp
from aiohttp import web

from damselfly.clock import now_s
from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec
from damselfly.core.urls import display_url
from damselfly.errors import (
    DamselflyError,
    RegistryPathError,
    RemoteProtocolError,
    SourceError,
    SourceUnreachableError,
    StorageError,
    TaskSpecError,
)
from damselfly.faces.proxy.answering import (
    FROM_HEADER,
    OK,
    UNCHANGED,
    answer,
    has_already,
    log_answer,
    told_from,
    unchanged,
)
from damselfly.faces.proxy.asked import Asked
from damselfly.faces.proxy.pushing import Pushing
from damselfly.faces.proxy.reach import Reach
from damselfly.faces.proxy.registry_answers import pass_on, refusal
from damselfly.faces.proxy.registry_tokens import (
    TOKEN_PATH,
    VERSION,
    RegistryTokens,
    welcome,
)
from damselfly.services.downloading.content import Content
from damselfly.services.downloading.downloads import Downloads
from damselfly.services.options import MirrorOptions
from damselfly.services.registries import Registries
from damselfly.telemetry.log import get_log
from damselfly.transport.sources.http import HttpSource, refused
from damselfly.wire.local_messages import DownloadRequest
from damselfly.wire.manifests import MANIFEST_BYTES_MAX, media_type_of
from damselfly.wire.registry_paths import Kind, RegistryPath, parse_registry_path
from damselfly.wire.session_messages import Pushed
from damselfly.wire.upload_paths import is_upload_path, parse_push_path

PUSHING: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
REFUSALS: Final = range(400, 600)
TOO_MANY: Final = 429
SAID_TO_BOTH: Final = (401, TOO_MANY)  # to a GET as to a HEAD
SERVER_ERRORS: Final = 500
LOGGED_CHARS_MAX: Final = 200  # of a path that may be anything
TAGS_REMEMBERED_MAX: Final = 10_000  # some hundred bytes each

# What of an engine's request a registry is asked with. Ranges are answered here, and only
# passed on with what is passed on.
_ASKED_WITH: Final = ("Authorization", "Accept")
_PASSED_WITH: Final = ("If-None-Match", "If-Range", "Range", "User-Agent")

log = get_log()


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a tag means: a manifest, and its type."""

    digest: Digest
    media_type: str


class Mirror:
    """Answers for registries."""

    def __init__(
        self,
        options: MirrorOptions,
        registries: Registries,
        *,
        downloads: Downloads,
        source: HttpSource,
        on_pushed: Callable[[Pushed], None],
    ) -> None:
        self._options = options
        self._registries = registries
        self._downloads = downloads
        self._reach = Reach(source)
        self._tokens = RegistryTokens(registries, self._reach, default=options.default)
        self._pushing = Pushing(on_pushed)
        # {(registry, repository, tag, Accept): what it last meant}, oldest first.
        self._meanings: dict[tuple[str, str, str, str], Meaning] = {}

    async def close(self) -> None:
        """Close its own connections."""
        await self._reach.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever comes."""
        path: RegistryPath | None = None
        try:
            if request.path == TOKEN_PATH:
                return await self._tokens.give(request)
            if request.method not in ("GET", "HEAD") or is_upload_path(request.rel_url.raw_path):
                return await self._push(request)
            path = parse_registry_path(request.rel_url.raw_path)
            return await self._answer(self._understood(request, path))
        except DamselflyError as exc:
            # What a registry or the mirror refuses is for the engine, not for the operator.
            tell = log.warning if exc.http_status >= SERVER_ERRORS else log.info
            tell(
                "answer_failed",
                path=request.rel_url.raw_path[:LOGGED_CHARS_MAX],
                error=type(exc).__name__,
                reason=str(exc),
            )
            return refusal(exc, path)

    def _understood(self, request: web.Request, path: RegistryPath) -> Asked:
        query = parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True)
        named = ns = next((value for name, value in query if name == "ns"), "")
        name = path.name
        if not named and path.name:
            named, name = path.split_registry()
        if not named and (told := request.headers.get("X-Registry", "")):
            named = told.partition("://")[2].partition("/")[0] if "://" in told else told
        registry = self._registries.find(named or self._options.default)
        return Asked(
            request=request,
            registry=registry,
            source=self._reach.source_for(request, registry),
            path=replace(path, name=name),
            query=urlencode([(key, value) for key, value in query if key != "ns"]),
            ns=ns,
            name=path.name,
            is_named=bool(named),
        )

    async def _push(self, request: web.Request) -> web.StreamResponse:
        """Pass on what is put into a registry; its rights are the registry's own."""
        if not self._options.pushes or request.method not in PUSHING:
            reason = "this mirror takes no pushes; push to the registry itself"
            raise RegistryPathError(code="UNSUPPORTED", reason=reason, status=405)
        path = parse_push_path(request.rel_url.raw_path)
        asked = self._understood(request, path.repository)
        return await self._pushing.carry_out(asked, path)

    async def _answer(self, asked: Asked) -> web.StreamResponse:
        path = asked.path
        if path.kind is Kind.BASE and not self._is_base_meant(asked):
            return welcome(asked.request)
        if path.digest is not None and path.kind in (Kind.BLOB, Kind.MANIFEST):
            return await self._by_digest(asked, path.digest)
        if path.kind is Kind.MANIFEST:
            return await self._by_tag(asked)
        return await self._passed(asked)

    @staticmethod
    def _is_base_meant(asked: Asked) -> bool:
        """Say whether a question about `/v2/` can be passed on.

        It names no repository, so an engine whose mirror has the registry in the name says
        nothing here, and gets the challenge of the mirror itself. Docker has no such names: it
        always means the default.
        """
        agent = asked.request.headers.get("User-Agent", "")
        return asked.is_named or agent.startswith("docker/")

    # --- from the registry itself

    async def _passed(self, asked: Asked) -> web.StreamResponse:
        """Pass a request on, and its answer back."""
        told, url = await self._ask(asked, asked.request.method)
        return await self._pass_on(asked, told, url)

    async def _pass_on(
        self, asked: Asked, told: aiohttp.ClientResponse, url: str
    ) -> web.StreamResponse:
        headers = dict(VERSION)
        if link := told.headers.get("Link"):
            headers["Link"] = _link_here(link, asked)
        return await pass_on(asked.request, told, headers=headers, url=display_url(url))

    async def _ask(self, asked: Asked, method: str) -> tuple[aiohttp.ClientResponse, str]:
        """Ask the registry, its mirrors first; return the last one's answer if none is good.

        Raises:
            SourceError: There is no answer.
        """
        error: SourceError | None = None
        told: aiohttp.ClientResponse | None = None
        url = ""
        for base in asked.registry.bases:
            url = asked.registry.url(base, asked.path, asked.query)
            spec = TaskSpec(url=url, headers=asked.headers(*_ASKED_WITH, *_PASSED_WITH))
            try:
                told = await asked.source.ask(method, spec, {})
            except SourceError as exc:
                error, told = exc, None
                continue
            if told.status not in REFUSALS or base == asked.registry.bases[-1]:
                break
            told.close()
        if told is None:
            assert error is not None
            raise error
        return told, url

    # --- tags

    async def _by_tag(self, asked: Asked) -> web.StreamResponse:
        """Ask the registry what a tag means now, and answer with the manifest.

        Raises:
            SourceError: It does not answer, and what it last meant may not be served.
        """
        try:
            told, url = await self._ask(asked, "HEAD")
        except SourceUnreachableError:
            meaning = self._last_meaning(asked)
            if meaning is None:
                raise
            log.warning("stale_tag", registry=asked.registry.name, path=str(asked.path))
            return await self._mean(asked, meaning)
        meaning = _meaning(told)
        if meaning is not None:
            self._remember(asked, meaning)
            headers = _headers_of(meaning.digest, meaning.media_type)
            if has_already(asked.request, headers["ETag"]):
                told.close()
                return unchanged(headers)
        if asked.request.method == "HEAD" or told.status == UNCHANGED:
            return await self._pass_on(asked, told, url)
        told.close()
        if told.status in SAID_TO_BOTH:
            raise refused(told, display_url(url))
        if meaning is None:  # another refusal, or a registry that does not tell digests
            return await self._passed(asked)
        return await self._mean(asked, meaning)

    async def _mean(self, asked: Asked, meaning: Meaning) -> web.StreamResponse:
        path = replace(asked.path, tag="", digest=meaning.digest)
        asked = replace(asked, path=path)
        return await self._through_the_swarm(asked, meaning.digest, meaning.media_type)

    def _key(self, asked: Asked) -> tuple[str, str, str, str]:
        accepted = ",".join(value for _, value in asked.headers("Accept"))
        return asked.registry.name, asked.path.name, asked.path.tag, accepted

    def _remember(self, asked: Asked, meaning: Meaning) -> None:
        if not self._options.serve_stale_tags:
            return
        self._meanings.pop(self._key(asked), None)
        self._meanings[self._key(asked)] = meaning
        if len(self._meanings) > TAGS_REMEMBERED_MAX:
            del self._meanings[next(iter(self._meanings))]

    def _last_meaning(self, asked: Asked) -> Meaning | None:
        return self._meanings.get(self._key(asked)) if self._options.serve_stale_tags else None

    # --- contents by digest

    async def _by_digest(self, asked: Asked, digest: Digest) -> web.StreamResponse:
        # The swarm may have what no registry can be asked about: what was preheated outlives it.
        with contextlib.suppress(SourceUnreachableError):
            if (told := await self._by_head(asked, digest)) is not None:
                return told
        return await self._through_the_swarm(asked, digest)

    async def _through_the_swarm(
        self, asked: Asked, digest: Digest, media_type: str = ""
    ) -> web.StreamResponse:
        """Answer with a content by its digest, with the type that the registry told, if it did."""
        try:
            if asked.path.kind is Kind.MANIFEST:
                return await self._manifest(asked, digest, media_type)
            async with self._content(asked) as content:
                return await answer(asked.request, content, _headers_of(digest))
        except StorageError as exc:  # a full disk is no reason to fail a pull
            log.warning("passed_uncached", path=str(asked.path), reason=str(exc))
            return await self._passed(asked)

    async def _by_head(self, asked: Asked, digest: Digest) -> web.StreamResponse | None:
        """Ask the registry about what nobody needs the bytes of.

        A HEAD is the registry's to answer, also about what is here: who pushes asks so which
        blobs a repository lacks, and what we have may be from another one.

        Returns:
            None: the bytes are needed, or the registry cannot say, and we have them.

        Raises:
            SourceUnreachableError: It does not answer.
        """
        is_head, headers = asked.request.method == "HEAD", _headers_of(digest)
        has_it = has_already(asked.request, headers["ETag"])
        if not (is_head or has_it):
            return None
        is_held = self._downloads.is_held(_requests(asked)[0])
        if is_held and not is_head:
            return None
        told, url = await self._ask(asked, "HEAD")
        is_able = told.status < SERVER_ERRORS and told.status != TOO_MANY
        if is_head and not (has_it and told.status == OK) and (is_able or not is_held):
            return await self._pass_on(asked, told, url)
        told.close()
        return unchanged(headers) if told.status in (OK, UNCHANGED) else None

    async def _manifest(self, asked: Asked, digest: Digest, media_type: str) -> web.StreamResponse:
        """Answer with a manifest, whose type is told by the registry or by itself."""
        started_s = now_s()
        async with self._content(asked) as content:
            body = await content.read_all(bytes_max=MANIFEST_BYTES_MAX)
            log_answer(content, outcome="finished", seconds=now_s() - started_s)
            told = told_from(content)
        try:
            headers = _headers_of(digest, media_type or media_type_of(body))
        except RemoteProtocolError:
            return await self._passed(asked)  # only the registry knows what this is
        if has_already(asked.request, headers["ETag"]):
            return unchanged(headers)
        return web.Response(body=body, headers={**headers, FROM_HEADER: told})

    @contextlib.asynccontextmanager
    async def _content(self, asked: Asked) -> AsyncIterator[Content]:
        """Give what is asked for, from the registry's mirrors first.

        Raises:
            DamselflyError: None of them has it.
        """
        *mirrors, itself = _requests(asked)
        async with contextlib.AsyncExitStack() as stack:
            content: Content | None = None
            for request in mirrors:
                with contextlib.suppress(SourceError):
                    content = await stack.enter_async_context(self._downloads.read(request))
                    break
            if content is None:
                content = await stack.enter_async_context(self._downloads.read(itself))
            yield content


def _requests(asked: Asked) -> list[DownloadRequest]:
    """Return how a content is asked for, at each base of its registry."""
    names = _ASKED_WITH if asked.path.kind is Kind.MANIFEST else _ASKED_WITH[:1]
    return [
        DownloadRequest(
            url=asked.registry.url(base, asked.path),
            digest=str(asked.path.digest),
            headers=tuple(f"{name}: {value}" for name, value in asked.headers(*names)),
        )
        for base in asked.registry.bases
    ]


def _link_here(link: str, asked: Asked) -> str:
    """Return a link to the next page of a list, by the name that the list has here."""
    theirs = asked.registry.url("", replace(asked.path, kind=Kind.TAGS)).removesuffix("tags/list")
    link = re.sub(rf"<[^>]*{re.escape(theirs)}", f"</v2/{asked.name}/", link)
    if not asked.ns:
        return link
    named = f"ns={quote(asked.ns, safe='')}"
    return re.sub(r"<([^>?]*)\??([^>]*)>", rf"<\1?{named}&\2>", link)


def _headers_of(digest: Digest, media_type: str = "application/octet-stream") -> dict[str, str]:
    return {
        "Content-Type": media_type,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        **VERSION,
    }


def _meaning(told: aiohttp.ClientResponse) -> Meaning | None:
    """Return what a registry said that a tag means, None if it said nothing of use."""
    media_type = told.headers.get("Content-Type", "")
    if told.status != OK or not media_type:
        return None
    try:
        return Meaning(Digest.parse(told.headers.get("Docker-Content-Digest", "")), media_type)
    except TaskSpecError:
        return None
