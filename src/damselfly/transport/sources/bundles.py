"""Bundles as contents: the small files of a listing, read one after another as if one file.

The files are asked for some at a time, and given in order. Which version a bundle is follows
from its listing: lengths, digests, ETags or dates. A file that is not as it was listed ends the
reading, and the next one begins with a new listing. One that is not what its digest or checksum
promises ends it, too, before any of its bytes are given.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from damselfly.core.bundling import BundleAddress, split
from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.core.urls import shown_at
from damselfly.errors import SourceBrokenError, SourceChangedError, SourceRefusedError
from damselfly.transport.provider import Source, SourceAnswer
from damselfly.transport.sources.chunks import ChunkReading, answer_for, read_whole
from damselfly.transport.sources.listings import RecentListings
from damselfly.wire.bundles import encode_head
from damselfly.wire.hashing import other_than_told

OK, PARTIAL, NOT_FOUND = 200, 206, 404
OF_ONE_RIGHT: Final = ("s3", "gs", "az", "hf", "oci", "file")  # who may read a file may read all
FILES_AHEAD: Final = 16  # hides a round trip of 20 ms behind 10 KB files at 8 MB/s
STALL_S: Final = 3600.0  # a file may wait for its turn; when it stalls, its source says so


@dataclass(frozen=True, slots=True)
class _Bundle:
    """What one bundle is now."""

    folder: TaskSpec
    members: tuple[Member, ...]
    head: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.head) + sum(member.size_bytes or 0 for member in self.members)

    def answer(self) -> SourceAnswer:
        value = hashlib.sha256(self.head).hexdigest()
        return SourceAnswer(
            status=OK,
            size_bytes=self.size_bytes,
            stop_byte=self.size_bytes,
            validators=Validators(etag=f'"{value}"'),
            accepts_ranges=True,
        )


class BundleSource:
    """Reads bundles from sources that can list."""

    def __init__(self, sources: Source, listings: RecentListings) -> None:
        self._sources = sources
        self._listings = listings

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> ChunkReading:
        """Begin to read a bundle, or a part of it; see `provider.Source`."""
        bundle = await self._find(spec)
        answer = answer_for(
            bundle.answer(),
            start_byte=start_byte,
            stop_byte=stop_byte,
            validators=validators,
            url=spec.display_url,
        )
        return ChunkReading(
            answer,
            self._pieces(bundle, answer.start_byte, answer.stop_byte or 0),
            url=spec.display_url,
            stall_s=STALL_S,
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:  # noqa: ARG002  # compared by who asks
        """List again, and say which version that is; see `provider.Source`."""
        try:
            return (await self._find(spec, is_new=True)).answer()
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Say whether the source gives this requester all that is in a bundle.

        The right to a file of a web server or of a file system is its own, and each is asked
        about; in a bucket or a repository it is that of the whole, and one file stands for all.
        """
        try:
            bundle = await self._find(spec)
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)
        has_one_right = urlsplit(bundle.folder.url).scheme in OF_ONE_RIGHT
        asked = bundle.members[:1] if has_one_right else bundle.members
        for start in range(0, len(asked), FILES_AHEAD):
            for answer in await self._authorise_all(bundle, asked[start : start + FILES_AHEAD]):
                if answer.status not in (OK, PARTIAL):
                    return answer
        return bundle.answer()

    async def _authorise_all(
        self, bundle: _Bundle, members: Sequence[Member]
    ) -> list[SourceAnswer]:
        try:
            async with asyncio.TaskGroup() as tasks:
                asking = [
                    tasks.create_task(self._sources.authorise(_request_for(bundle.folder, member)))
                    for member in members
                ]
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return [each.result() for each in asking]

    async def close(self) -> None:
        """It has nothing of its own."""

    async def _find(self, spec: TaskSpec, *, is_new: bool = False) -> _Bundle:
        address = BundleAddress.parse(spec.url)
        folder = replace(spec, url=address.folder_url, digest=None)
        members = await self._listings.list_below(folder, is_new=is_new)
        bundles = split(members, include=address.include, exclude=address.exclude).bundles
        if address.number >= len(bundles):
            raise SourceRefusedError(url=spec.display_url, status=NOT_FOUND)
        chosen = bundles[address.number]
        return _Bundle(folder, chosen, encode_head(chosen))

    async def _pieces(
        self, bundle: _Bundle, start_byte: int, stop_byte: int
    ) -> AsyncIterator[memoryview]:
        """Yield the bytes from one place to another, reading files ahead."""
        if start_byte < len(bundle.head):
            yield memoryview(bundle.head)[start_byte:stop_byte]
        position = len(bundle.head)
        waiting: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        try:
            for member in bundle.members:
                before, position = position, position + (member.size_bytes or 0)
                if position <= start_byte or before >= stop_byte:
                    continue
                reading = asyncio.ensure_future(self._read_listed(bundle, member))
                waiting.append((before, reading))
                if len(waiting) >= FILES_AHEAD:
                    yield await _next_of(waiting, start_byte, stop_byte)
            while waiting:
                yield await _next_of(waiting, start_byte, stop_byte)
        finally:
            for _, reading in waiting:
                reading.cancel()
            if waiting:
                await asyncio.wait([reading for _, reading in waiting])

    async def _read_listed(self, bundle: _Bundle, member: Member) -> bytes:
        try:
            return await self._read_member(bundle, member)
        except SourceChangedError:
            self._listings.forget(bundle.folder)
            raise

    async def _read_member(self, bundle: _Bundle, member: Member) -> bytes:
        spec = _request_for(bundle.folder, member)
        size = member.size_bytes or 0
        async with await self._sources.read(spec) as reading:
            told = reading.answer
            etag, listed = told.validators.etag, member.version
            is_other = listed.startswith('"') and etag and etag != listed
            if is_other or told.size_bytes not in (None, size):
                raise SourceChangedError(
                    url=spec.display_url,
                    promised=listed if is_other else f"{size} bytes",
                    came=etag if is_other else f"{told.size_bytes} bytes",
                )
            body = await read_whole(reading, bytes_max=size, url=spec.display_url)
        if len(body) != size:
            raise SourceChangedError(
                url=spec.display_url, promised=f"{size} bytes", came=f"{len(body)} bytes"
            )
        promised = member.digest or str(told.digest or "") or told.checksum
        if found := other_than_told(promised, body):
            reason = f"it is {found}, and not {promised} as was told of it"
            raise SourceBrokenError(url=spec.display_url, reason=reason)
        return body


async def _next_of(
    waiting: deque[tuple[int, asyncio.Task[bytes]]], start_byte: int, stop_byte: int
) -> memoryview:
    before, reading = waiting[0]
    body = await reading
    waiting.popleft()
    return memoryview(body)[max(start_byte - before, 0) : max(stop_byte - before, 0)]


def _request_for(folder: TaskSpec, member: Member) -> TaskSpec:
    """Return the request for a file of a listing, as the requester of the folder makes it."""
    url, is_there = shown_at(member.url, folder.url)
    return TaskSpec(url=url, headers=folder.headers if is_there else ())
