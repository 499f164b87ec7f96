"""`damselfly cache`: what is in a cache, and what is done with it.

A daemon or SuperNode that runs on this host is asked by its socket. Where none runs, its folder
is opened. A SuperNode elsewhere is asked by its API.
"""

import asyncio
import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Protocol, TypeVar

import msgspec
import typer

from damselfly.clock import wall_s
from damselfly.errors import (
    DaemonUnreachableError,
    OutputError,
    RemoteProtocolError,
    StorageUnusableError,
    SuperNodeUnreachableError,
    UsageError,
)
from damselfly.faces.cli.output import named
from damselfly.faces.cli.progress import size_text
from damselfly.faces.cli.supernode_client import SuperNodeClient
from damselfly.services.outputs import Output, is_stream
from damselfly.services.places import daemon_sockets, data_folder
from damselfly.transport.local_client import LocalClient
from damselfly.wire.cache_messages import (
    CacheChanged,
    CachedTask,
    CacheListing,
    CacheOrder,
    ImportOrder,
)

ID_SHOWN: Final = 12
READ_BYTES: Final = 1 << 20
HERE: Final = "here"
API: Final = "/api/v1/cache"

T = TypeVar("T")

cache_app = typer.Typer(help="What is in a cache, and what is done with it.", no_args_is_help=True)

Names = Annotated[
    list[str], typer.Argument(help="URLs, digests, or first digits of ids.", metavar="NAME...")
]
SocketPath = Annotated[str, typer.Option("--socket", help="Of a daemon or SuperNode.")]
Folder = Annotated[str, typer.Option("--data", help="Folder of the cache.", metavar="DIR")]
OfSuperNode = Annotated[
    str,
    typer.Option(
        "--supernode",
        help="The SuperNode's cache, not the daemon's; `here`: that of this host.",
        metavar="HOST:PORT",
    ),
]
OfSuperNodeHere = Annotated[
    str,
    typer.Option(
        "--supernode", help="`here`: the SuperNode's cache, not the daemon's.", metavar="here"
    ),
]
TokenFile = Annotated[
    str,
    typer.Option("--token-file", help="For HOST:PORT; else DAMSELFLY_API_TOKEN.", metavar="FILE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


class Cache(Protocol):
    """A cache that can be told what to do."""

    def cache(self) -> CacheListing:
        """Return what is in it."""

    def order(self, order: CacheOrder) -> CacheChanged:
        """Have something done with entries."""


class CacheHere(Cache, Protocol):
    """A cache of this host, into which something can be put, and taken out of it."""

    def import_file(self, order: ImportOrder, file: BinaryIO) -> CacheChanged:
        """Put a file in."""

    def export_to(self, name: str, output: Output) -> None:
        """Take a content out."""


class RunningCache(LocalClient):
    """The cache of a process that runs."""

    def export_to(self, name: str, output: Output) -> None:
        """Take a content out."""
        self.export(name, output.copy)


class CacheAtRest:
    """A folder that no process uses."""

    def __init__(self, folder: str) -> None:
        from damselfly.services.cache_care.orders import CacheOrders  # noqa: PLC0415  # --help is quick
        from damselfly.services.options import CacheOptions  # noqa: PLC0415
        from damselfly.services.stores import open_store  # noqa: PLC0415

        options = CacheOptions()
        self._store = open_store(folder, options)
        self._orders = CacheOrders(self._store, options, data=folder)

    def cache(self) -> CacheListing:
        """Return what is in it."""
        try:
            return self._orders.listing()
        finally:
            self._store.close()

    def order(self, order: CacheOrder) -> CacheChanged:
        """Have something done with entries."""
        try:
            return self._orders.carry_out(order)
        finally:
            self._store.close()

    def import_file(self, order: ImportOrder, file: BinaryIO) -> CacheChanged:
        """Put a file in."""
        from damselfly.services.cache_care.importing import import_content  # noqa: PLC0415
        from damselfly.services.cache_care.orders import seen  # noqa: PLC0415

        async def read(count: int) -> bytes:
            return file.read(count)

        try:
            work = import_content(self._store, order, read, now_wall_s=wall_s())
            return CacheChanged(tasks=(seen(asyncio.run(work)),))
        finally:
            self._store.close()

    def export_to(self, name: str, output: Output) -> None:
        """Take a content out."""
        from damselfly.services.cache_care.orders import EntryStream  # noqa: PLC0415

        try:
            entry = self._orders.find(name)
            size_bytes = entry.edition.size_bytes or 0
            output.copy(io.BufferedReader(EntryStream(entry), READ_BYTES), size_bytes)
        finally:
            self._store.close()


class CacheElsewhere:
    """The cache of a SuperNode that is asked by its API."""

    def __init__(self, address: str, *, token_file: str) -> None:
        self._client = SuperNodeClient(address, token_file=token_file)

    def cache(self) -> CacheListing:
        """Return what is in it."""
        return _converted(self._client.ask("GET", API), CacheListing)

    def order(self, order: CacheOrder) -> CacheChanged:
        """Have something done with entries; to read much again takes its time."""
        body = msgspec.json.encode(order)
        return _converted(self._client.ask("POST", API, body, timeout_s=None), CacheChanged)


def _converted(told: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as exc:
        raise RemoteProtocolError(f"no message about a cache: {exc}") from exc


def cache_at(socket: str, folder: str, supernode: str, token_file: str) -> Cache:
    """Return the cache that is meant.

    Raises:
        UsageError: What is said of it means two of them.
        DamselflyError: As `cache_here`.
    """
    if supernode in ("", HERE):
        return cache_here(socket, folder, supernode)
    if socket or folder:
        raise UsageError("--supernode HOST:PORT names another cache than --socket and --data")
    return CacheElsewhere(supernode, token_file=token_file)


def cache_here(socket: str, folder: str, supernode: str) -> CacheHere:
    """Return the cache of this host that is meant.

    Raises:
        UsageError: It is elsewhere.
        DaemonUnreachableError: Nobody answers there, and there is no folder.
        SuperNodeUnreachableError: The same, of the SuperNode's.
        StorageUnusableError: The folder is not there, not ours, or in use.
    """
    _require_here(supernode)
    of_supernode = bool(supernode)
    part = "supernode" if of_supernode else "daemon"
    if socket:
        sockets, folder = [socket], ""
    elif folder:
        folder = _folder_in(folder, part)
        sockets = [os.path.join(folder, name) for name in ("daemon.sock", "supernode.sock")]
    else:
        folder = data_folder(part)
        sockets = [os.path.join(folder, "supernode.sock")] if of_supernode else daemon_sockets()
    for path in sockets:
        running = RunningCache(path)
        if os.path.exists(path) and running.is_there():
            return running
    if folder and os.path.isdir(folder):
        return CacheAtRest(folder)
    reason = "nothing listens there; name its --socket, or the folder of its cache with --data"
    where = " or ".join(sockets)
    if of_supernode:
        raise SuperNodeUnreachableError(address=where, reason=reason)
    raise DaemonUnreachableError(socket=where, reason=reason)


def _require_here(supernode: str) -> None:
    """Say that nothing is put in or taken out elsewhere, before anything is read for it."""
    if supernode not in ("", HERE):
        raise UsageError(
            f"--supernode {supernode}: files are put into a cache and taken out of it on its own "
            "host; do it there, import at a daemon, or get it with dfget"
        )


def _folder_in(folder: str, part: str) -> str:
    """Return the folder of a cache: itself, or the part's in one as `damselfly up` has it."""
    if not os.path.isdir(folder):
        raise StorageUnusableError(path=folder, reason="there is no such folder")
    of_part = os.path.join(folder, part)
    return of_part if os.path.isdir(of_part) else folder


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.encode(value).decode())


@cache_app.command()
def ls(
    *,
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNode = "",
    token_file: TokenFile = "",
    as_json: AsJson = False,
) -> None:
    """List what is in the cache, the last used first."""
    listing = cache_at(socket, data, supernode, token_file).cache()
    if as_json:
        _print_json(listing)
        return
    now = wall_s()
    for task in listing.tasks:
        typer.echo(_row(task, now))
    noun = "edition" if len(listing.tasks) == 1 else "editions"
    quota = f" of {size_text(listing.quota_bytes)}" if listing.quota_bytes else ""
    typer.echo(
        f"{len(listing.tasks)} {noun}, {size_text(listing.used_bytes)}{quota} in {listing.data}"
    )


def _row(task: CachedTask, now: float) -> str:
    size = "?" if task.size_bytes < 0 else size_text(task.size_bytes)
    held = "" if task.is_sealed else f" ({size_text(task.stored_bytes)} here)"
    flags = [
        word
        for word, is_true in (
            ("pinned", task.is_pinned),
            ("imported", task.is_imported),
            ("in use", task.is_in_use),
            ("also elsewhere", task.is_elsewhere),
        )
        if is_true
    ]
    age = _age(max(now - task.used_wall_s, 0.0))
    shown = f"  [{', '.join(flags)}]" if flags else ""
    return f"{task.edition_id[:ID_SHOWN]}  {size + held:>10}  {age:>4}  {task.url}{shown}"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


@cache_app.command()
def pin(
    names: Names,
    *,
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNode = "",
    token_file: TokenFile = "",
) -> None:
    """Keep entries, however full the cache is."""
    _order("pin", "pinned", names, cache_at(socket, data, supernode, token_file))


@cache_app.command()
def unpin(
    names: Names,
    *,
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNode = "",
    token_file: TokenFile = "",
) -> None:
    """Let entries leave again when there is no room."""
    _order("unpin", "no longer pinned", names, cache_at(socket, data, supernode, token_file))


@cache_app.command()
def rm(
    names: Names,
    *,
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNode = "",
    token_file: TokenFile = "",
) -> None:
    """Remove entries that nobody uses at the moment."""
    _order("rm", "removed", names, cache_at(socket, data, supernode, token_file))


def _order(action: str, done: str, names: list[str], cache: Cache) -> None:
    for task in cache.order(CacheOrder(action=action, names=tuple(names))).tasks:
        typer.echo(f"{done}: {task.edition_id[:ID_SHOWN]}  {task.url}")


@cache_app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]")] = None,
    *,
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNode = "",
    token_file: TokenFile = "",
) -> None:
    """Read entries again, all unless named, and compare each byte with its digest."""
    order = CacheOrder(action="verify", names=tuple(names or ()))
    changed = cache_at(socket, data, supernode, token_file).order(order)
    for edition_id in changed.damaged:
        typer.echo(f"damaged: {edition_id[:ID_SHOWN]}; what is wrong is fetched again")
    typer.echo(f"{len(changed.tasks)} read, {len(changed.damaged)} damaged")
    if changed.damaged:
        raise typer.Exit(1)


@cache_app.command("import")
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE")],
    *,
    url: Annotated[str, typer.Option(help="Under which others get it.", metavar="URL")] = "",
    tag: Annotated[str, typer.Option(help="Goes with the URL.")] = "",
    digest: Annotated[str, typer.Option(help="What it must hash to.", metavar="ALG:HEX")] = "",
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNodeHere = "",
    as_json: AsJson = False,
) -> None:
    """Put a file into the cache, and so into the swarm, without any source."""
    _require_here(supernode)
    if url and digest:
        raise UsageError("--url names the task by its URL, --digest by its content: choose one")
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a device may have no end, a pipe no beginning
            raise UsageError(f"cannot import {file}: it is no file; write it into one first")
        with open(file, "rb") as opened:
            size_bytes = os.fstat(opened.fileno()).st_size
            told = digest or f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
            opened.seek(0)
            order = ImportOrder(
                digest=told, size_bytes=size_bytes, url=url, tag=tag, name=Path(file).name
            )
            spec = order.spec()  # what is wrong with it is said before anything is sent
            changed = cache_here(socket, data, supernode).import_file(order, opened)
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror or exc}") from exc
    if as_json:
        _print_json(changed)
        return
    tail = f" --tag {tag}" if url and tag else "" if url else f" --digest {told}"
    typer.echo(f"imported {file} ({size_text(size_bytes)}); to get it: dfget {spec.url}{tail}")
    if not changed.told and not supernode:
        typer.echo("only this host has it yet: there is no session with a SuperNode")
    elif url and not supernode:
        typer.echo(
            "other hosts get it only if the SuperNode takes imports by URL from hosts (its "
            'setting host_imports = "all"); else import it there, or without --url'
        )


@cache_app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    output: Annotated[str, typer.Argument(metavar="FILE")],
    *,
    socket: SocketPath = "",
    data: Folder = "",
    supernode: OfSuperNodeHere = "",
) -> None:
    """Copy a cached content to a file; `-` is standard output."""
    path = named(output)
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.path.isdir(folder):
        raise OutputError(path=path, reason="name a file in a folder that is there")
    cache_here(socket, data, supernode).export_to(name, Output(path))
    typer.echo(f"exported to {output}", err=is_stream(path))
