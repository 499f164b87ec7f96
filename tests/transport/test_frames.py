"""Frames: a limit for all, in line, and memory that is used again while there is work."""

import asyncio

import pytest

from damselfly.transport.frames import Frames


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_frames_are_filled_again_while_there_is_work() -> None:
    frames = Frames(100)
    first, other = await frames.take(40), await frames.take(40)
    frames.give_back(first)

    again = await frames.take(40)

    assert again is first
    assert other is not first


async def test_frame_that_somebody_may_read_is_not_filled_again() -> None:
    frames = Frames(100)
    first, _ = await frames.take(40), await frames.take(40)
    frames.give_back(first, is_reusable=False)

    assert await frames.take(40) is not first


async def test_nothing_is_kept_when_the_work_is_done() -> None:
    frames = Frames(100)
    first = await frames.take(40)
    frames.give_back(first)

    assert await frames.take(40) is not first


async def test_who_comes_too_late_waits_in_line() -> None:
    frames = Frames(100)
    held = [await frames.take(50), await frames.take(50)]
    large = asyncio.ensure_future(frames.take(80))
    small = asyncio.ensure_future(frames.take(10))
    await settled()
    frames.give_back(held.pop())
    await settled()
    assert not large.done()
    assert not small.done()  # it would fit, and starve the large one

    frames.give_back(held.pop())
    await settled()

    assert len(large.result()) == 80
    assert len(small.result()) == 10


async def test_what_is_only_kept_is_given_back_to_who_would_wait() -> None:
    frames = Frames(100)
    kept = await frames.take(80)
    frames.keepers.add(lambda: frames.give_back(kept))

    assert len(await frames.take(20)) == 20  # there is room: nobody is asked
    async with asyncio.timeout(1):
        assert await frames.take(80) is kept


async def test_one_frame_is_given_however_long_it_is() -> None:
    frames = Frames(100)

    frame = await frames.take(1000)

    assert len(frame) == 1000


@pytest.mark.parametrize("is_let_in", [False, True])
async def test_who_leaves_the_line_holds_up_nobody(*, is_let_in: bool) -> None:
    frames = Frames(100)
    held = await frames.take(100)
    leaving = asyncio.ensure_future(frames.take(100))
    staying = asyncio.ensure_future(frames.take(100))
    await settled()
    if is_let_in:
        frames.give_back(held)
        leaving.cancel()
    else:
        leaving.cancel()
        frames.give_back(held)
    await settled()

    assert leaving.cancelled()
    assert len(staying.result()) == 100
