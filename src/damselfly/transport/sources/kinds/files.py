"""Files of this machine: `file:///path`, from folders that the operator allowed.

It is the disk of the process that reads the source, so the SuperNode's: what lies in an allowed
folder, everybody may have who may ask it.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.errors import (
    DamselflyError,
    SourceBrokenError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.transport.provider import SourceAnswer, Turn
from damselfly.transport.sources.chunks import (
    ChunkReading,
    answer_for,
    of_one_version,
    pieces_of,
)

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404


class FileSource:
    """Folders of this machine."""

    def __init__(self, folders: Iterable[str], *, stall_timeout_s: float) -> None:
        self._folders = [Path(folder).resolve() for folder in folders]
        self._stall_s = stall_timeout_s

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> ChunkReading:
        """Open a file, or a part of it; see `provider.Source`."""
        file = await asyncio.to_thread(self._open, spec)
        told = _answer(os.fstat(file.fileno()))
        try:
            answer = answer_for(
                told,
                start_byte=start_byte,
                stop_byte=stop_byte,
                validators=validators,
                url=spec.display_url,
            )
        except SourceRefusedError:
            file.close()
            raise

        async def close() -> None:
            file.close()

        async def ask() -> SourceAnswer:
            return _answer(os.fstat(file.fileno()))

        pieces = pieces_of(file, answer.start_byte, answer.stop_byte or 0)
        return ChunkReading(
            answer,
            of_one_version(pieces, answer, ask, url=spec.display_url),
            url=spec.display_url,
            stall_s=self._stall_s,
            why=lambda exc: _told(spec, exc),
            close=close,
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:  # noqa: ARG002  # compared by who asks
        """Say which version is there; see `provider.Source`."""
        return await self.authorise(spec)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Say whether a file may be read; see `provider.Source`."""
        try:
            file = await asyncio.to_thread(self._open, spec)
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)
        with file:
            return _answer(os.fstat(file.fileno()))

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """List the files below a folder; see `KindOfSource`."""
        async with turn():
            return await asyncio.to_thread(self._list, spec)

    async def close(self) -> None:
        """There is nothing to close."""

    def _path(self, spec: TaskSpec) -> Path:
        """Return what a URL means, links followed.

        Raises:
            SourceRefusedError: It is in no allowed folder.
        """
        path = Path(unquote(urlsplit(spec.url).path)).resolve()
        if not self._allows(path):
            hint = "it is in no folder that the setting source.folders of the SuperNode names"
            raise SourceRefusedError(url=spec.display_url, status=FORBIDDEN, hint=hint)
        return path

    def _allows(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._folders)

    def _open(self, spec: TaskSpec) -> BinaryIO:
        path = self._path(spec)
        try:
            if not path.is_file():  # a pipe would wait for ever
                raise SourceRefusedError(url=spec.display_url, status=NOT_FOUND)
            return path.open("rb")
        except OSError as exc:
            raise _told(spec, exc) from exc

    def _list(self, spec: TaskSpec) -> list[Member]:
        top = self._path(spec)
        if not top.is_dir():
            raise SourceRefusedError(url=spec.display_url, status=NOT_FOUND)
        members = []
        try:
            for path in self._below(top):
                with contextlib.suppress(FileNotFoundError):  # it went just now
                    status = path.stat()
                    members.append(
                        Member(
                            path=path.relative_to(top).as_posix(),
                            url=f"file://{quote(str(path))}",
                            size_bytes=status.st_size,
                            version=_validators(status).etag,
                        )
                    )
        except UnicodeEncodeError as exc:
            reason = "a file there has a name that is no UTF-8"
            raise SourceBrokenError(url=spec.display_url, reason=reason) from exc
        except OSError as exc:
            raise _told(spec, exc) from exc
        return members

    def _below(self, top: Path) -> Iterator[Path]:
        """Yield the files below a folder.

        Links are followed, but in no circle. One that leads out of the allowed folders is yielded
        as well: who asks for it is told why it is not to be had.
        """
        waiting = [(top, frozenset([top]))]
        while waiting:
            folder, above = waiting.pop()
            for path in folder.iterdir():
                if path.is_dir():
                    real = path.resolve()
                    if not self._allows(real):
                        yield path
                    elif real not in above:
                        waiting.append((path, above | {real}))
                elif path.is_file():
                    yield path


def _answer(status: os.stat_result) -> SourceAnswer:
    return SourceAnswer(
        status=OK,
        size_bytes=status.st_size,
        stop_byte=status.st_size,
        validators=_validators(status),
        accepts_ranges=True,
    )


def _validators(status: os.stat_result) -> Validators:
    date = datetime.fromtimestamp(int(status.st_mtime), UTC)
    etag = f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
    return Validators(etag=etag, last_modified=format_datetime(date, usegmt=True))


def _told(spec: TaskSpec, exc: Exception) -> DamselflyError:
    if isinstance(exc, PermissionError):
        hint = "the user of the SuperNode's process may not read it"
        return SourceRefusedError(url=spec.display_url, status=FORBIDDEN, hint=hint)
    reason = getattr(exc, "strerror", "") or type(exc).__name__
    return SourceUnreachableError(url=spec.display_url, reason=str(reason).lower())
