"""Jobs and the events that made them, in SQLite.

One thread writes; whatever waits to be written meanwhile goes into one transaction, so that a
thousand webhooks a second cost some tens of them. A write that was waited for survives a kill.
What was written goes from SQLite's log into its file in another thread, once a second at most: that
waits for the disk, and by default it would be a write that does it.
No secret is in here: see `core/preheating/jobs.py`.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from damselfly.core.preheating.jobs import Job
from damselfly.core.preheating.seen_events import AGE_MAX_S
from damselfly.errors import StorageError, StorageUnusableError
from damselfly.telemetry.log import get_log

_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = 16777216;
    CREATE TABLE IF NOT EXISTS jobs (job_id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS events (event_id TEXT PRIMARY KEY, seen_s REAL NOT NULL);
"""
_PUT_JOB: Final = "INSERT OR REPLACE INTO jobs VALUES (?, ?)"
_PUT_EVENT: Final = "INSERT OR REPLACE INTO events VALUES (?, ?)"

SETTLE_S: Final = 1.0

T = TypeVar("T")

log = get_log()


@dataclass(frozen=True, slots=True)
class Kept:
    """What was written down before."""

    jobs: list[Job]
    events: list[tuple[str, float]]


@dataclass(slots=True)
class _Batch:
    jobs: dict[int, bytes]
    forgotten: list[int]
    events: dict[str, float]
    done: asyncio.Future[None]


class JobStore:
    """The jobs' database."""

    def __init__(self, path: Path, *, settle_s: float = SETTLE_S) -> None:
        self._path = path
        self._settle_s = settle_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._decoder = msgspec.json.Decoder(Job)
        self._encoder = msgspec.json.Encoder()
        self._database: sqlite3.Connection | None = None
        self._next: _Batch | None = None
        self._writing: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._is_unsettled = False  # something was written since the last checkpoint began
        self._is_closed = False

    async def open(self, *, now_s: float) -> Kept:
        """Open it, and return what is in it.

        Raises:
            StorageUnusableError: It is no database of ours, or cannot be opened.
        """
        return await self._in_thread(lambda: self._open(now_s))

    def _open(self, now_s: float) -> Kept:
        try:
            self._database = sqlite3.connect(self._path, check_same_thread=False)
            self._database.executescript(_SCHEMA)
            self._database.execute("DELETE FROM events WHERE seen_s < ?", (now_s - 2 * AGE_MAX_S,))
            self._database.commit()
            rows = self._database.execute("SELECT data FROM jobs ORDER BY job_id").fetchall()
            events = self._database.execute("SELECT * FROM events ORDER BY seen_s").fetchall()
            return Kept([self._decoder.decode(data) for (data,) in rows], events)
        except (sqlite3.Error, msgspec.MsgspecError) as exc:
            reason = f"{exc}; move the file away to begin without the jobs in it"
            raise StorageUnusableError(path=str(self._path), reason=reason) from exc

    async def close(self) -> None:
        """Write what waits, and close it."""
        self._is_closed = True
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.wait([self._settling])
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()

    def put(
        self, jobs: Iterable[Job] = (), events: Iterable[str] = (), *, now_s: float = 0.0
    ) -> asyncio.Future[None]:
        """Write jobs as they are now, and events; what is returned ends when they are durable.

        It ends with a StorageError if they cannot be written.
        """
        batch = self._batch()
        if self._is_closed:
            batch.done.cancel()
            return batch.done
        for job in jobs:
            batch.jobs[job.job_id] = self._encoder.encode(job)
        batch.events.update(dict.fromkeys(events, now_s))
        return batch.done

    def forget(self, job_ids: Iterable[int]) -> None:
        """Write no longer of jobs that ended long ago."""
        self._batch().forgotten.extend(job_ids)

    def _batch(self) -> _Batch:
        if self._next is None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.add_done_callback(_look_at)
            self._next = _Batch({}, [], {}, done)
            if not self._is_closed and (self._writing is None or self._writing.done()):
                self._writing = asyncio.ensure_future(self._write_all())
        return self._next

    async def _write_all(self) -> None:
        while (batch := self._next) is not None:
            self._next = None
            try:
                await self._in_thread(lambda batch=batch: self._write(batch))  # type: ignore[misc]
            except sqlite3.Error as exc:
                error = StorageError(f"{self._path} cannot be written: {exc}")
                batch.done.set_exception(error)
            else:
                batch.done.set_result(None)
                self._is_unsettled = True
                if self._settling is None or self._settling.done():
                    self._settling = asyncio.ensure_future(self._settle())

    async def _settle(self) -> None:
        """Let what was written, and what is in the next moment, get from the log into the file."""
        while self._is_unsettled:
            await asyncio.sleep(self._settle_s)
            self._is_unsettled = False
            await asyncio.to_thread(self._checkpoint)

    def _checkpoint(self) -> None:
        try:
            with contextlib.closing(sqlite3.connect(self._path)) as beside:
                beside.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as exc:  # the log grows, and nothing is lost
            log.warning("jobs_not_settled", reason=str(exc))

    def _write(self, batch: _Batch) -> None:
        assert self._database is not None
        with self._database:
            self._database.executemany(_PUT_JOB, batch.jobs.items())
            self._database.executemany(_PUT_EVENT, batch.events.items())
            forgotten = [(job_id,) for job_id in batch.forgotten]
            self._database.executemany("DELETE FROM jobs WHERE job_id = ?", forgotten)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _look_at(done: asyncio.Future[None]) -> None:
    """Write down what nobody may have waited for."""
    if not done.cancelled() and (error := done.exception()) is not None:
        log.error("jobs_not_written", reason=str(error))
