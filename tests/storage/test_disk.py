"""The store on disk keeps the contract, and survives what happens to disks and processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.block_store import (
    BLOCK_BYTES,
    QUOTA_BYTES,
    BlockStoreContract,
    a_block,
    an_edition,
    fill,
)
from damselfly.core.blocks import BlockSet
from damselfly.errors import StorageDamagedError, StorageFullError, StorageUnusableError
from damselfly.storage.disk import DiskStore
from damselfly.storage.journal import RECORD_BYTES

Opener = Callable[..., DiskStore]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Give a function that opens the store, closing the one before: as restarts do."""
    stores: list[DiskStore] = []

    def open_store(*, boot_id: str = "boot-1", quota_bytes: int = 0) -> DiskStore:
        for store in stores:
            kill(store)
        stores.append(
            DiskStore(
                tmp_path / "data",
                quota_bytes=quota_bytes,
                boot_id=boot_id,
                now_wall_s=lambda: 100.0,
            )
        )
        return stores[-1]

    yield open_store
    for store in stores:
        kill(store)


def kill(store: DiskStore) -> None:
    """End a store as a SIGKILL would: files closed, nothing written."""
    for entry in store.entries():
        entry.close_files()
    store._lock_file.close()


def folder_of(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "data" / "editions").glob("*/*/*")
    return folder


class TestDiskStore(BlockStoreContract):
    @pytest.fixture
    def store(self, opened: Opener) -> DiskStore:
        return opened(quota_bytes=QUOTA_BYTES)


def test_blocks_of_a_killed_process_are_held_by_the_next(opened: Opener) -> None:
    entry = opened().open(an_edition())
    entry.write_block(a_block(0))
    entry.write_block(a_block(2, 500))

    again = opened().find(an_edition().edition_id)

    assert again is not None
    assert again.held == BlockSet.of([0, 2])
    assert again.edition == an_edition()


def test_journal_cut_anywhere_gives_whole_records_only(opened: Opener, tmp_path: Path) -> None:
    entry = opened().open(an_edition())
    fill(entry, is_sealed=False)
    journal = folder_of(tmp_path) / "journal"
    whole = journal.read_bytes()

    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        again = opened().find(an_edition().edition_id)
        assert again is not None
        assert len(again.held) == length // RECORD_BYTES
        again.write_block(a_block(2, 500))
        assert 2 in again.held


def test_damaged_record_ends_the_journal(opened: Opener, tmp_path: Path) -> None:
    fill(opened().open(an_edition()), is_sealed=False)
    journal = folder_of(tmp_path) / "journal"
    data = bytearray(journal.read_bytes())
    data[RECORD_BYTES + 5] ^= 1
    journal.write_bytes(data)

    again = opened().find(an_edition().edition_id)

    assert again is not None
    assert again.held == BlockSet.of([0])


def test_after_a_crash_of_the_machine_unsealed_blocks_are_hashed_again(
    opened: Opener, tmp_path: Path
) -> None:
    fill(opened().open(an_edition()), is_sealed=False)
    with (folder_of(tmp_path) / "content").open("r+b") as file:
        file.seek(BLOCK_BYTES + 1)
        file.write(b"never reached the disk")

    same_boot = opened(boot_id="boot-1").find(an_edition().edition_id)
    assert same_boot is not None
    assert same_boot.held == BlockSet.full(3)
    other_boot = opened(boot_id="boot-2").find(an_edition().edition_id)

    assert other_boot is not None
    assert other_boot.held == BlockSet.of([0, 2])


def test_sealed_entry_comes_back_sealed_also_after_a_crash(opened: Opener) -> None:
    content = fill(opened().open(an_edition()))

    again = opened(boot_id="boot-2").find(an_edition().edition_id)

    assert again is not None
    assert again.is_sealed
    assert b"".join(again.read_span(again.edition.layout.span(i)) for i in range(3)) == content


def test_entry_into_which_somebody_wrote_is_dropped(opened: Opener, tmp_path: Path) -> None:
    store = opened()
    entry = store.open(an_edition())
    fill(entry)
    output = tmp_path / "out"
    os.link(entry.content_path, output)
    output.write_bytes(b"the user's own")

    with pytest.raises(StorageDamagedError):
        entry.place(str(tmp_path / "second"))
    assert entry.sendable(0) is None
    entry.unpin()
    assert store.find(an_edition().edition_id) is None
    assert output.read_bytes() == b"the user's own"


def test_half_made_and_foreign_folders_are_cleared(opened: Opener, tmp_path: Path) -> None:
    fill(opened().open(an_edition()))
    folder = folder_of(tmp_path)
    (folder / "edition.json").write_text("{")
    (folder.parent / "strange").mkdir()

    store = opened()

    assert list(store.entries()) == []
    assert list(folder.parent.iterdir()) == []


def test_edition_file_with_another_id_is_not_believed(opened: Opener, tmp_path: Path) -> None:
    fill(opened().open(an_edition()))
    path = folder_of(tmp_path) / "edition.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "task_id": "../../../etc"}))

    assert list(opened().entries()) == []


def test_folder_in_use_is_refused(opened: Opener, tmp_path: Path) -> None:
    opened()

    with pytest.raises(StorageUnusableError, match="another process"):
        DiskStore(tmp_path / "data", boot_id="", now_wall_s=lambda: 0.0)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")

    with pytest.raises(StorageUnusableError, match="other files"):
        DiskStore(tmp_path, boot_id="", now_wall_s=lambda: 0.0)


def test_disk_without_room_drops_the_entry_and_says_so(tmp_path: Path) -> None:
    everything = os.statvfs(tmp_path)
    reserve = everything.f_blocks * everything.f_frsize  # nothing may be used
    store = DiskStore(tmp_path / "data", reserve_bytes=reserve, boot_id="", now_wall_s=lambda: 0.0)

    with pytest.raises(StorageFullError, match="0 free"):
        store.open(an_edition())

    assert list((tmp_path / "data" / "editions").glob("*/*/*")) == []
    store.close()


WRITER = """
import sys, itertools
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from contract.block_store import a_block, an_edition
from damselfly.storage.disk import DiskStore
store = DiskStore(Path(sys.argv[1]), boot_id="boot-1", now_wall_s=lambda: 0.0)
entry = store.open(an_edition(size_bytes=50_000_000))
print("begun", flush=True)
for index in itertools.count():
    entry.write_block(a_block(index % 50_000))
"""


@pytest.mark.slow
def test_sigkill_in_the_midst_of_writing_leaves_only_right_blocks(
    opened: Opener, tmp_path: Path
) -> None:
    tests = str(Path(__file__).resolve().parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "data"), tests], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    journal = folder_of(tmp_path) / "journal"
    while not journal.exists() or journal.stat().st_size < 20 * RECORD_BYTES:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    # As if the machine had crashed: each block that is held then was hashed again.
    entry = opened(boot_id="boot-2").find(an_edition().edition_id)
    same = opened(boot_id="boot-1").find(an_edition().edition_id)

    assert entry is not None
    assert same is not None
    assert entry.held == same.held
    assert len(entry.held) >= 20
