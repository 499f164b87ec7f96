"""Model hubs: `hf://[models|datasets/|spaces/]org/name[@revision]/path`.

A hub answers a file with a redirect to where it lies, and says before that what the file is:
its commit, and of a large one the SHA-256. The tree of a revision is its listing.
"""

import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp
import msgspec

from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import SourceBrokenError, SourceRefusedError, TaskSpecError
from damselfly.transport.provider import SourceAnswer, Turn
from damselfly.transport.sources.accounts import Accounts
from damselfly.transport.sources.http import HttpReading, HttpSource

T = TypeVar("T")

PUBLIC: Final = "https://huggingface.co"
KINDS: Final = ("models", "datasets", "spaces")
OK: Final = 200
ANSWER_BYTES_MAX: Final = 64 << 20
_NEXT: Final = re.compile(r'<([^>]+)>;\s*rel="next"')


@dataclass(frozen=True, slots=True)
class HubPlace:
    """A file, or with an empty path all of a repository."""

    kind: str
    repository: str
    revision: str
    path: str

    @classmethod
    def parse(cls, spec: TaskSpec) -> "HubPlace":
        """Return what a URL means.

        Raises:
            TaskSpecError: Nothing.
        """
        parts = urlsplit(spec.url)
        words = f"{parts.netloc}{parts.path}".split("/")
        kind = words.pop(0) if words[0] in KINDS else "models"
        if len(words) < 2 or not all(words[:2]):  # noqa: PLR2004  # organisation and name
            expected = "write it as hf://org/name@revision/path or hf://datasets/org/name/path"
            raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
        name, _, revision = words[1].partition("@")
        path = unquote("/".join(words[2:])).strip("/")
        return cls(kind, f"{words[0]}/{name}", unquote(revision) or "main", path)

    def file_url(self, endpoint: str) -> str:
        """Return where the file is."""
        kind = "" if self.kind == "models" else f"{self.kind}/"
        revision = quote(self.revision, safe="")
        return f"{endpoint}/{kind}{self.repository}/resolve/{revision}/{quote(self.path)}"

    def api_url(self, endpoint: str, what: str, *, at: str) -> str:
        """Return where something about the repository at a revision is."""
        return f"{endpoint}/api/{self.kind}/{self.repository}/{what}/{quote(at, safe='')}"


class _Revision(msgspec.Struct):
    sha: str


class _Lfs(msgspec.Struct):
    oid: str
    size: int


class _TreeEntry(msgspec.Struct):
    type: str
    path: str
    oid: str = ""
    size: int = 0
    lfs: _Lfs | None = None


class HubSource:
    """A hub."""

    def __init__(self, http: HttpSource, accounts: Accounts, *, endpoint: str) -> None:
        self._http = http
        self._accounts = accounts
        self._endpoint = endpoint.rstrip("/") or PUBLIC

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> HttpReading:
        """Ask for a file, or a part of it; see `provider.Source`."""
        # The validators are the hub's, of which the server behind its redirect knows nothing:
        # who asks compares what came with what it wanted.
        del validators
        return await self._http.read(self._asked(spec), start_byte=start_byte, stop_byte=stop_byte)

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether the hub still has this version; see `provider.Source`."""
        return await self._http.validate(self._asked(spec), validators)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether the hub would answer; see `provider.Source`."""
        return await self._http.authorise(self._asked(spec))

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """List a repository, or a folder of it, at one commit; see `KindOfSource`."""
        place = HubPlace.parse(spec)
        shown = self._accounts.shown(spec)
        endpoint = self._endpoint_of(spec)
        url = place.api_url(endpoint, "revision", at=place.revision)
        async with turn():
            answer = await self._json(replace(shown, url=url), spec)
        commit = _decoded(answer[0], _Revision, spec).sha
        tree = place.api_url(endpoint, "tree", at=commit)
        if place.path:
            tree += f"/{quote(place.path)}"
        members: list[Member] = []
        async for page in self._pages(replace(shown, url=f"{tree}?recursive=true"), spec, turn):
            members += [
                _member(replace(place, revision=commit), entry)
                for entry in _decoded(page, list[_TreeEntry], spec)
                if entry.type == "file"
            ]
        return members

    async def close(self) -> None:
        """The connections are those of HTTP."""

    async def _pages(self, asked: TaskSpec, spec: TaskSpec, turn: Turn) -> AsyncIterator[bytes]:
        while True:
            async with turn():
                body, link = await self._json(asked, spec)
            yield body
            following = _NEXT.search(link)
            if not following:
                return
            url = urljoin(asked.url, following[1])
            if urlsplit(url)[:2] != urlsplit(asked.url)[:2]:
                reason = "its listing goes on at another server"
                raise SourceBrokenError(url=spec.display_url, reason=reason)
            asked = replace(asked, url=url)

    async def _json(self, asked: TaskSpec, spec: TaskSpec) -> tuple[bytes, str]:
        response = await self._http.ask("GET", asked, {})
        try:
            if response.status != OK:
                raise SourceRefusedError(url=spec.display_url, status=response.status)
            body = await response.content.read(ANSWER_BYTES_MAX)
            while more := await response.content.read(ANSWER_BYTES_MAX - len(body)):
                body += more
        except (aiohttp.ClientError, OSError) as exc:
            raise SourceBrokenError(url=spec.display_url, reason="its answer broke off") from exc
        finally:
            response.close()
        return body, response.headers.get("Link", "")

    def _endpoint_of(self, spec: TaskSpec) -> str:
        return self._accounts.find(spec.url).endpoint or self._endpoint

    def _asked(self, spec: TaskSpec) -> TaskSpec:
        place = HubPlace.parse(spec)
        if not place.path:
            expected = "it names a repository and no file; --recursive is for all that is in it"
            raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
        url = place.file_url(self._endpoint_of(spec))
        return replace(self._accounts.shown(spec), url=url)


def _decoded(data: bytes, kind: type[T], spec: TaskSpec) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as exc:
        reason = "an answer that no hub gives"
        raise SourceBrokenError(url=spec.display_url, reason=reason) from exc


def _member(place: HubPlace, entry: _TreeEntry) -> Member:
    kind = "" if place.kind == "models" else f"{place.kind}/"
    below = entry.path.removeprefix(f"{place.path}/") if place.path else entry.path
    return Member(
        path=below,
        url=f"hf://{kind}{place.repository}@{place.revision}/{quote(entry.path)}",
        size_bytes=entry.lfs.size if entry.lfs else entry.size,
        digest=f"sha256:{entry.lfs.oid}" if entry.lfs else "",
        version=entry.oid,
    )
