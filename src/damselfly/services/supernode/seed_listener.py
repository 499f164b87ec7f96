"""Hears of one seeding, and decides when the SuperNode is told of the edition."""

from dataclasses import dataclass
from typing import Protocol

from damselfly.core.access import ANYBODY, Credential
from damselfly.storage.store import StoredEdition
from damselfly.wire.session_messages import INLINE_BYTES_MAX


class Seeded(Protocol):
    """Who is told of seeds."""

    def on_edition(
        self, entry: StoredEdition, *, is_stale: bool, accepted: Credential | None
    ) -> None:
        """The edition is known; `entry` is pinned for whoever is told."""

    def on_seed_block(self, entry: StoredEdition, block_index: int) -> None:
        """A block of it came from the source."""


@dataclass(slots=True)
class SeedListener:
    """Hears of one seeding.

    A content short enough to travel in a message is told only when it is whole; one of
    unknown length when its first block is there, since it may be short.

    Attributes:
        seeded_bytes: What came from the source, in whole blocks.
    """

    told: Seeded
    credential: Credential
    entry: StoredEdition | None = None
    is_stale: bool = False
    is_accepted: bool = False
    is_told: bool = False
    seeded_bytes: int = 0

    def on_edition(self, entry: StoredEdition, *, is_stale: bool, is_accepted: bool) -> None:
        """Its edition is known."""
        self.entry, self.is_stale, self.is_accepted = entry, is_stale, is_accepted
        size = entry.edition.size_bytes
        if entry.is_sealed or (size is not None and size > INLINE_BYTES_MAX):
            self.tell()

    def on_block(self, block_index: int, digest: bytes) -> None:  # noqa: ARG002  # the entry has it
        """A block came."""
        assert self.entry is not None
        self.seeded_bytes += self.entry.edition.block_bytes
        if not self.is_told and self.entry.edition.size_bytes is None:
            self.tell()
        if self.is_told:
            self.told.on_seed_block(self.entry, block_index)

    def tell(self) -> None:
        """Tell of the edition, once."""
        if self.entry is not None and not self.is_told:
            self.is_told = True
            accepted = self.credential if self.is_accepted else None
            self.told.on_edition(
                self.entry,
                is_stale=self.is_stale,
                accepted=ANYBODY if self.entry.is_public else accepted,
            )

    def give_up(self) -> None:
        """The seeding failed: nobody takes over the pin of an edition that was not told."""
        if self.entry is not None and not self.is_told:
            self.entry.unpin()
