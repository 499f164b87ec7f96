"""A start believes the catalog if it may, and finds by itself what the catalog may not know."""

import os
from pathlib import Path

import pytest

from damselfly.core.blocks import BlockSet
from damselfly.storage.disk import DiskStore
from damselfly.storage.disk_entry import DiskEntry
from storage.builders import (
    CONTENT_BYTES,
    HandClock,
    a_block,
    a_content,
    a_disk_store,
    a_killed_store,
    an_edition,
    fill,
    folder_of,
    found,
    seal,
)

CONTENT = a_content()


def names_in(store: DiskStore) -> set[str]:
    return {entry.edition.edition_id for entry in store.entries()}


def is_asleep(entry: DiskEntry) -> bool:
    return entry._records is None


def add(store: DiskStore, *names: int) -> None:
    for name in names:
        entry = store.open(an_edition(name))
        seal(entry, CONTENT)
        entry.unpin()


def test_a_start_after_a_kill_looks_into_no_folder(root: Path) -> None:
    with a_killed_store(root) as store:
        add(store, 1, 2)
    folder_of(root, an_edition(1)).rename(root.parent / "elsewhere")

    with a_disk_store(root) as store:
        assert names_in(store) == {an_edition(1).edition_id, an_edition(2).edition_id}
        assert store.used_bytes() == 2 * CONTENT_BYTES
        assert store.find(an_edition(1).edition_id) is None  # only now
        assert store.used_bytes() == CONTENT_BYTES


def test_a_sleeping_entry_wakes_when_it_is_found(root: Path) -> None:
    with a_disk_store(root) as store:
        add(store, 1)

    with a_disk_store(root) as store:
        (entry,) = store.entries()
        assert entry.held == BlockSet.full(3)
        assert entry.stored_bytes == CONTENT_BYTES
        assert entry.digest_of(1) == a_block(CONTENT, 1).digest


def test_an_idle_entry_falls_asleep_and_wakes_as_it_was(root: Path) -> None:
    clock = HandClock()
    with a_disk_store(root, clock=clock) as store:
        add(store, 1)
        entry = found(store, an_edition(1))
        store.settle()
        assert not is_asleep(entry)  # it was used just now

        clock.wall_s += 61
        store.settle()

        assert is_asleep(entry)
        assert found(store, an_edition(1)) is entry
        block = entry.sendable(2)
        assert block is not None
        count = block.header.plain_bytes
        assert os.pread(block.file.fileno(), count, block.offset) == CONTENT[2000:]
        entry.close_files()


def test_an_entry_in_use_stays_awake(root: Path) -> None:
    clock = HandClock()
    with a_disk_store(root, clock=clock) as store:
        seal(store.open(an_edition(1)), CONTENT)  # pinned
        clock.wall_s += 61
        store.settle()

        assert not is_asleep(found(store, an_edition(1)))


def test_when_an_entry_was_last_used_outlives_a_kill_once_it_sleeps(root: Path) -> None:
    clock = HandClock()
    store = DiskStore(root, boot_id="boot-1", now_wall_s=clock)
    add(store, 1)
    clock.wall_s += 1000
    store.find(an_edition(1).edition_id)
    used_wall_s = clock.wall_s
    clock.wall_s += 61
    store.settle()
    store.abandon()

    with a_disk_store(root) as store:
        (entry,) = store.entries()
        assert entry.used_wall_s == used_wall_s


def test_what_was_dropped_does_not_come_back(root: Path) -> None:
    with a_killed_store(root) as store:
        add(store, 1, 2)
        store.drop(found(store, an_edition(1)))

    with a_disk_store(root) as store:
        assert names_in(store) == {an_edition(2).edition_id}


@pytest.mark.parametrize("has_catalog", [True, False])
def test_what_the_operator_keeps_or_imported_outlives_a_kill(
    root: Path, *, has_catalog: bool
) -> None:
    with a_killed_store(root) as store:
        add(store, 1, 2)
        found(store, an_edition(1)).keep(is_kept=True)
        found(store, an_edition(2)).mark_imported()
    if not has_catalog:
        (root / "catalog").unlink()

    with a_disk_store(root) as store:
        kept, imported = found(store, an_edition(1)), found(store, an_edition(2))
        assert (kept.is_kept, kept.is_imported, kept.is_public) == (True, False, False)
        assert (imported.is_kept, imported.is_imported, imported.is_public) == (False, True, True)


@pytest.mark.parametrize("how", ["gone", "cut", "spoiled", "foreign"])
def test_a_catalog_that_cannot_be_believed_is_made_anew_from_the_folders(
    root: Path, how: str
) -> None:
    with a_killed_store(root) as store:
        add(store, 1, 2, 3)
    catalog = root / "catalog"
    match how:
        case "gone":
            catalog.unlink()
        case "cut":
            os.truncate(catalog, catalog.stat().st_size // 2)
        case "spoiled":
            data = bytearray(catalog.read_bytes())
            data[len(data) // 2] ^= 1
            catalog.write_bytes(data)
        case _:
            catalog.write_bytes(b"something else\n")

    with a_killed_store(root) as store:
        assert len(names_in(store)) == 3
        assert store.used_bytes() == 3 * CONTENT_BYTES

    with a_disk_store(root) as store:
        assert len(names_in(store)) == 3


def test_a_crash_of_the_machine_that_lost_the_end_of_the_catalog_loses_no_entry(
    root: Path,
) -> None:
    with a_killed_store(root) as store:
        add(store, 1)
        store.settle()
        size = (root / "catalog").stat().st_size
        add(store, 2)
        store.settle()
    os.truncate(root / "catalog", size)

    with a_disk_store(root, boot_id="boot-2") as store:
        assert len(names_in(store)) == 2


def test_a_catalog_that_cannot_be_written_is_gone_and_so_never_wrong(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_killed_store(root) as store:
        add(store, 1)
        store._catalog.abandon()
        full = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115  # the store closes it
        monkeypatch.setattr(store._catalog, "_file", full)
        add(store, 2)
        assert not (root / "catalog").exists()

    with a_disk_store(root) as store:
        assert len(names_in(store)) == 2


def test_a_catalog_of_which_most_no_longer_counts_is_written_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("damselfly.storage.catalog_log._WASTE_MIN", 50)
    with a_killed_store(root) as store:
        add(store, 1)
        entry = found(store, an_edition(1))
        for count in range(60):
            entry.keep(is_kept=count % 2 == 0)
        grown = (root / "catalog").stat().st_size
        store.settle()
        assert (root / "catalog").stat().st_size < grown / 10

    with a_disk_store(root) as store:
        assert len(names_in(store)) == 1


def test_a_catalog_that_names_what_is_no_edition_harms_nobody(root: Path) -> None:
    with a_disk_store(root) as store:
        entry = store.open(an_edition(1))
        fill(entry, CONTENT, but=(1,))
        known = entry.known()
        store.note(type(known)(edition_id="../../x", task_id="..", block_bytes=0, size_bytes=1), 9)
        store.abandon()

    with a_disk_store(root) as store:
        assert names_in(store) == {an_edition(1).edition_id}
        assert found(store, an_edition(1)).held == BlockSet.of([0, 2])
