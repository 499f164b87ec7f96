"""The store on disk keeps the contract, minds its folder, and never gives out changed bytes.

What a kill and a crash leave behind is the subject of test_recovery.py.
"""

import errno
import gc
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contract.block_room import MakeStore
from contract.block_store import BlockStoreContract
from damselfly.core.blocks import BlockSet, Span
from damselfly.core.task import Edition, EditionId, TaskId
from damselfly.errors import StorageDamagedError, StorageFullError, StorageUnusableError
from damselfly.storage.disk import MARKER, DiskStore, boot_id
from damselfly.storage.disk_entry import DiskEntry
from storage.builders import (
    BLOCK_BYTES,
    CONTENT_BYTES,
    HandClock,
    a_block,
    a_content,
    a_disk_store,
    an_edition,
    files_no_longer_than,
    fill,
    folder_of,
    found,
    seal,
)


class TestDiskStore(BlockStoreContract):
    @pytest.fixture
    def make_store(self, clock: HandClock, tmp_path: Path) -> Iterator[MakeStore]:
        with ExitStack() as stores:
            yield lambda quota_bytes=0: stores.enter_context(
                a_disk_store(tmp_path / "cache", quota_bytes=quota_bytes, clock=clock)
            )


# --- the folder


def test_a_new_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "var" / "cache"

    with a_disk_store(root):
        assert {path.name for path in root.iterdir()} == {MARKER, "lock", "catalog"}
        assert root.stat().st_mode & 0o777 == 0o700


def test_an_empty_folder_may_become_a_store(root: Path) -> None:
    root.mkdir()

    with a_disk_store(root):
        assert (root / MARKER).exists()


def test_a_folder_with_other_files_is_refused_and_left_alone(root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("years of work")

    with pytest.raises(StorageUnusableError, match="other files"), a_disk_store(root):
        pass

    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_a_folder_in_use_is_refused_and_named(root: Path) -> None:
    with a_disk_store(root):
        with pytest.raises(StorageUnusableError, match="another process uses it") as caught:
            DiskStore(root, boot_id="", now_wall_s=HandClock())

        assert caught.value.path == str(root)


def test_a_closed_store_gives_its_folder_free(root: Path) -> None:
    with a_disk_store(root):
        pass

    with a_disk_store(root) as store:
        assert list(store.entries()) == []


def test_a_folder_of_another_owner_is_refused(root: Path) -> None:
    if os.geteuid() == 0:
        root.mkdir()
        os.chown(root, 65534, 65534)
    else:
        root = Path("/usr")  # it is there everywhere, and belongs to somebody else

    with pytest.raises(StorageUnusableError, match="another user"), a_disk_store(root):
        pass


@pytest.mark.parametrize(
    "unusable", [Path("/proc/damselfly"), Path("/dev/null"), Path("/dev/null/damselfly")]
)
def test_a_folder_that_cannot_be_made_is_refused_and_named(unusable: Path) -> None:
    with pytest.raises(StorageUnusableError) as caught, a_disk_store(unusable):
        pass

    assert caught.value.path == str(unusable)


def test_an_entry_lies_where_the_documentation_says(root: Path) -> None:
    edition = an_edition()
    with a_disk_store(root) as store:
        entry = store.open(edition)
        fill(entry, a_content())

        folder = folder_of(root, edition)
        assert {path.name for path in folder.iterdir()} == {"content", "journal", "edition.json"}
        assert (folder / "content").read_bytes() == a_content()
        assert (folder / "journal").stat().st_size == 3 * 48
        assert entry.content_path == str(folder / "content")


def test_no_id_leads_out_of_the_folder(root: Path, tmp_path: Path) -> None:
    outside = Edition(
        edition_id=EditionId("../../../../../outside"),
        task_id=TaskId("0" * 64),
        block_bytes=BLOCK_BYTES,
        size_bytes=0,
    )
    with a_disk_store(root) as store, pytest.raises(AssertionError):
        store.open(outside)

    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert {path.name for path in root.iterdir()} == {MARKER, "lock", "catalog"}


def test_a_content_that_is_not_written_yet_takes_no_room_on_the_disk(root: Path) -> None:
    with a_disk_store(root) as store:
        entry = store.open(an_edition(size_bytes=1 << 30, block_bytes=1 << 20))

        status = Path(entry.content_path).stat()

        assert status.st_size == 1 << 30
        assert status.st_blocks * 512 < 1 << 20


def test_a_dropped_entry_leaves_no_file(root: Path) -> None:
    edition = an_edition()
    with a_disk_store(root) as store:
        entry = store.open(edition)
        seal(entry, a_content())
        entry.unpin()

        store.drop(entry)

        assert [path for path in root.rglob("*") if path.is_file() and path.parent != root] == []


def test_the_machine_has_a_boot_id_that_stays() -> None:
    assert boot_id() == boot_id() != ""


# --- files


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_only_entries_in_use_have_open_files(root: Path) -> None:
    with a_disk_store(root) as store:
        before = open_files()
        entries = [store.open(an_edition(name)) for name in range(1, 6)]
        for entry in entries:
            seal(entry, a_content())
        in_use = open_files()

        for entry in entries:
            entry.unpin()

        assert in_use == before + 2 * len(entries)
        assert open_files() == before


def test_an_entry_that_nobody_pins_can_still_be_read(root: Path) -> None:
    with a_disk_store(root) as store:
        entry = store.open(an_edition())
        seal(entry, a_content())
        entry.unpin()

        assert entry.read_span(Span(500, 1500)) == a_content()[500:1500]


def test_a_sealed_content_without_write_permission_is_given_out(root: Path) -> None:
    """An output that is a hard link may be made read-only by its owner."""
    with a_disk_store(root) as store:
        entry = store.open(an_edition())
        seal(entry, a_content())
        entry.unpin()
        Path(entry.content_path).chmod(0o444)

        assert entry.sendable(0) is not None
        assert entry.read_span(Span(0, CONTENT_BYTES)) == a_content()


def test_notes_of_many_threads_do_not_meet(root: Path) -> None:
    with a_disk_store(root) as store, ThreadPoolExecutor(8) as threads:
        entry = store.open(an_edition())

        list(threads.map(entry.mark_validated, map(float, range(1, 200))))

        assert entry.validated_wall_s in range(1, 200)
        assert not list(folder_of(root, entry.edition).glob("*.new"))


# --- somebody wrote into a sealed content


def write_into(path: Path) -> None:
    """Write other bytes of the same length, until the time stamp shows it."""
    before = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before:  # a tick of the kernel's clock, at most 10 ms
        with path.open("r+b") as file:
            file.write(b"mine")


@contextmanager
def a_sealed_entry(root: Path) -> Iterator[tuple[DiskStore, DiskEntry]]:
    with a_disk_store(root) as store:
        entry = store.open(an_edition())
        seal(entry, a_content())
        entry.unpin()  # so that a drop closes its files
        yield store, entry


def test_a_block_that_somebody_wrote_into_is_not_sent(root: Path) -> None:
    with a_sealed_entry(root) as (store, entry):
        write_into(Path(entry.content_path))

        assert entry.sendable(2) is None
        assert list(store.entries()) == []


def test_a_content_that_somebody_wrote_into_is_not_read(root: Path) -> None:
    with a_sealed_entry(root) as (_, entry):
        write_into(Path(entry.content_path))

        with pytest.raises(StorageDamagedError, match="somebody wrote into it"):
            entry.read_span(Span(2000, 2500))


def test_a_content_that_somebody_wrote_into_is_not_placed(root: Path, tmp_path: Path) -> None:
    with a_sealed_entry(root) as (_, entry):
        write_into(Path(entry.content_path))

        with pytest.raises(StorageDamagedError):
            entry.place(str(tmp_path / "output"))

        assert not (tmp_path / "output").exists()


def test_a_content_that_somebody_wrote_into_is_not_found(root: Path) -> None:
    with a_sealed_entry(root) as (store, entry):
        write_into(Path(entry.content_path))

        assert store.find(entry.edition.edition_id) is None
        again = store.open(entry.edition)

        assert again is not entry
        assert again.held == BlockSet()


def test_a_content_that_somebody_made_longer_is_not_listed(root: Path) -> None:
    with a_sealed_entry(root) as (store, entry):
        with Path(entry.content_path).open("ab") as file:
            file.write(b"!")

        assert list(store.editions_of(entry.edition.task_id)) == []


def test_a_content_that_somebody_removed_is_dropped(root: Path) -> None:
    with a_sealed_entry(root) as (store, entry):
        Path(entry.content_path).unlink()

        assert store.find(entry.edition.edition_id) is None


def test_a_user_who_writes_into_his_output_keeps_it_and_nobody_else_gets_it(
    root: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with a_sealed_entry(root) as (_, entry):
        how = entry.place(str(output))
        write_into(output)

        is_shared = entry.sendable(0) is None

        assert is_shared == (how == "link")
        assert output.read_bytes() == b"mine" + a_content()[4:]


# --- room


def put_on_full_disk(entry: DiskEntry, *, which: str) -> None:
    """Let the kernel answer each write of content or journal with ENOSPC."""
    files = dict(zip(("content", "journal"), entry._files(), strict=True))
    with Path("/dev/full").open("r+b", buffering=0) as full:
        os.dup2(full.fileno(), files[which].fileno())


@pytest.mark.parametrize("which", ["content", "journal"])
def test_a_disk_that_fills_up_while_writing_drops_the_entry(root: Path, which: str) -> None:
    with a_disk_store(root) as store:
        entry = store.open(an_edition())
        other = store.open(an_edition(2))
        entry.write_block(a_block(a_content(), 0))
        put_on_full_disk(entry, which=which)

        with pytest.raises(StorageFullError) as caught:
            entry.write_block(a_block(a_content(), 1))
        entry.unpin()

        assert caught.value.path == str(root)
        assert caught.value.needed_bytes == BLOCK_BYTES
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert list(store.entries()) == [other]
        assert not folder_of(root, entry.edition).exists()


def test_a_disk_that_is_full_when_an_edition_begins_leaves_nothing_half(root: Path) -> None:
    edition = an_edition()
    folder = folder_of(root, edition)
    with a_disk_store(root, reserve_bytes=1 << 62) as store:
        with pytest.raises(StorageFullError) as caught:
            store.open(edition)

        assert caught.value.free_bytes == 0
        assert not folder.exists()
        assert list(store.entries()) == []


def test_a_length_that_the_disk_cannot_have_leaves_nothing_half(root: Path) -> None:
    edition = an_edition(size_bytes=1 << 30)
    with a_disk_store(root) as store:
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always", ResourceWarning)
            with files_no_longer_than(1 << 20), pytest.raises(StorageFullError):
                store.open(edition)
            gc.collect()

        assert left_open == []
        assert not folder_of(root, edition).exists()
        assert list(store.entries()) == []


def test_a_folder_that_became_unusable_is_told(root: Path) -> None:
    with a_disk_store(root) as store:
        (root / "editions").write_text("not a folder")

        with pytest.raises(StorageUnusableError) as caught:
            store.open(an_edition())

        assert caught.value.path == str(root)
        assert list(store.entries()) == []


def test_the_reserve_of_the_disk_is_nobodys_room(root: Path) -> None:
    with a_disk_store(root, reserve_bytes=1 << 62) as store:
        assert store.free_bytes() == 0
    with a_disk_store(root, quota_bytes=5000) as store:
        entry = store.open(an_edition())
        seal(entry, a_content())

        assert store.free_bytes() == 5000 - CONTENT_BYTES


def test_a_store_on_a_full_disk_can_be_closed_and_keeps_its_entries(root: Path) -> None:
    edition = an_edition()
    with a_disk_store(root) as store:
        entry = store.open(edition)
        seal(entry, a_content())
        entry.unpin()
        (folder_of(root, edition) / "edition.json.new").symlink_to("/dev/full")

        try:
            store.close()
        finally:
            (folder_of(root, edition) / "edition.json.new").unlink(missing_ok=True)

    with a_disk_store(root) as store:
        assert found(store, edition).is_sealed


def test_a_cache_that_somebody_deleted_is_told_as_damaged(root: Path) -> None:
    edition = an_edition()
    with a_disk_store(root) as store:
        entry = store.open(edition)
        entry.unpin()  # files are closed
        for path in folder_of(root, edition).iterdir():
            path.unlink()
        folder_of(root, edition).rmdir()

        try:
            with pytest.raises(StorageDamagedError):
                entry.write_block(a_block(a_content(), 0))
        finally:
            store.drop(entry)
