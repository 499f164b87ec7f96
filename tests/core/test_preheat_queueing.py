"""Guards which preheat is next, in which hours, for which platforms, and that none runs twice."""

import pytest

from damselfly.core.hours import Hours
from damselfly.core.preheating.platforms import Platform
from damselfly.core.preheating.queueing import JobQueue
from damselfly.core.preheating.seen_events import (
    AGE_MAX_S,
    AHEAD_MAX_S,
    Judgement,
    SeenEvents,
)
from damselfly.errors import UsageError

DAY = Hours()
NIGHT = Hours.parse("22:00-06:00")


def test_highest_priority_goes_first_then_the_one_that_came_first() -> None:
    queue = JobQueue()
    for job_id, priority in ((1, 5), (2, 6), (3, 6), (4, 5)):
        queue.add(job_id, priority=priority, hours=DAY)

    order = []
    while (next_id := queue.next(minute=0)) is not None:
        order.append(next_id)
        queue.discard(next_id)
        queue.discard(next_id)

    assert order == [2, 3, 1, 4]
    assert len(queue) == 0


def test_job_waits_for_its_hours() -> None:
    queue = JobQueue()
    queue.add(1, priority=9, hours=NIGHT)
    queue.add(2, priority=1, hours=DAY)

    assert queue.next(minute=12 * 60) == 2
    assert queue.next(minute=23 * 60) == 1
    queue.add(1, priority=0, hours=NIGHT)
    assert queue.next(minute=23 * 60) == 2
    assert len(queue) == 2


def test_platform_asks_for_no_more_than_it_says() -> None:
    v8, v9 = Platform.parse("linux/arm64/v8"), Platform.parse("linux/arm64/v9")

    assert str(v8) == "linux/arm64/v8"
    assert Platform.parse("linux/arm64").is_met_by(v8)
    assert v8.is_met_by(v8)
    assert not v8.is_met_by(v9)
    assert not v8.is_met_by(Platform.parse("linux/amd64"))
    with pytest.raises(UsageError, match="linux/amd64"):
        Platform.parse("amd64")


def test_event_that_comes_again_is_known_also_after_a_restart() -> None:
    seen = SeenEvents()
    assert seen.judge("a", told_s=1e6, now_s=1e6) is Judgement.FRESH
    seen.take_in("a", now_s=1e6)

    assert seen.judge("a", told_s=1e6, now_s=1e6 + 1) is Judgement.REPEATED
    assert SeenEvents([("a", 1e6)]).judge("a", told_s=None, now_s=1e6) is Judgement.REPEATED
    seen.forget("a")
    assert seen.judge("a", told_s=None, now_s=1e6) is Judgement.FRESH


def test_old_event_is_not_believed_nor_is_one_of_the_future() -> None:
    seen = SeenEvents()
    now_s = 1e6

    assert seen.judge("a", told_s=now_s - AGE_MAX_S - 1, now_s=now_s) is Judgement.OUTDATED
    assert seen.judge("a", told_s=now_s + AHEAD_MAX_S + 1, now_s=now_s) is Judgement.OUTDATED
    assert seen.judge("a", told_s=now_s + 1, now_s=now_s) is Judgement.FRESH


def test_what_is_too_old_to_be_believed_is_not_remembered() -> None:
    seen = SeenEvents()
    seen.take_in("a", now_s=0.0)
    seen.take_in("b", now_s=2 * AGE_MAX_S)

    assert seen.judge("a", told_s=1.0, now_s=2 * AGE_MAX_S) is Judgement.OUTDATED
    assert seen.judge("b", told_s=1.0, now_s=2 * AGE_MAX_S) is Judgement.REPEATED


def test_flood_does_not_open_the_door_to_a_replay() -> None:
    seen = SeenEvents(count_max=2)
    for number, event in enumerate("abc"):
        seen.take_in(event, now_s=1e6 + number)

    assert seen.judge("a", told_s=1e6, now_s=1e6 + 3) is Judgement.OUTDATED
    assert seen.judge("d", told_s=1e6 + 2, now_s=1e6 + 3) is Judgement.FRESH
