"""What a kill or a crash leaves behind is whole, or resumable, or gone; never wrong bytes.

A kill leaves the kernel's memory: what was written is there for the next process. A crash of
the machine, told by another boot id, may have lost any bytes that were not waited for.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import blake3
import pytest

from damselfly.core.blocks import BlockSet, Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, Validators
from damselfly.storage.disk_entry import DiskEntry
from damselfly.storage.journal import RECORD_BYTES, Record
from storage.builders import (
    BLOCK_BYTES,
    CONTENT_BYTES,
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


def left_behind(root: Path, *, but: tuple[int, ...] = (), is_sealed: bool = False) -> Path:
    """Leave an entry as a killed process does, and return its folder."""
    with a_killed_store(root) as store:
        entry = store.open(an_edition())
        fill(entry, CONTENT, but=but)
        if is_sealed:
            entry.seal(None)
    return folder_of(root, an_edition())


def right_blocks(entry: DiskEntry) -> BlockSet:
    """Return the held blocks whose bytes have their digest."""
    layout = entry.edition.layout
    return BlockSet.of(
        index
        for index in entry.held
        if blake3.blake3(entry.read_span(layout.span(index))).digest() == entry.digest_of(index)
    )


# --- after a kill


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2", ""])
def test_a_killed_download_goes_on_with_what_it_had(root: Path, boot_id: str) -> None:
    left_behind(root, but=(1,))

    with a_disk_store(root, boot_id=boot_id) as store:
        entry = store.open(an_edition())

        assert entry.held == BlockSet.of([0, 2])
        assert store.used_bytes() == CONTENT_BYTES - BLOCK_BYTES
        seal(entry, CONTENT)
        assert entry.read_span(Span(0, CONTENT_BYTES)) == CONTENT


@pytest.mark.parametrize(
    ("is_settled", "boot_id", "is_back"),
    [
        (False, "boot-1", True),  # a kill: the kernel had it all
        (True, "boot-2", True),  # a crash: the disk had it all
        (False, "boot-2", False),  # a crash before that: the bytes tell
    ],
)
def test_a_sealed_entry_with_lost_bytes_comes_back_only_as_far_as_it_is_believed(
    root: Path, *, is_settled: bool, boot_id: str, is_back: bool
) -> None:
    with a_killed_store(root) as store:
        entry = store.open(an_edition())
        fill(entry, CONTENT)
        entry.seal(None)
        if is_settled:
            store.settle()
    content = folder_of(root, an_edition()) / "content"
    stamp = content.stat().st_mtime_ns
    content.write_bytes(bytes(CONTENT_BYTES))
    os.utime(content, ns=(stamp, stamp))

    with a_disk_store(root, boot_id=boot_id) as store:
        assert (store.find(an_edition().edition_id) is not None) == is_back


def test_a_sealed_entry_that_the_disk_had_in_time_comes_back_unsettled(root: Path) -> None:
    left_behind(root, is_sealed=True)

    with a_disk_store(root, boot_id="boot-2") as store:
        assert found(store, an_edition()).is_sealed


def test_all_that_is_known_of_an_edition_comes_back(root: Path) -> None:
    edition = Edition(
        edition_id=an_edition().edition_id,
        task_id=an_edition().task_id,
        block_bytes=BLOCK_BYTES,
        size_bytes=None,
        validators=Validators(etag='W/"5f3a"', last_modified="Mon, 02 Jan 2006 15:04:05 GMT"),
        display_url="http://example.com/ü",
    )
    digest = Digest("blake3", blake3.blake3(CONTENT).hexdigest())
    with a_killed_store(root) as store:
        entry = store.open(edition)
        entry.set_size(CONTENT_BYTES)
        fill(entry, CONTENT)
        entry.mark_validated(1234.5)
        entry.seal(digest)

    with a_disk_store(root) as store:
        entry = found(store, edition)

        assert entry.edition == edition.sized(CONTENT_BYTES).with_digest(digest)
        assert entry.is_sealed
        assert entry.validated_wall_s == 1234.5
        assert entry.digest_of(1) == a_block(CONTENT, 1).digest
        block = entry.sendable(1)
        assert block is not None
        assert block.body_crc32c == a_block(CONTENT, 1).body_crc32c
        entry.close_files()


@pytest.mark.parametrize("is_sealed_first", [True, False])
def test_a_public_content_stays_public(root: Path, *, is_sealed_first: bool) -> None:
    with a_killed_store(root) as store:
        entry = store.open(an_edition())
        assert not entry.is_public
        if not is_sealed_first:
            entry.mark_public()
        seal(entry, CONTENT)
        entry.mark_public()

    with a_disk_store(root) as store:
        assert found(store, an_edition()).is_public


def test_a_journal_cut_at_any_byte_gives_whole_records_only(root: Path) -> None:
    journal = left_behind(root) / "journal"
    whole = journal.read_bytes()
    assert len(whole) == 3 * RECORD_BYTES

    came_back = {}
    for length in range(len(whole) + 1):
        journal.write_bytes(whole[:length])
        with a_killed_store(root) as store:
            came_back[length] = found(store, an_edition()).held
        assert journal.read_bytes() == whole[: length // RECORD_BYTES * RECORD_BYTES]

    assert came_back == {
        length: BlockSet.full(length // RECORD_BYTES) for length in range(len(whole) + 1)
    }


def test_blocks_written_behind_a_torn_record_count(root: Path) -> None:
    """The rest of the torn record must not stand between the old ones and the new ones."""
    journal = left_behind(root) / "journal"
    journal.write_bytes(journal.read_bytes()[: RECORD_BYTES + 7])
    with a_killed_store(root) as store:
        fill(store.open(an_edition()), CONTENT)

    with a_disk_store(root) as store:
        assert found(store, an_edition()).held == BlockSet.full(3)


def test_a_wrong_record_ends_the_journal(root: Path) -> None:
    journal = left_behind(root) / "journal"
    data = bytearray(journal.read_bytes())
    data[RECORD_BYTES + 5] ^= 1
    journal.write_bytes(data)

    with a_disk_store(root) as store:
        assert found(store, an_edition()).held == BlockSet.of([0])


def test_a_kill_between_block_and_record_loses_that_block_only(root: Path) -> None:
    content_file = left_behind(root, but=(1,)) / "content"
    with content_file.open("r+b") as file:
        file.seek(BLOCK_BYTES)
        file.write(CONTENT[BLOCK_BYTES : BLOCK_BYTES + 300])  # the pwrite did not end

    with a_disk_store(root) as store:
        entry = found(store, an_edition())

        assert entry.held == right_blocks(entry) == BlockSet.of([0, 2])
        seal(entry, CONTENT)
        assert entry.read_span(Span(0, CONTENT_BYTES)) == CONTENT
        entry.close_files()


def test_a_kill_before_the_seal_leaves_all_blocks_and_no_seal(root: Path) -> None:
    left_behind(root)

    with a_disk_store(root) as store:
        entry = found(store, an_edition())

        assert not entry.is_sealed
        assert entry.held == BlockSet.full(3)
        entry.seal(None)
        assert entry.is_sealed


def test_a_kill_while_the_edition_file_is_written_leaves_the_old_one(root: Path) -> None:
    (left_behind(root, is_sealed=True) / "edition.json.new").write_text('{"edition_id": "00')

    with a_disk_store(root) as store:
        assert found(store, an_edition()).is_sealed


def test_a_kill_while_an_entry_is_made_leaves_nothing(root: Path) -> None:
    folder = left_behind(root)
    (folder / "edition.json").unlink()

    with a_disk_store(root) as store:
        assert list(store.entries()) == []
        assert not folder.exists()


def test_a_kill_while_an_entry_is_dropped_leaves_nothing(root: Path) -> None:
    folder = left_behind(root, is_sealed=True)
    grave = folder.rename(folder.with_name(f"{folder.name}.dropped"))

    with a_disk_store(root) as store:
        assert store.find(an_edition().edition_id) is None
        assert not grave.exists()


# --- after a crash of the machine


def lose_bytes(folder: Path, block_index: int) -> None:
    """Put zeros where a block was, as a file system does that had no time to write it."""
    with (folder / "content").open("r+b") as file:
        file.seek(block_index * BLOCK_BYTES)
        file.write(bytes(100))


def test_after_a_kill_the_journal_is_believed(root: Path) -> None:
    """The proof that nothing is hashed: bytes that are wrong on purpose are still held."""
    lose_bytes(left_behind(root), 1)

    with a_disk_store(root, boot_id="boot-1") as store:
        assert found(store, an_edition()).held == BlockSet.full(3)


@pytest.mark.parametrize("boot_id", ["boot-2", ""])
def test_after_a_crash_only_blocks_with_their_digest_are_held(root: Path, boot_id: str) -> None:
    lose_bytes(left_behind(root), 1)

    with a_disk_store(root, boot_id=boot_id) as store:
        entry = found(store, an_edition())

        assert entry.held == right_blocks(entry) == BlockSet.of([0, 2])
        entry.close_files()


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_block_lost_in_a_crash_stays_lost(root: Path, *, is_killed: bool) -> None:
    """The second process after the crash believes the journal again: it must be right by then."""
    lose_bytes(left_behind(root), 1)
    with a_killed_store(root, boot_id="boot-2") as store:
        entry = found(store, an_edition())
        entry.mark_validated(5.0)  # writes the edition file, with the new boot id
        if not is_killed:
            entry.keep(is_kept=True)

    with a_disk_store(root, boot_id="boot-2") as store:
        entry = found(store, an_edition())

        held = entry.held
        right = right_blocks(entry)
        entry.close_files()
        assert held == right == BlockSet.of([0, 2])


def test_after_a_crash_a_content_that_is_shorter_loses_its_end(root: Path) -> None:
    os.truncate(left_behind(root) / "content", 1700)

    with a_disk_store(root, boot_id="boot-2") as store:
        assert found(store, an_edition()).held == BlockSet.of([0])


def test_a_sealed_entry_comes_back_after_a_crash(root: Path) -> None:
    left_behind(root, is_sealed=True)

    with a_disk_store(root, boot_id="boot-2") as store:
        entry = found(store, an_edition())

        assert entry.is_sealed
        assert entry.read_span(Span(0, CONTENT_BYTES)) == CONTENT
        entry.close_files()


def test_a_sealed_entry_whose_content_is_not_as_it_was_is_gone(root: Path) -> None:
    folder = left_behind(root, is_sealed=True)
    lose_bytes(folder, 1)
    os.utime(folder / "content", ns=(1, 1))  # whatever the tick of the kernel's clock

    with a_disk_store(root) as store:
        assert store.find(an_edition().edition_id) is None
        assert (store.count(), store.used_bytes()) == (0, 0)
        assert not folder.exists()


def test_a_sealed_entry_that_lacks_a_record_is_gone(root: Path) -> None:
    folder = left_behind(root, is_sealed=True)
    os.truncate(folder / "journal", 2 * RECORD_BYTES + 10)

    with a_disk_store(root) as store:
        assert store.editions_of(an_edition().task_id) == []
        assert not folder.exists()


# --- what nobody of ours wrote


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"edition_id": "f" * 32}, id="another-edition"),
        pytest.param({"edition_id": "../../../outside"}, id="edition-outside"),
        pytest.param({"task_id": "../../../etc"}, id="task-outside"),
        pytest.param({"block_bytes": 0}, id="no-block-bytes"),
        pytest.param({"block_bytes": "many"}, id="block-bytes-in-words"),
        pytest.param({"size_bytes": -1}, id="negative-size"),
        pytest.param({"digest": "md5:0"}, id="digest-that-is-none"),
    ],
)
def test_an_edition_file_that_cannot_be_ours_is_not_believed(
    root: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    path = left_behind(root) / "edition.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    with a_disk_store(root) as store:
        assert list(store.entries()) == []
        assert not path.parent.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_an_edition_file_that_is_none_is_cleared_away(root: Path, data: bytes) -> None:
    path = left_behind(root) / "edition.json"
    path.write_bytes(data)

    with a_disk_store(root) as store:
        assert list(store.entries()) == []
        assert not path.parent.exists()


def test_strange_folders_are_cleared_away(root: Path) -> None:
    strange = left_behind(root, is_sealed=True).parent / "strange"
    strange.mkdir()
    (root / "catalog").unlink()  # a start that has it does not look into folders

    with a_disk_store(root) as store:
        assert found(store, an_edition()).is_sealed
        assert not strange.exists()


def test_a_record_of_a_block_beyond_the_end_harms_nobody(root: Path) -> None:
    """A sealed entry is whole by its count of blocks; a foreign record must not stand for one."""
    folder = left_behind(root, but=(2,))
    with (folder / "journal").open("ab") as file:
        file.write(Record(7, BLOCK_BYTES, bytes(32), 0).encode())

    with a_disk_store(root, boot_id="boot-2") as store:
        assert found(store, an_edition()).held == BlockSet.of([0, 1])


# --- a real kill

WRITER = """
import sys
from pathlib import Path

from damselfly.storage.disk import DiskStore
from storage.builders import a_block, a_content, an_edition

content = a_content(4000 * 1000)
store = DiskStore(Path(sys.argv[1]), boot_id="boot-1", now_wall_s=lambda: 0.0)
entry = store.open(an_edition(size_bytes=len(content)))
for index in range(4000):
    entry.write_block(a_block(content, index))
    print(index, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("written_count", [1, 50, 700])
def test_a_sigkill_while_writing_leaves_every_block_that_was_told(
    root: Path, written_count: int
) -> None:
    tests = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        env=os.environ | {"PYTHONPATH": str(tests)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(written_count)]
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL

    with a_disk_store(root, boot_id="boot-1") as store:
        (entry,) = store.entries()
        held = entry.held
        right = right_blocks(entry)
        entry.close_files()

    assert right == held
    assert BlockSet.of(told) - held == BlockSet()
