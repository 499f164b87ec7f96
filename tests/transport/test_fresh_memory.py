"""Memory for blocks has the length that was asked for, and can be filled to its end."""

import pytest

from damselfly.transport.fresh_memory import HUGE_BYTES, fresh_memory


@pytest.mark.parametrize("length", [1, 4096, HUGE_BYTES - 1, HUGE_BYTES, 2 * HUGE_BYTES + 92])
def test_memory_can_be_filled_to_its_end(length: int) -> None:
    memory = fresh_memory(length)

    memory[:] = b"x" * length

    assert len(memory) == length
    assert fresh_memory(length)[0] == 0
