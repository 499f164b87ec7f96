"""What tests of stores share; the contract's asserts tell as much as those of a test file."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract.block_room", "contract.block_store")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"
