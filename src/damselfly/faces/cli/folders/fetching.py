"""Many files into a folder: some at a time, each once, and what is missing by name.

Which files are there already stands in a file beside the folder, so that the same command
goes on where it was interrupted; it goes away when the folder is complete.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import msgspec

from damselfly.clock import now_s
from damselfly.core.bundling import BundleAddress, Split, split
from damselfly.core.members import Member
from damselfly.core.urls import shown_at
from damselfly.errors import (
    DamselflyError,
    DownloadTimeoutError,
    RemoteProtocolError,
    SourceChangedError,
    SourceError,
    StorageFullError,
)
from damselfly.faces.cli.folders.getting import Getter
from damselfly.faces.cli.folders.unpacking import Unpacking, make_room_for, write_file
from damselfly.faces.cli.netrc_file import netrc_headers
from damselfly.faces.cli.progress import Shown
from damselfly.services.outputs import beside
from damselfly.wire.listings import decode_listing
from damselfly.wire.local_messages import DownloadProgress, DownloadRequest, ProviderBytes

READINGS_MAX: Final = 2  # of a bundle of which a file changes; the rest comes one by one then
FILES_AT_A_TIME: Final = 8  # a large one fills the link; more of them only hold memory
WAKE_S: Final = 0.5  # so long Ctrl-C may take


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        files: How many are there.
        skipped: How many of these were there already.
        size_bytes: Of all that are there.
        bytes_by: Where the bytes came from.
        missing: {path: why it is not there}.
    """

    files: int = 0
    skipped: int = 0
    size_bytes: int = 0
    bytes_by: ProviderBytes = field(default_factory=ProviderBytes)
    missing: dict[str, DamselflyError] = field(default_factory=dict)


class Done:
    """Which files are there, in a file that survives a kill."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    name, key = json.loads(line)
                except ValueError:
                    continue  # the last line of a process that was killed
                self._known[name] = key

    def has(self, member: Member, folder: Path) -> bool:
        """Say whether this version of a file is in its place."""
        path = folder / member.path
        if self._known.get(member.path) != _key_of(member) or not path.is_file():
            return False
        return member.size_bytes in (None, path.stat().st_size)

    def add(self, members: Sequence[Member]) -> None:
        """These are there now."""
        lines = "".join(f"{json.dumps([each.path, _key_of(each)])}\n" for each in members)
        # On a full disk what comes next says so; without a note a file is only got again.
        with self._lock, contextlib.suppress(OSError), self._path.open("a") as file:
            file.write(lines)

    def forget(self) -> None:
        """All are there."""
        self._path.unlink(missing_ok=True)


def _key_of(member: Member) -> str:
    return f"{member.url} {member.size_bytes} {member.digest} {member.version}"


def _unfinished(running: set[Future[None]]) -> set[Future[None]]:
    """Wait a moment for one of them to end; return the others. Raises what one has raised.

    A Ctrl-C that comes just before a thread falls asleep is seen when it wakes up.
    """
    ended, others = wait(running, timeout=WAKE_S, return_when=FIRST_COMPLETED)
    for each in ended:
        each.result()
    return others


class Fetching:
    """One folder on its way."""

    def __init__(
        self,
        getter: Getter,
        request: DownloadRequest,
        folder: Path,
        shown: Shown,
        *,
        netrc_file: str = "",
    ) -> None:
        self._netrc_file = netrc_file
        self._getter = getter
        self._request = request
        self._begun_s = now_s()
        self._folder = folder
        self._shown = shown
        self._done = Done(Path(beside(str(folder), "-files")))
        self._lock = threading.Lock()
        self._total_bytes = 0
        # {what is on its way: how far it is}
        self._running: dict[str, DownloadProgress] = {}
        self.outcome = Outcome()

    # --- what there is

    def list_below(self, url: str) -> list[Member]:
        """Return the files below an address.

        Raises:
            DamselflyError: They cannot be listed.
        """
        path = Path(beside(str(self._folder), "-listing"))
        try:
            self._getter.get(self._asking(f"list+{url}"), str(path), lambda _: None)
            return decode_listing(path.read_bytes())
        finally:
            path.unlink(missing_ok=True)

    def fetch_below(
        self, url: str, members: Sequence[Member], include: Sequence[str], exclude: Sequence[str]
    ) -> None:
        """Get those of the files below an address that are wanted."""
        wanted = split(members, include=include, exclude=exclude)
        made = [member for member in members if not member.url]
        self._note_total(
            [*wanted.alone, *made, *(each for some in wanted.bundles for each in some)]
        )
        for member in made:
            write_file(self._folder, member.path, member.text.encode())
            self._count([member], ProviderBytes())
        address = BundleAddress(folder_url=url, include=tuple(include), exclude=tuple(exclude))
        self._run_all(self._jobs(wanted, address))

    def fetch_all(self, members: Sequence[Member]) -> None:
        """Get files that have nothing to do with each other."""
        self._note_total(members)
        self._run_all(self._jobs(Split(tuple(members), ()), BundleAddress(folder_url="")))

    def end(self) -> None:
        """Forget what was noted to go on with, if nothing is missing."""
        if not self.outcome.missing:
            self._done.forget()

    # --- what is done about it

    def _jobs(
        self, wanted: Split, address: BundleAddress
    ) -> Iterator[tuple[str, Sequence[Member]]]:
        """Yield what to get, URL and files: bundles first, which are the longest."""
        for number, bundle in enumerate(wanted.bundles):
            left: list[Member] = []
            there: list[Member] = []
            for member in bundle:
                (there if self._done.has(member, self._folder) else left).append(member)
            self._skip(there)
            if len(left) * 2 > len(bundle):
                yield replace(address, number=number).url, left
            else:  # most of it is there
                yield from ((member.url, [member]) for member in left)
        for member in wanted.alone:
            if self._done.has(member, self._folder):
                self._skip([member])
            else:
                yield member.url, [member]

    def _run_all(self, jobs: Iterator[tuple[str, Sequence[Member]]]) -> None:
        running: set[Future[None]] = set()
        # A rate that the user gives is that of all together.
        at_a_time = 1 if self._request.rate_bytes_per_s else FILES_AT_A_TIME
        with ThreadPoolExecutor(at_a_time) as threads:
            try:
                for url, members in jobs:
                    while len(running) >= 2 * at_a_time:
                        running = _unfinished(running)
                    running.add(threads.submit(self._get, url, members))
                while running:
                    running = _unfinished(running)
            except BaseException:  # Ctrl-C: nobody waits for what is on its way
                threads.shutdown(wait=False, cancel_futures=True)
                self._getter.stop()
                raise

    def _get(self, url: str, members: Sequence[Member]) -> None:
        if url.startswith("bundle+"):
            self._get_bundle(url, members)
        else:
            self._get_alone(url, members)
        if rate := self._request.rate_bytes_per_s:
            # Each has a second's worth free, which for short files is all of it.
            by = self.outcome.bytes_by
            time.sleep(max(self._begun_s + (by.total - by.cache) / rate - now_s(), 0.0))

    def _get_alone(self, url: str, members: Sequence[Member]) -> None:
        (member,) = members
        try:
            request = self._asking(url, digest=member.digest)
            path = make_room_for(self._folder, member.path)
            with _Told(self, url) as told:
                finished = self._getter.get(request, str(path), told.show)
        except DamselflyError as exc:
            self._miss(member, exc)
            return
        self._done.add(members)
        self._count([replace(member, size_bytes=finished.size_bytes)], finished.bytes_by)

    def _get_bundle(self, url: str, members: Sequence[Member]) -> None:
        number = BundleAddress.parse(url).number
        spare = beside(str(self._folder), f"-bundle-{number}")
        unpacking = Unpacking(self._folder)
        by = ProviderBytes()
        failure: DamselflyError | None = None
        for _ in range(READINGS_MAX):
            try:
                with _Told(self, url) as told:
                    finished = self._getter.read(
                        self._asking(url), told.show, unpacking.take, spare_path=spare
                    )
                by = finished.bytes_by
            except SourceChangedError:
                continue  # while it was read: the next reading begins with a new listing
            except (SourceError, RemoteProtocolError, StorageFullError):
                # One file cannot be had, or its length was not what was listed, or there is
                # room for each, but not for all of them together.
                pass
            except DamselflyError as exc:
                failure = exc
            break
        self._done.add(unpacking.done)
        there = {(member.path, _key_of(member)) for member in unpacking.done}
        self._count([each for each in members if (each.path, _key_of(each)) in there], by)
        for member in members:
            if (member.path, _key_of(member)) in there:
                continue
            if (why := unpacking.failed.get(member.path, failure)) is not None:
                self._miss(member, why)
            else:
                self._get_alone(member.url, [member])

    def _asking(self, url: str, *, digest: str = "") -> DownloadRequest:
        """Return a request like that of the user, for another URL; secrets stay at their server.

        Raises:
            DownloadTimeoutError: The time that the user gives for all is over.
        """
        url, is_there = shown_at(url, self._request.url)
        headers = self._request.headers if is_there else ()
        if not self._request.url:  # of a list: the user said what goes to all of them
            headers = self._request.headers
            headers = (*headers, *netrc_headers(self._netrc_file, url, headers))
        request = self._request
        left_s = 0.0
        if request.timeout_s:
            left_s = self._begun_s + request.timeout_s - now_s()
            if left_s <= 0:
                raise DownloadTimeoutError(timeout_s=request.timeout_s)
        return msgspec.structs.replace(
            request, url=url, digest=digest, headers=headers, timeout_s=left_s
        )

    # --- what is told

    def _note_total(self, members: Sequence[Member]) -> None:
        self._total_bytes = sum(member.size_bytes or 0 for member in members)

    def _skip(self, members: Sequence[Member]) -> None:
        with self._lock:
            self.outcome.skipped += len(members)
        size = sum(member.size_bytes or 0 for member in members)
        self._count(members, ProviderBytes(cache=size))

    def _count(self, members: Sequence[Member], by: ProviderBytes) -> None:
        with self._lock:
            outcome = self.outcome
            outcome.files += len(members)
            outcome.size_bytes += sum(member.size_bytes or 0 for member in members)
            outcome.bytes_by = _sum_of(outcome.bytes_by, by)
            self._show()

    def _miss(self, member: Member, exc: DamselflyError) -> None:
        if isinstance(exc, DownloadTimeoutError):  # of what was left then
            exc = DownloadTimeoutError(timeout_s=self._request.timeout_s)
        with self._lock:
            self.outcome.missing[member.path] = exc

    def on_progress(self, url: str, progress: DownloadProgress | None) -> None:
        """Something on its way is so far; None: it is not on its way any more."""
        with self._lock:
            if progress is None:
                self._running.pop(url, None)
            else:
                self._running[url] = progress
            self._show()

    def _show(self) -> None:
        """Show the sum of all; the caller has the lock."""
        by, parents = self.outcome.bytes_by, 0
        for each in self._running.values():
            by = _sum_of(by, each.bytes_by)
            parents += each.parent_count
        self._shown.show(
            DownloadProgress(
                state="fetching",
                size_bytes=max(self._total_bytes, by.total),
                done_bytes=by.total,
                bytes_by=by,
                parent_count=parents,
            )
        )


class _Told:
    """Tells the progress of one of many, inside its block."""

    def __init__(self, fetching: Fetching, url: str) -> None:
        self._fetching = fetching
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._fetching.on_progress(self._url, None)

    def show(self, progress: DownloadProgress) -> None:
        """Take in how far it is."""
        self._fetching.on_progress(self._url, progress)


def _sum_of(one: ProviderBytes, other: ProviderBytes) -> ProviderBytes:
    return ProviderBytes(
        cache=one.cache + other.cache,
        peers=one.peers + other.peers,
        supernode=one.supernode + other.supernode,
        source=one.source + other.source,
    )
