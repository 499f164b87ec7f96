"""The contract's own asserts tell as much as those of a test file."""

import pytest

pytest.register_assert_rewrite("contract.block_room", "contract.block_store")
