"""The source read by a host itself: it has no SuperNode, or nobody else gives any more."""

from typing import Protocol

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading import events as core
from damselfly.core.task import TaskSpec
from damselfly.errors import DamselflyError, SourceChangedError
from damselfly.services.downloading.download_parts import DownloadParts
from damselfly.services.downloading.news import News
from damselfly.services.downloading.open_edition import OpenEdition
from damselfly.services.downloading.tally import Tally
from damselfly.services.seeding.reading import Intake, Limit
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log

log = get_log()


class Wanting(Protocol):
    """The download for which the source is read.

    Attributes:
        opened: Its edition, once it is known.
        tally: Takes in what comes.
        news: Told when there is more to read.
    """

    opened: OpenEdition | None
    tally: Tally
    news: News

    def handle(self, event: core.Event) -> None:
        """Tell its mind what happened."""

    def restart(self) -> bool:
        """Begin anew with the source's new content; False: it did so once already."""


class OwnReading:
    """Reads the source for one download."""

    def __init__(
        self, parts: DownloadParts, spec: TaskSpec, wanting: Wanting, *, throttle: Limit
    ) -> None:
        self._parts = parts
        self._spec = spec
        self._wanting = wanting
        self._throttle = throttle

    async def obtain(self) -> StoredEdition:
        """Get the edition as a SuperNode would: from the cache, else from the source.

        Raises:
            DamselflyError: It cannot be had.
        """
        if here := self._parts.store.editions_of(self._spec.task_id):
            # The source may not be asked about what was confirmed just now.
            is_public = all(entry.is_public for entry in here)
            await self._parts.authorising.check(self._spec, is_public=is_public)
        try:
            return await self._parts.seeding.obtain(self._spec, self)
        except SourceChangedError:
            if not self._wanting.restart():
                raise
        return await self.obtain()

    def on_edition(self, entry: StoredEdition, *, is_stale: bool, is_accepted: bool) -> None:
        """The edition is known."""
        if is_accepted:
            self._parts.authorising.accept(self._spec)
        opened = OpenEdition(self._parts, entry, throttle=self._throttle)
        self._wanting.opened, tally = opened, self._wanting.tally
        tally.state, tally.is_stale = "fetching", is_stale
        tally.bytes_by.cache = opened.bytes_of(entry.held)
        self._wanting.news.tell()

    def on_block(self, block_index: int, digest: bytes) -> None:
        """A block came from the source and is stored."""
        opened = self._count(block_index, digest)
        opened.on_held(block_index)
        self._parts.links.announce(opened.entry.edition.edition_id, block_index)
        self._wanting.news.tell()

    def _count(self, block_index: int, digest: bytes) -> OpenEdition:
        opened = self._wanting.opened
        assert opened is not None
        opened.digests[block_index] = digest
        self._wanting.tally.count("source", opened.bytes_of(BlockSet.of([block_index])))
        return opened

    async def read_run(self, first_index: int, stop_index: int | None) -> DamselflyError | None:
        """Read a run of blocks of the present edition; return what went wrong."""
        opened = self._wanting.opened
        assert opened is not None
        entry = opened.entry
        span = opened.span_of(first_index, stop_index)
        try:
            intake = Intake(
                on_block=self._on_block_of_run,
                expected=opened.digests.get,
                hash_soon=opened.hash_soon,
            )
            await self._parts.seeding.asking.read_span(self._spec, entry, span, intake)
            if entry.edition.size_bytes is not None and span is None:
                self._wanting.handle(core.Sealed(block_count=entry.edition.layout.block_count))
        except DamselflyError as exc:
            log.warning("source_failed", task=self._spec.task_id, reason=str(exc))
            return exc
        return None

    def _on_block_of_run(self, block_index: int, digest: bytes) -> None:
        self._count(block_index, digest)
        self._wanting.handle(core.BlocksListed(blocks=BlockSet.of([block_index])))
        # Its mind knows of the block then, and tells the others.
        self._wanting.handle(core.BlockStored(block_index=block_index, host_id=None))
