"""What the SuperNode gives of each edition that is wanted: block list, grants, links, uploads."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from damselfly.core.blocks import BlockSet
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.core.task import EditionId, TaskId
from damselfly.services.options import SuperNodeOptions
from damselfly.services.peering.links import Links
from damselfly.services.peering.uploads import Uploads
from damselfly.services.seeding.pacing import TRICKLE_SHARE
from damselfly.services.supernode.block_feed import BlockFeed, Post
from damselfly.services.supernode.seed_grants import SeedGrants
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.telemetry.metrics import Metrics

UPLOADS_PER_SLOT: Final = 4  # grants are counted by their plan; this only bounds a crowd


@dataclass(slots=True)
class _Feeding:
    entry: StoredEdition
    feed: BlockFeed
    grants: SeedGrants
    is_seeding: bool = True  # what is whole may be so for a moment before its seeding ends


class Feeds:
    """The editions that hosts are fed with; each entry is pinned while it is fed.

    Attributes:
        uploads: Gives the bytes of blocks.
        links: Tells which are here, and grants them.
    """

    def __init__(
        self,
        options: SuperNodeOptions,
        *,
        store: BlockStore,
        client: aiohttp.ClientSession,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
        post: Post,
    ) -> None:
        self._slots = options.uploads.slots
        self._post = post
        self._feeds: dict[EditionId, _Feeding] = {}
        self.uploads = Uploads(
            store,
            options.uploads,
            slots=UPLOADS_PER_SLOT * options.uploads.slots,
            trickle_bytes_per_s=TRICKLE_SHARE * options.assumed_link_rate_bytes_per_s,
            metrics=metrics,
            is_gradual=False,
            on_sent=self._on_sent,
        )
        self.links = Links(
            host_id=SUPERNODE,
            held_of=self._held_of,
            load=lambda: self.uploads.load,
            client=client,
            tasks=tasks,
            links_max=4 * options.children_max,
        )

    def __len__(self) -> int:
        """Count the editions that are fed."""
        return len(self._feeds)

    def begin(self, entry: StoredEdition) -> None:
        """Feed hosts with an edition, and take over its pin."""
        edition_id = entry.edition.edition_id
        if (feeding := self._feeds.get(edition_id)) is not None:
            feeding.is_seeding = True
            entry.unpin()  # the feed that runs has its own pin
            return
        grants = SeedGrants(entry, slots=self._slots)
        self._feeds[edition_id] = _Feeding(entry, BlockFeed(entry, post=self._post), grants)
        self.links.listen(edition_id, grants)

    def entry_of(self, edition_id: EditionId) -> StoredEdition | None:
        """Return the entry of an edition that is fed."""
        feeding = self._feeds.get(edition_id)
        return feeding.entry if feeding else None

    def seed(self, edition_id: EditionId, block_index: int) -> None:
        """A block came from the source."""
        feeding = self._feeds[edition_id]
        feeding.feed.add(block_index)
        feeding.grants.seed(block_index)

    def seal(self, edition_id: EditionId) -> None:
        """All blocks are there, and the whole is right."""
        feeding = self._feeds[edition_id]
        feeding.is_seeding = False
        feeding.feed.seal()

    def subscribe(self, edition_id: EditionId, host_id: HostId) -> None:
        """Tell a host the block list, now and as it grows."""
        self._feeds[edition_id].feed.subscribe(host_id)

    def unsubscribe(self, host_id: HostId, task_id: TaskId | None = None) -> None:
        """Tell a host no more: of a task, or of none at all."""
        for feeding in self._feeds.values():
            if task_id is None or feeding.entry.edition.task_id == task_id:
                feeding.feed.unsubscribe(host_id)

    def end_unwanted(
        self, is_wanted: Callable[[EditionId], bool], *, task_id: TaskId | None = None
    ) -> None:
        """End what no swarm wants: all that is sealed, or all of a task whose seeding failed."""
        for edition_id, feeding in list(self._feeds.items()):
            has_failed = feeding.entry.edition.task_id == task_id
            if has_failed:
                feeding.is_seeding = False
            is_over = feeding.entry.is_sealed and not feeding.is_seeding and task_id is None
            if (has_failed or is_over) and not is_wanted(edition_id):
                self._end(edition_id)

    def expire_grants(self) -> None:
        """Take back grants that nobody used."""
        for feeding in self._feeds.values():
            feeding.grants.expire()

    def _end(self, edition_id: EditionId) -> None:
        feeding = self._feeds.pop(edition_id)
        feeding.feed.end()
        self.links.unlisten(edition_id)
        self.links.close_edition(edition_id)
        feeding.entry.unpin()

    def _on_sent(self, edition_id: EditionId, block_index: int, host_id: str) -> None:
        if (feeding := self._feeds.get(edition_id)) is not None:
            feeding.grants.on_sent(HostId(host_id), block_index)

    def _held_of(self, edition_id: EditionId) -> BlockSet | None:
        entry = self.entry_of(edition_id)
        return entry.held if entry else None
