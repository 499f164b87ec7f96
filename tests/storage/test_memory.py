"""The store in memory keeps the contract."""

from collections.abc import Iterator

import pytest

from contract.block_store import QUOTA_BYTES, BlockStoreContract
from damselfly.storage.memory import MemoryStore


class TestMemoryStore(BlockStoreContract):
    @pytest.fixture
    def store(self) -> Iterator[MemoryStore]:
        store = MemoryStore(quota_bytes=QUOTA_BYTES, now_wall_s=lambda: 0.0)
        yield store
        store.close()
