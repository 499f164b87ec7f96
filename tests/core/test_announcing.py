"""Guards who is told of a block when: who lacks it soon, nobody in vain, all in the end."""

import pytest

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.announcing import BATCH_BLOCKS, BATCH_S, News
from damselfly.core.peer import SUPERNODE, HostId

NEAR, FAR = HostId("near"), HostId("far")


@pytest.fixture
def news() -> News:
    """Give news with a link to one that holds nothing."""
    news = News()
    news.link(NEAR, BlockSet())
    return news


def tell(news: News, host_id: HostId, block_index: int, *, now_s: float) -> tuple[int, ...]:
    """Tell one of a block that it is to be told at once."""
    assert host_id in news.add(block_index, now_s=now_s)
    return news.take(host_id, now_s=now_s)


def test_first_block_after_a_silence_is_told_at_once(news: News) -> None:
    assert tell(news, NEAR, 7, now_s=5.0) == (7,)
    assert news.due_s is None


def test_next_block_waits_for_others(news: News) -> None:
    tell(news, NEAR, 0, now_s=5.0)

    assert news.add(1, now_s=5.0) == []
    assert news.due_s == pytest.approx(5.0 + BATCH_S)
    assert news.due() == [NEAR]
    assert news.take(NEAR, now_s=5.0 + BATCH_S) == (1,)


def test_all_who_wait_are_told_together(news: News) -> None:
    news.link(FAR, BlockSet())
    tell(news, NEAR, 0, now_s=5.0)
    tell(news, FAR, 1, now_s=5.0)  # for which the other one waits

    news.hold(NEAR, BlockSet.of([1]))
    assert news.add(2, now_s=5.1) == []
    assert news.due_s == pytest.approx(5.0 + BATCH_S)
    assert news.due() == [NEAR, FAR]


def test_full_batch_does_not_wait(news: News) -> None:
    tell(news, NEAR, 0, now_s=5.0)

    told = [news.add(index, now_s=5.0) for index in range(1, BATCH_BLOCKS + 1)]

    assert told == [[]] * (BATCH_BLOCKS - 1) + [[NEAR]]
    assert news.take(NEAR, now_s=5.0) == tuple(range(1, BATCH_BLOCKS + 1))


def test_nothing_is_told_twice(news: News) -> None:
    tell(news, NEAR, 0, now_s=5.0)

    assert news.due() == news.behind() == []
    assert tell(news, NEAR, 1, now_s=6.0) == (1,)


def test_who_holds_a_block_hears_of_it_with_the_next_news(news: News) -> None:
    news.link(FAR, BlockSet.of([0]))

    assert news.add(0, now_s=5.0) == [NEAR]
    assert news.due() == [NEAR]
    assert tell(news, FAR, 1, now_s=9.0) == (0, 1)


def test_who_has_got_a_block_meanwhile_is_not_told_of_it(news: News) -> None:
    tell(news, NEAR, 0, now_s=5.0)
    news.add(1, now_s=5.0)

    news.hold(NEAR, BlockSet.of([1]))

    assert news.due() == []
    assert news.due_s is None


def test_in_the_end_each_hears_what_it_was_not_told(news: News) -> None:
    news.link(FAR, BlockSet.of([0]))
    tell(news, NEAR, 0, now_s=5.0)

    assert news.behind() == [FAR]
    assert news.take(FAR, now_s=5.0) == (0,)


def test_the_supernode_hears_of_what_it_holds_itself(news: News) -> None:
    news.link(SUPERNODE, BlockSet.full(8))

    assert tell(news, SUPERNODE, 3, now_s=5.0) == (3,)


def test_a_new_link_begins_with_all_that_is_held(news: News) -> None:
    tell(news, NEAR, 0, now_s=5.0)

    news.link(FAR, BlockSet())

    assert tell(news, FAR, 1, now_s=5.0) == (1,)


def test_nobody_tells_who_has_gone(news: News) -> None:
    news.unlink(NEAR)
    news.unlink(FAR)  # whose link never opened
    news.hold(NEAR, BlockSet.of([0]))  # what was on its way

    assert news.add(0, now_s=5.0) == []
