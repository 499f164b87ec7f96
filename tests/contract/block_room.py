"""What every store promises about its room: who leaves, who stays, and who is refused.

A part of the contract in block_store.py.
"""

from collections.abc import Callable

import pytest

from damselfly.core.blocks import BlockSet
from damselfly.errors import StorageFullError
from damselfly.storage.store import BlockStore
from storage.builders import CONTENT_BYTES, HandClock, a_block, a_content, an_edition, fill, seal

MakeStore = Callable[..., BlockStore]


class BlockRoomContract:
    """Eviction and quota."""

    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def make_store(self) -> MakeStore:
        raise NotImplementedError

    def test_the_least_recently_used_leaves_first(
        self, make_store: MakeStore, clock: HandClock
    ) -> None:
        store = make_store(quota_bytes=2 * CONTENT_BYTES)
        first, second = store.open(an_edition(1)), store.open(an_edition(2))
        for entry in (first, second):
            seal(entry, a_content())
            entry.unpin()
        clock.tick()
        store.find(first.edition.edition_id)

        third = store.open(an_edition(3))
        fill(third, a_content())

        assert {entry.edition.edition_id for entry in store.entries()} == {
            first.edition.edition_id,
            third.edition.edition_id,
        }
        assert store.used_bytes() == 2 * CONTENT_BYTES

    def test_a_pinned_entry_stays_whatever_comes(
        self, make_store: MakeStore, clock: HandClock
    ) -> None:
        store = make_store(quota_bytes=2 * CONTENT_BYTES)
        pinned = store.open(an_edition(1))
        pinned.pin()
        pinned.unpin()  # once of twice
        seal(pinned, a_content())
        clock.tick()
        idle = store.open(an_edition(2))
        seal(idle, a_content())
        idle.unpin()

        newcomer = store.open(an_edition(3))

        assert set(map(id, store.entries())) == {id(pinned), id(newcomer)}
        assert pinned.sendable(0) is not None

    def test_several_leave_when_one_is_not_enough(
        self, make_store: MakeStore, clock: HandClock
    ) -> None:
        store = make_store(quota_bytes=4000)
        for name in range(1, 5):
            entry = store.open(an_edition(name, size_bytes=1000))
            seal(entry, a_content(1000))
            entry.unpin()
            clock.tick()

        store.open(an_edition(9, size_bytes=2500))

        left = {entry.edition.edition_id for entry in store.entries()}
        assert left == {an_edition(4).edition_id, an_edition(9).edition_id}

    def test_what_exceeds_the_quota_is_refused_and_costs_nobody_his_entry(
        self, make_store: MakeStore
    ) -> None:
        store = make_store(quota_bytes=4000)
        entry = store.open(an_edition(1))
        seal(entry, a_content())
        entry.unpin()

        with pytest.raises(StorageFullError) as caught:
            store.open(an_edition(2, size_bytes=4001))

        assert (caught.value.needed_bytes, caught.value.free_bytes) == (4001, 4000)
        assert list(store.entries()) == [entry]

    def test_what_finds_only_pinned_entries_is_refused(self, make_store: MakeStore) -> None:
        store = make_store(quota_bytes=4000)
        entry = store.open(an_edition(1))
        seal(entry, a_content())

        with pytest.raises(StorageFullError) as caught:
            store.open(an_edition(2))

        assert (caught.value.needed_bytes, caught.value.free_bytes) == (CONTENT_BYTES, 1500)
        assert list(store.entries()) == [entry]

    def test_a_content_that_outgrows_the_quota_is_dropped(self, make_store: MakeStore) -> None:
        """A source that told no length is refused when it has become too much."""
        store = make_store(quota_bytes=2500)
        content = a_content(3000)
        entry = store.open(an_edition(size_bytes=None))
        for block_index in (0, 1):
            entry.write_block(a_block(content, block_index))

        with pytest.raises(StorageFullError):
            entry.write_block(a_block(content, 2))

        assert list(store.entries()) == []
        assert store.used_bytes() == 0
        entry.unpin()

    def test_growing_content_evicts_what_is_idle(self, make_store: MakeStore) -> None:
        store = make_store(quota_bytes=4000)
        idle = store.open(an_edition(1))
        seal(idle, a_content())
        idle.unpin()
        content = a_content(3000)
        entry = store.open(an_edition(2, size_bytes=None))

        for block_index in range(3):
            entry.write_block(a_block(content, block_index))

        assert list(store.entries()) == [entry]
        assert entry.held == BlockSet.full(3)

    def test_what_the_operator_keeps_stays_whatever_comes(
        self, make_store: MakeStore, clock: HandClock
    ) -> None:
        store = make_store(quota_bytes=2 * CONTENT_BYTES)
        kept, other = store.open(an_edition(1)), store.open(an_edition(2))
        for entry in (kept, other):
            seal(entry, a_content())
            entry.unpin()
            clock.tick()
        kept.keep(is_kept=True)

        newcomer = store.open(an_edition(3))
        seal(newcomer, a_content())

        assert set(map(id, store.entries())) == {id(kept), id(newcomer)}
        kept.keep(is_kept=False)
        store.open(an_edition(4))
        assert kept not in store.entries()

    def test_what_others_hold_too_leaves_first(
        self, make_store: MakeStore, clock: HandClock
    ) -> None:
        store = make_store(quota_bytes=2 * CONTENT_BYTES)
        alone, shared = store.open(an_edition(1)), store.open(an_edition(2))
        for entry in (alone, shared):
            seal(entry, a_content())
            entry.unpin()
            clock.tick()
        shared.is_elsewhere = True
        clock.tick()

        store.open(an_edition(3))

        assert alone in store.entries()
        assert shared not in store.entries()

    def test_room_is_made_many_times_in_the_right_order(
        self, make_store: MakeStore, clock: HandClock
    ) -> None:
        store = make_store(quota_bytes=5 * CONTENT_BYTES)
        for name in range(1, 21):
            entry = store.open(an_edition(name))
            seal(entry, a_content())
            entry.unpin()
            clock.tick()
            first = store.find(an_edition(1).edition_id)  # used all the time
            assert first is not None
            assert store.count() == min(name, 5)

        assert {entry.edition.edition_id for entry in store.entries()} == {
            an_edition(name).edition_id for name in (1, 17, 18, 19, 20)
        }
