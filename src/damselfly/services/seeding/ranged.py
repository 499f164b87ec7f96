"""A content over several connections, as `core/ranging.py` decides: its open answer, and others."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from damselfly.core.ranging import Part, Ranging
from damselfly.core.task import Edition, TaskSpec
from damselfly.core.urls import split_form
from damselfly.errors import SourceUnreachableError
from damselfly.transport.provider import SourceAnswer

RANGED_BYTES_MIN: Final = 64 << 20  # below it a content has come before a rate is known


def gives_parts(spec: TaskSpec, edition: Edition, answer: SourceAnswer) -> bool:
    """Say whether parts of a content can be asked for safely.

    Listings and bundles are made as they are read: their parts would be made twice.
    """
    form, _ = split_form(spec.url.partition("://")[0])
    return (
        not form
        and answer.accepts_ranges
        and edition.size_bytes is not None
        and (spec.digest is not None or bool(answer.validators.if_range))
    )


class ReadPart(Protocol):
    """Reads one part, over the open answer or a connection of its own."""

    async def __call__(
        self, part: Part, *, on_bytes: Callable[[int], None], stop_at: Callable[[], int]
    ) -> None:
        """Read it up to the byte that it is told by then, telling what came."""


class RangedReading:
    """One content on its way from the source."""

    def __init__(
        self, ranging: Ranging, *, read_part: ReadPart, now_s: Callable[[], float]
    ) -> None:
        self._ranging = ranging
        self._read_part = read_part
        self._now_s = now_s
        self._broke: SourceUnreachableError | None = None

    async def read(self) -> None:
        """Read all that is missing.

        Raises:
            SourceUnreachableError: A connection broke; what the others had begun is in the store.
            SourceError: A part of it could not be had; what came is in the store.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                first = self._ranging.begin(self._now_s())
                tasks.create_task(self._read(first, tasks))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        if self._broke is not None:
            raise self._broke

    async def _read(self, part: Part, tasks: asyncio.TaskGroup) -> None:
        def begin(parts: list[Part]) -> None:
            for each in parts:
                tasks.create_task(self._read(each, tasks))

        def on_bytes(count: int) -> None:
            begin(self._ranging.came(part, count, self._now_s()))

        try:
            await self._read_part(part, on_bytes=on_bytes, stop_at=lambda: part.stop_byte)
        except SourceUnreachableError as exc:
            self._broke = self._broke or exc
            self._ranging.broke(part)
        else:
            begin(self._ranging.ended(part, self._now_s()))
