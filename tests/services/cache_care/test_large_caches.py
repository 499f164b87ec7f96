"""A cache with very many entries does not make the process stop again and again."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from damselfly.services import stores
from damselfly.services.options import CacheOptions
from storage.builders import a_content, an_edition, seal


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    store = stores.open_store(tmp_path / "cache", CacheOptions(reserve_bytes=0))
    for name in range(3):
        entry = store.open(an_edition(name))
        seal(entry, a_content())
        entry.unpin()
    store.close()
    yield tmp_path / "cache"
    gc.unfreeze()


@pytest.mark.parametrize(("least", "is_frozen"), [(2, True), (3, False)])
def test_many_entries_are_left_out_of_garbage_collections(
    root: Path, monkeypatch: pytest.MonkeyPatch, least: int, *, is_frozen: bool
) -> None:
    monkeypatch.setattr(stores, "FROZEN_MIN", least)
    before = gc.get_freeze_count()

    store = stores.open_store(root, CacheOptions(reserve_bytes=0))

    assert gc.isenabled()
    assert (gc.get_freeze_count() > before) is is_frozen
    assert store.count() == 3
    store.close()
