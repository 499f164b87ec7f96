"""Web servers, with the accounts of the settings; a folder is what its index pages lead to."""

import asyncio
import string
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import replace
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from damselfly.core.members import Member, is_safe_path
from damselfly.core.task import TaskSpec, Validators
from damselfly.core.urls import display_url
from damselfly.errors import SourceBrokenError
from damselfly.transport.provider import SourceAnswer, SourceReading, Turn
from damselfly.transport.sources.accounts import Accounts
from damselfly.transport.sources.chunks import read_whole
from damselfly.transport.sources.http import HttpSource
from damselfly.wire.index_pages import Link, parse_index_page

PAGES_MAX: Final = 10_000  # a page that links to ever new folders must end somewhere
PAGES_AT_A_TIME: Final = 8
PAGE_BYTES_MAX: Final = 64 << 20  # 100,000 files of nginx have some 10 MB

ReadPage = Callable[[TaskSpec], Coroutine[None, None, bytes]]


class WebSource:
    """HTTP, with the accounts of the settings, and folders by their index pages."""

    def __init__(self, http: HttpSource, accounts: Accounts) -> None:
        self._http = http
        self._accounts = accounts

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> SourceReading:
        """Ask for a content, or a part of it; see `provider.Source`."""
        return await self._http.read(
            self._accounts.shown(spec),
            start_byte=start_byte,
            stop_byte=stop_byte,
            validators=validators,
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether it still has this version; see `provider.Source`."""
        return await self._http.validate(self._accounts.shown(spec), validators)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether it would answer; see `provider.Source`."""
        return await self._http.authorise(self._accounts.shown(spec))

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """Follow index pages downwards; see `KindOfSource`."""

        async def read_page(page: TaskSpec) -> bytes:
            async with turn(), await self.read(page) as reading:
                return await read_whole(reading, bytes_max=PAGE_BYTES_MAX, url=page.display_url)

        try:
            return await list_web_folder(spec, read_page)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()


async def list_web_folder(spec: TaskSpec, read_page: ReadPage) -> list[Member]:
    """Return the files below an index page.

    Raises:
        SourceError: A page cannot be had, or there is no end to them.
    """
    top = replace(spec, url=_folder(spec.url))
    members: list[Member] = []
    seen, waiting = {top.url}, [top.url]
    while waiting:
        now, waiting = waiting[:PAGES_AT_A_TIME], waiting[PAGES_AT_A_TIME:]
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(read_page(replace(spec, url=url))) for url in now]
        for url, page in zip(now, reading, strict=True):
            for link in parse_index_page(page.result().decode("utf-8", "replace")):
                below = _below(top.url, url, link)
                if below is None or below in seen:
                    continue
                seen.add(below)
                if below.endswith("/"):
                    waiting.append(below)
                elif (member := _member(top.url, below, link)) is not None:
                    members.append(member)
        if len(seen) - len(members) > PAGES_MAX:
            reason = f"more than {PAGES_MAX} index pages"
            raise SourceBrokenError(url=display_url(spec.url), reason=reason)
    return members


def _folder(url: str) -> str:
    path, question, query = url.partition("?")
    return path + ("" if path.endswith("/") else "/") + question + query


def _below(top: str, page: str, link: Link) -> str | None:
    """Return where a link leads, if that is below the top."""
    if link.href.startswith(("?", "#")):
        return None  # the same page in another order
    try:
        url = urljoin(page.partition("?")[0], link.href.strip()).partition("#")[0]
    except ValueError:  # it leads nowhere
        return None
    if "?" in url or not _path_below(top, url):
        return None
    return quote(url, safe=string.punctuation)  # as browsers send what a page left as it is


def _path_below(top: str, url: str) -> str:
    """Return the path of a link below the top, with nothing encoded; empty: it is not there.

    A page may encode more or less than the user did who wrote the address of the top.
    """
    base = unquote(urljoin(top.partition("?")[0], "."))
    below = unquote(url)
    return below.removeprefix(base) if below.startswith(base) else ""


def _member(top: str, url: str, link: Link) -> Member | None:
    path = _path_below(top, url)
    if not is_safe_path(path):
        return None
    userless = urlsplit(url)
    address = userless._replace(netloc=userless.netloc.rpartition("@")[2]).geturl()
    return Member(path=path, url=address, size_bytes=link.size_bytes, version=link.date)
