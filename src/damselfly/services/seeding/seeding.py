"""An edition of a task into the store: from the cache if it is fresh, else from its source.

Used by the SuperNode for its seeds and by hosts that have none. The source is read in one
pass; when it breaks midway, the pass goes on where it broke.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from damselfly.clock import now_s
from damselfly.core.access import shown_by
from damselfly.core.blocks import gap_spans
from damselfly.core.caching.freshness import (
    Cached,
    SourceWord,
    Verdict,
    judge_after,
    judge_before,
)
from damselfly.core.digest import Digest
from damselfly.core.task import (
    Edition,
    EditionId,
    Headers,
    TaskId,
    TaskSpec,
)
from damselfly.errors import (
    DigestMismatchError,
    SourceBrokenError,
    SourceChangedError,
    SourceError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.services.compressing.compressor import Compressor
from damselfly.services.encrypting.edition_keys import EditionKeys
from damselfly.services.options import SourceOptions
from damselfly.services.seeding.asking import Asking
from damselfly.services.seeding.naming import edition_of
from damselfly.services.seeding.pacing import GaveWayError
from damselfly.services.seeding.peeking import look_into
from damselfly.services.seeding.reading import Intake
from damselfly.services.seeding.whole_hasher import WholeHasher
from damselfly.services.stores import drop_plain, open_pinned
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.provider import Source, SourceReading
from damselfly.wire.ciphers.data_keys import DataKey

NOT_FOUND: Final = 404
ACCEPTING: Final = (200, 206, 416)  # the last: of a content without bytes there is no part
REFUSALS_MAX: Final = 1024  # remembered 404s

log = get_log()


class SeedListener(Protocol):
    """Whoever wants an edition."""

    def on_edition(self, entry: StoredEdition, *, is_stale: bool, is_accepted: bool) -> None:
        """The edition is known; `entry` is pinned, and the listener's to unpin.

        Accepted is what was shown to the source, if that was asked at all.
        """

    def on_block(self, block_index: int, digest: bytes) -> None:
        """A block came from the source and is stored."""


class Seeding:
    """Gets editions of tasks into a store.

    Attributes:
        asking: Asks the sources.
    """

    def __init__(
        self,
        store: BlockStore,
        source: Source,
        options: SourceOptions,
        *,
        keys: EditionKeys,
        link_rate_bytes_per_s: float,
        metrics: Metrics,
        rng: random.Random,
        now_wall_s: Callable[[], float],
        compressor: Compressor | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._source = source
        self._options = options
        self._keys = keys
        self._compressor = compressor
        self._link_rate = link_rate_bytes_per_s
        self._metrics = metrics
        self._now_wall_s = now_wall_s
        self.asking = Asking(
            source,
            options,
            link_rate_bytes_per_s=link_rate_bytes_per_s,
            metrics=metrics,
            rng=rng,
            sleep=sleep,
        )
        # {(task, URL, headers): when its 404 is forgotten}
        self._refused: dict[tuple[TaskId, str, Headers], float] = {}

    async def obtain(
        self,
        spec: TaskSpec,
        listener: SeedListener,
        *,
        has_swarm: Callable[[EditionId], bool] = lambda _: False,
        is_near: bool = False,
    ) -> StoredEdition:
        """Return the sealed entry of the task's present edition.

        Args:
            spec: What is asked for.
            listener: Hears of it.
            has_swarm: Whether hosts are downloading an edition at this moment.
            is_near: Whoever asks is on this machine.

        Raises:
            SourceError: The source did not give it; what came is kept for the next time.
            DigestMismatchError: It is not what its digest promises; nothing is kept.
            StorageFullError: There is no room.
        """
        entry, verdict, is_accepted = await self._choose(spec, has_swarm)
        if entry is None or verdict is Verdict.FETCH:
            return await self._fetch(spec, listener, is_near=is_near)
        entry.pin()
        if verdict is Verdict.HIT and not entry.is_sealed:
            verdict = Verdict.RESUME
        if verdict is not Verdict.RESUME:
            listener.on_edition(entry, is_stale=verdict is Verdict.STALE, is_accepted=is_accepted)
            return entry
        listener.on_edition(entry, is_stale=False, is_accepted=is_accepted)
        with self._hashing(spec, entry) as hasher:
            await self._fill(spec, entry, listener, hasher, None)
            return await self._seal(spec, entry, hasher)

    # --- cache or source

    async def _choose(
        self, spec: TaskSpec, has_swarm: Callable[[EditionId], bool]
    ) -> tuple[StoredEdition | None, Verdict, bool]:
        """Return the best entry, what to do with it, and whether the source accepted us."""
        entries = await self._keys.usable(spec, self._store.editions_of(spec.task_id))
        entry = max(entries, key=lambda e: (e.is_sealed, e.validated_wall_s), default=None)
        if entry is None:
            return None, Verdict.FETCH, False
        cached = Cached(
            is_whole=entry.is_sealed,
            is_named_by_digest=spec.digest is not None,
            validators=entry.edition.validators,
            validated_wall_s=entry.validated_wall_s,
            has_swarm=has_swarm(entry.edition.edition_id),
            is_imported=entry.is_imported,
        )
        window_s = self._options.freshness_window_s
        verdict = judge_before(cached, now_wall_s=self._now_wall_s(), window_s=window_s)
        if verdict is not Verdict.VALIDATE:
            return entry, verdict, False
        error: SourceError | None = None
        word = SourceWord(status=None)
        http_headers: Headers = ()
        try:
            self._metrics.source_requests.labels("validate").inc()
            answer = await self._source.validate(spec, entry.edition.validators)
            word = SourceWord(status=answer.status, validators=answer.validators)
            http_headers = answer.http_headers
        except SourceError as exc:
            error = exc
        verdict = judge_after(cached, word, policy=self._options.serve_stale)
        if verdict is Verdict.FAIL:
            if isinstance(error, SourceUnreachableError) and entry.is_sealed:
                age_s = self._now_wall_s() - entry.validated_wall_s
                raise SourceUnreachableError(
                    url=error.url, reason=error.reason, copy_age_s=age_s
                ) from error
            if error is not None:
                raise error
            raise SourceRefusedError(
                url=spec.display_url, status=word.status or 0, http_headers=http_headers
            )
        if verdict in (Verdict.HIT, Verdict.RESUME):
            await self.confirm(spec, entry)
        return entry, verdict, verdict in (Verdict.HIT, Verdict.RESUME)

    async def confirm(self, spec: TaskSpec, entry: StoredEdition) -> None:
        """Record that the source gives an edition to whoever shows what a request shows."""
        await asyncio.to_thread(self._confirm, spec, entry)

    def _confirm(self, spec: TaskSpec, entry: StoredEdition) -> None:
        if not shown_by(spec):
            entry.mark_public()
        entry.mark_validated(self._now_wall_s())

    def _open(self, spec: TaskSpec, edition: Edition, data_key: DataKey | None) -> StoredEdition:
        """Return the entry of an edition that the source gives now, pinned."""
        entry = self._store.open(edition)
        if data_key is not None:
            entry.unlock(data_key)
        self._confirm(spec, entry)
        return entry

    async def authorise(self, spec: TaskSpec) -> None:
        """Ask the source whether it would answer a request, without reading its content.

        Raises:
            SourceError: It would not, or does not say.
        """
        self._metrics.source_requests.labels("authorise").inc()
        answer = await self._source.authorise(spec)
        if answer.status not in ACCEPTING:
            raise SourceRefusedError(
                url=spec.display_url, status=answer.status, http_headers=answer.http_headers
            )

    async def _fetch(
        self, spec: TaskSpec, listener: SeedListener, *, is_near: bool
    ) -> StoredEdition:
        key = (spec.task_id, spec.url, spec.headers)
        if self._refused.get(key, 0.0) > now_s():
            raise SourceRefusedError(url=spec.display_url, status=NOT_FOUND)
        here = self._store.editions_of(spec.task_id)
        data_key = self._keys.new() if self._keys.are_wanted(spec, here) else None
        if data_key is not None:
            await asyncio.to_thread(drop_plain, self._store, spec.task_id)
        try:
            reading = await self.asking.ask(spec)
        except SourceRefusedError as exc:
            if exc.status == NOT_FOUND and self._options.negative_window_s:
                if len(self._refused) >= REFUSALS_MAX:
                    self._refused.clear()
                self._refused[key] = now_s() + self._options.negative_window_s
            raise
        async with reading:
            reading, is_packed = await look_into(reading, self._compressor, is_near=is_near)
            edition = edition_of(
                *(spec, reading.answer, data_key),
                link_rate_bytes_per_s=self._link_rate,
                is_packed=is_packed,
            )
            if data_key is not None:
                edition = await self._keys.keep(data_key, edition)
            entry = await open_pinned(partial(self._open, spec, edition, data_key))
            listener.on_edition(entry, is_stale=False, is_accepted=True)
            if entry.is_sealed:
                return entry
            checksum = "" if edition.digest else reading.answer.checksum
            with self._hashing(spec, entry, checksum) as hasher:
                await self._fill(spec, entry, listener, hasher, reading)
                return await self._seal(spec, entry, hasher)

    # --- reading

    async def _fill(
        self,
        spec: TaskSpec,
        entry: StoredEdition,
        listener: SeedListener,
        hasher: WholeHasher,
        reading: SourceReading | None,
    ) -> None:
        """Read what is missing; `reading` is an open answer that gives all of it."""

        def on_block(block_index: int, digest: bytes) -> None:
            listener.on_block(block_index, digest)
            hasher.add(block_index)

        intake = Intake(on_block=on_block, hash_soon=hasher.hash_soon, compressor=self._compressor)
        attempt = 0
        while True:
            held_before = len(entry.held)
            try:
                await self._read_missing(spec, entry, intake, reading)
            except GaveWayError:
                if reading is not None:
                    await reading.__aexit__(None, None, None)
                reading = None
                if (pacer := self.asking.pacers.get(spec.task_id)) is not None:
                    await pacer.give_way()
            except SourceUnreachableError as exc:
                # Each attempt that gave a block starts the count anew.
                attempt = 1 if len(entry.held) > held_before else attempt + 1
                log.warning("source_broke", url=spec.display_url, reason=exc.reason)
                if attempt > self._options.retries_max:
                    raise
                reading = None
                await self.asking.sleep(self.asking.backoff.delay_s(attempt))
            else:
                return

    async def _read_missing(
        self,
        spec: TaskSpec,
        entry: StoredEdition,
        intake: Intake,
        reading: SourceReading | None,
    ) -> None:
        edition = entry.edition
        can_compare = spec.digest is not None or edition.validators.has_any
        if reading is not None:
            await self.asking.read_on(spec, entry, reading, intake)
        elif edition.size_bytes is None or not can_compare:
            # Parts cannot be asked for safely: all again, past what is held and still equal.
            await self.asking.read_span(spec, entry, None, intake)
        else:
            gaps = gap_spans(edition.layout, entry.held)
            await self.asking.read_gaps(spec, entry, gaps, intake)

    # --- the whole

    @contextmanager
    def _hashing(
        self, spec: TaskSpec, entry: StoredEdition, checksum: str = ""
    ) -> Iterator[WholeHasher]:
        """Give a hasher that follows the blocks in a task of its own.

        Its digest is checked when there is one to check against; otherwise it becomes known.
        """
        digest = spec.digest or entry.edition.digest
        algorithm = digest.algorithm if digest else "blake3"
        hasher = WholeHasher(entry, algorithm, checksum=checksum)
        running = asyncio.ensure_future(hasher.run())
        hasher.finished = running
        try:
            yield hasher
        except SourceChangedError:
            self._store.drop(entry)  # of a version that can never be completed
            raise
        finally:
            running.cancel()

    async def _seal(
        self, spec: TaskSpec, entry: StoredEdition, hasher: WholeHasher
    ) -> StoredEdition:
        hasher.end()
        assert hasher.finished is not None
        await hasher.finished
        actual = hasher.digest()
        self._check_digests(spec, entry, actual)
        if found := hasher.checksum_found():
            self._store.drop(entry)
            reason = f"its checksum is {found}, and not the one that it told"
            raise SourceBrokenError(url=spec.display_url, reason=reason)
        await asyncio.to_thread(entry.seal, actual)
        return entry

    def _check_digests(self, spec: TaskSpec, entry: StoredEdition, actual: Digest) -> None:
        expected = spec.digest or entry.edition.digest
        if expected is not None and expected != actual:
            self._store.drop(entry)
            raise DigestMismatchError(expected=str(expected), actual=str(actual))
