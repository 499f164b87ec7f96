"""Guards when news is told: at once after a silence, gathered in a stream, never lost."""

import pytest

from damselfly.core.downloading.announcing import BATCH_BLOCKS, BATCH_S, News


def test_first_block_after_a_silence_is_told_at_once() -> None:
    news = News()

    assert news.add(7, now_s=5.0) == 0.0
    assert news.take(now_s=5.0) == (7,)


def test_next_block_waits_for_others() -> None:
    news = News()
    news.add(0, now_s=5.0)
    news.take(now_s=5.0)

    assert news.add(1, now_s=5.0) == pytest.approx(BATCH_S)


def test_full_batch_does_not_wait() -> None:
    news = News()
    news.add(0, now_s=5.0)
    news.take(now_s=5.0)

    waits = [news.add(index, now_s=5.0) for index in range(BATCH_BLOCKS)]

    assert waits[-1] == 0.0
    assert news.take(now_s=5.0) == tuple(range(BATCH_BLOCKS))


def test_nothing_is_told_twice() -> None:
    news = News()
    news.add(0, now_s=5.0)
    news.take(now_s=5.0)

    assert news.take(now_s=6.0) == ()
