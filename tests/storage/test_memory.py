"""The store in memory keeps the contract of all stores; nothing of it is on a disk."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from contract.block_room import MakeStore
from contract.block_store import BlockStoreContract
from damselfly.errors import OutputError
from damselfly.storage.memory import MemoryStore
from storage.builders import HandClock, a_content, an_edition, files_no_longer_than, seal


class TestMemoryStore(BlockStoreContract):
    @pytest.fixture
    def make_store(self, clock: HandClock) -> Iterator[MakeStore]:
        with ExitStack() as stores:
            yield lambda quota_bytes=0: stores.enter_context(
                closing(MemoryStore(quota_bytes=quota_bytes, now_wall_s=clock))
            )


def test_a_content_in_memory_has_no_path_and_is_copied(tmp_path: Path) -> None:
    with closing(MemoryStore(now_wall_s=HandClock())) as store:
        entry = store.open(an_edition())
        seal(entry, a_content())

        assert entry.content_path == ""
        assert entry.place(str(tmp_path / "output")) == "copy"
        entry.unpin()


def test_half_an_output_is_removed(tmp_path: Path) -> None:
    with closing(MemoryStore(now_wall_s=HandClock())) as store:
        entry = store.open(an_edition())
        seal(entry, a_content())

        with files_no_longer_than(1000), pytest.raises(OutputError):
            entry.place(str(tmp_path / "output"))

        assert not (tmp_path / "output").exists()
