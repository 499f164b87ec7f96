"""Guards that a slow disk never holds up the event loop for long."""

import threading

import pytest

from damselfly.services.seeding.storing_pace import (
    IN_THREADS_S,
    SHORT_BYTES_MAX,
    SLOW_S,
    StoringPace,
)

SHORT = SHORT_BYTES_MAX


class Disk:
    """A disk that takes as long as is told, on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.takes_s = 0.0

    def store(self) -> bool:
        """Store something; say whether the event loop waited for it."""
        self.now_s += self.takes_s
        return threading.current_thread() is threading.main_thread()


@pytest.fixture
def disk() -> Disk:
    """Give a quick disk."""
    return Disk()


@pytest.fixture
def pace(disk: Disk) -> StoringPace:
    """Give a pace by its clock."""
    return StoringPace(clock=lambda: disk.now_s)


async def test_short_plain_blocks_are_stored_at_once_and_others_in_a_thread(
    disk: Disk, pace: StoringPace
) -> None:
    assert await pace.run(disk.store, length=SHORT, is_plain=True)
    assert not await pace.run(disk.store, length=SHORT + 1, is_plain=True)
    assert not await pace.run(disk.store, length=SHORT, is_plain=False)
    assert await pace.run(disk.store, length=SHORT, is_plain=True)


async def test_a_slow_disk_is_left_to_threads_for_a_while(disk: Disk, pace: StoringPace) -> None:
    disk.takes_s = 2 * SLOW_S
    assert await pace.run(disk.store, length=SHORT, is_plain=True)

    assert not await pace.run(disk.store, length=SHORT, is_plain=True)

    disk.now_s += IN_THREADS_S
    disk.takes_s = 0.0
    assert await pace.run(disk.store, length=SHORT, is_plain=True)
    assert await pace.run(disk.store, length=SHORT, is_plain=True)


async def test_a_store_that_fails_slowly_counts_too(disk: Disk, pace: StoringPace) -> None:
    def fail() -> None:
        disk.now_s += 2 * SLOW_S
        raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        await pace.run(fail, length=SHORT, is_plain=True)

    assert not await pace.run(disk.store, length=SHORT, is_plain=True)
