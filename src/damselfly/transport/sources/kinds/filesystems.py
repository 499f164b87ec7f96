"""Everything else that fsspec has a file system for: `sftp://`, `ftp://`, `smb://`.

fsspec and the package of a scheme are the operator's to install. What reads this machine, or
wraps another file system, is not for requesters: they name only other machines.
"""

import asyncio
import errno
import importlib
import inspect
import os
import socket
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.core.urls import host_of
from damselfly.errors import (
    NAME_UNKNOWN,
    DamselflyError,
    SourceRefusedError,
    SourceUnreachableError,
    TaskSpecError,
)
from damselfly.transport.provider import SourceAnswer, Turn
from damselfly.transport.sources.accounts import Accounts, user_of
from damselfly.transport.sources.chunks import (
    ChunkReading,
    answer_for,
    in_turn,
    of_one_version,
    pieces_of,
)
from damselfly.transport.sources.kinds.own_shares import with_own_session

T = TypeVar("T")

OK, BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 200, 400, 401, 403, 404
SYSTEMS_MAX: Final = 64  # each has a connection
SOME_BYTES: Final = 16 << 10  # a library reads no less for one
EXTRA: Final = "damselfly[fsspec]"
_OF_THIS_MACHINE: Final = frozenset(
    {
        *("file", "local", "memory", "data", "git", "dvc", "asynclocal", "pyscript"),
        *("cached", "blockcache", "filecache", "simplecache", "dir", "reference", "generic"),
        *("zip", "tar", "libarchive", "async_wrapper", "asyncwrapper", "dask", "jupyter", "jlab"),
    }
)
_SAID_OTHERWISE: Final = ("path", "user", "username", "password")  # of what a URL says
_VERSION_KEYS: Final = ("ETag", "etag", "version_id", "mtime", "modify", "last_write_time")
_MORE_VERSION_KEYS: Final = ("LastModified", "last_modified", "modificationTime", "updated")


def has_file_system(scheme: str) -> bool:
    """Say whether fsspec, if it is there, knows a scheme that requesters may name.

    Raises:
        TaskSpecError: fsspec is not installed.
    """
    try:
        registry = importlib.import_module("fsspec.registry")
    except ImportError as exc:
        expected = f"this needs fsspec, which is not installed here; install {EXTRA} there"
        raise TaskSpecError(what="URL", value=f"{scheme}://…", expected=expected) from exc
    known = {*registry.known_implementations, *registry.registry}
    return scheme in known and scheme not in _OF_THIS_MACHINE


class _System:
    """A file system as one requester reaches it, opened when it is first used.

    The libraries have one connection each and are not made for several threads at once.
    """

    def __init__(self, spec: TaskSpec, user: str, password: str) -> None:
        self._open = partial(_connected, spec, user, password)
        self._fs: Any = None
        self.turn = asyncio.Lock()

    async def call(self, what: Callable[[Any], T]) -> T:
        """Do something with it, in a thread and in turn."""

        def do() -> T:
            if self._fs is None:
                self._fs = self._open()
            return what(self._fs)

        return await in_turn(self.turn, do)


class FileSystemSource:
    """Other machines' file systems, by fsspec, whose calls wait in threads."""

    def __init__(self, accounts: Accounts, *, stall_timeout_s: float) -> None:
        self._accounts = accounts
        self._stall_s = stall_timeout_s
        # {what it is opened with: file system}, the least used first.
        self._systems: OrderedDict[tuple[str, ...], _System] = OrderedDict()

    async def close(self) -> None:
        """Forget all file systems; their connections end with them."""
        self._systems.clear()

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> ChunkReading:
        """Open a file, or a part of it; see `provider.Source`."""
        answer = answer_for(
            await self._ask(spec),
            start_byte=start_byte,
            stop_byte=stop_byte,
            validators=validators,
            url=spec.display_url,
        )
        file: BinaryIO
        file, system = await self._call(spec, lambda fs: fs.open(_path_of(fs, spec), "rb"))

        async def close() -> None:
            await system.call(lambda _: file.close())

        async def ask_again() -> SourceAnswer:
            await close()  # while it is open Samba tells the date that it had then
            return await self._ask(spec)

        pieces = pieces_of(file, answer.start_byte, answer.stop_byte or 0, turn=system.turn)
        return ChunkReading(
            answer,
            of_one_version(pieces, answer, ask_again, url=spec.display_url),
            url=spec.display_url,
            stall_s=self._stall_s,
            why=lambda exc: _told(spec, exc),
            close=close,
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:  # noqa: ARG002  # compared by who asks
        """Say which version is there; see `provider.Source`."""
        return await self.authorise(spec)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Say whether a file may be read, by reading of it; see `provider.Source`.

        Who may look at a file may not always read it.
        """
        try:
            answer = await self._ask(spec)
            await self._call(spec, lambda fs: _read_some(fs, spec))
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)
        return answer

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """List the files below a folder; see `KindOfSource`."""

        def find(fs: Any) -> list[Member]:  # noqa: ANN401
            top = _path_of(fs, spec).rstrip("/")
            found = fs.find(top, detail=True)
            parts = urlsplit(spec.url)
            base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            members = []
            for info in found.values():
                path = info["name"].removeprefix(top).lstrip("/")
                url = f"{base}{parts.path.rstrip('/')}/{quote(path)}"
                told = _validators(info)
                size, version = info.get("size"), told.etag
                members.append(Member(path=path, url=url, size_bytes=size, version=version))
            return members

        async with turn():
            return (await self._call(spec, find))[0]

    async def _ask(self, spec: TaskSpec) -> SourceAnswer:
        info, _ = await self._call(spec, lambda fs: _fresh_info(fs, spec))
        if info.get("type") == "directory" or info.get("size") is None:
            raise SourceRefusedError(url=spec.display_url, status=NOT_FOUND)
        return _answer(info)

    async def _call(self, spec: TaskSpec, what: Callable[[Any], T]) -> tuple[T, _System]:
        """Return what was done with a file system, and that, for who goes on using it."""
        user, password = user_of(spec, self._accounts.find(spec.url))
        key = (spec.url.partition("://")[0], host_of(spec.url), user, password)
        system = self._systems.pop(key, None) or _System(spec, user, password)
        self._systems[key] = system
        if len(self._systems) > SYSTEMS_MAX:
            self._systems.popitem(last=False)
        try:
            async with asyncio.timeout(self._stall_s):
                return await system.call(what), system
        except FileNotFoundError as exc:
            raise _told(spec, exc) from exc
        except Exception as exc:
            if self._systems.get(key) is system:
                del self._systems[key]  # its connection may be gone
            if isinstance(exc, DamselflyError):
                raise
            raise _told(spec, exc) from exc


def _connected(spec: TaskSpec, user: str, password: str) -> Any:  # noqa: ANN401
    """Open a file system; in a thread.

    Raises:
        TaskSpecError: A package is missing.
    """
    parts = urlsplit(spec.url)
    fsspec = importlib.import_module("fsspec")
    try:
        kind = fsspec.get_filesystem_class(parts.scheme)
        options = kind._get_kwargs_from_urls(spec.url)  # noqa: SLF001  # as fsspec itself does
        if parts.scheme == "smb":
            kind = with_own_session(kind)
    except ImportError as exc:
        expected = f"a package is missing where it is read: {exc}; install {EXTRA} and that there"
        raise TaskSpecError(what="URL", value=spec.display_url, expected=expected) from exc
    options = {name: options[name] for name in options if name not in _SAID_OTHERWISE}
    return kind(**options, **_login(kind, user, password), skip_instance_cache=True)


def _login(kind: type[Any], user: str, password: str) -> dict[str, str]:
    """Return as whom a file system is opened, in its own words."""
    if not user:
        return {}
    if "user" not in inspect.signature(kind.__init__).parameters:
        return {"username": user, "password": password}
    # So it is called by Hadoop alone, where most clusters take everybody's word for it.
    return {"user": user, "password": password} if password else {"user": user}


def _fresh_info(fs: Any, spec: TaskSpec) -> dict[str, Any]:  # noqa: ANN401
    fs.invalidate_cache()
    found: dict[str, Any] = fs.info(_path_of(fs, spec))
    return found


def _read_some(fs: Any, spec: TaskSpec) -> None:  # noqa: ANN401
    with fs.open(_path_of(fs, spec), "rb", block_size=SOME_BYTES) as file:
        file.read(1)


def _path_of(fs: Any, spec: TaskSpec) -> str:  # noqa: ANN401
    parts = urlsplit(spec.url)
    path: str = fs._strip_protocol(f"{parts.scheme}://{parts.netloc}{unquote(parts.path)}")  # noqa: SLF001  # as fsspec itself does
    return path


def _answer(info: dict[str, Any]) -> SourceAnswer:
    return SourceAnswer(
        status=OK,
        size_bytes=info["size"],
        stop_byte=info["size"],
        validators=_validators(info),
        accepts_ranges=True,
    )


def _validators(info: dict[str, Any]) -> Validators:
    for key in (*_VERSION_KEYS, *_MORE_VERSION_KEYS):
        value = info.get(key)
        if isinstance(value, datetime):
            date = format_datetime(value.astimezone(UTC), usegmt=True)
            return Validators(etag=f'"{value.timestamp()}-{info.get("size")}"', last_modified=date)
        if value:
            return Validators(etag=f'"{str(value).strip(chr(34))}-{info.get("size")}"')
    return Validators()


def _told(spec: TaskSpec, exc: Exception) -> DamselflyError:
    """Return a library's error as one of ours; its text may hold anything, so it stays here."""
    if isinstance(exc, DamselflyError):
        return exc
    url = spec.display_url
    if (status := _status_of(exc)) is not None:
        return SourceRefusedError(url=url, status=status)
    if isinstance(exc, TimeoutError):
        return SourceUnreachableError(url=url, reason="no answer in time")
    return SourceUnreachableError(url=url, reason=_reason_of(exc))


def _reason_of(exc: Exception) -> str:
    system_error = _system_error_in(exc)
    if isinstance(system_error, socket.gaierror):
        return NAME_UNKNOWN
    if system_error is not None and system_error.errno:
        return os.strerror(system_error.errno).lower()
    return str(getattr(exc, "strerror", "") or type(exc).__name__).lower()


def _system_error_in(exc: BaseException | None) -> OSError | None:
    """Return what the system said; libraries put errors of their own around it."""
    while exc is not None and not (isinstance(exc, OSError) and exc.errno):
        exc = exc.__cause__ or exc.__context__
    return exc


def _status_of(exc: Exception) -> int | None:
    """Return the HTTP status that says what an error says; None: it is not about the request."""
    name, text = type(exc).__name__, str(exc)
    number = exc.errno if isinstance(exc, OSError) else None  # SMB's has no class of its own
    if number in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR) or isinstance(exc, FileNotFoundError):
        return NOT_FOUND
    if number == errno.EACCES or isinstance(exc, PermissionError):
        return FORBIDDEN
    # paramiko; FTP: not logged in; SMB
    if "auth" in name.lower() or text.startswith("530") or name == "LogonFailure":
        return UNAUTHORIZED
    if text.startswith("550") or name == "BadNetworkName":  # FTP: no such file; SMB: no such share
        return NOT_FOUND
    if "STATUS_ACCESS_DENIED" in text or name == "AccessDenied":
        return FORBIDDEN
    is_nonsense = isinstance(exc, ValueError) and _system_error_in(exc) is None
    return BAD_REQUEST if is_nonsense else None  # a library's word for what was asked
