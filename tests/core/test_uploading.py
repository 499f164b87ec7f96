"""Guards the queue for uploads: slots are kept, and nobody who waits is forgotten."""

import pytest
from hypothesis import given, strategies as st

from damselfly.core.uploading import (
    HOSTS_REMEMBERED_MAX,
    WAITING_PER_SLOT,
    Asked,
    Turn,
    UploadQueue,
    step_of,
    uploads_max,
)


def test_slots_are_given_at_once_until_there_are_none() -> None:
    queue: UploadQueue[int] = UploadQueue(2)

    turns = [queue.ask(request, Asked("ann")) for request in range(3)]

    assert turns == [Turn.NOW, Turn.NOW, Turn.LATER]
    assert queue.load == 3


def test_whoever_was_served_longest_ago_is_next() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("ann 1", Asked("ann"))
    queue.ask("ann 2", Asked("ann"))
    queue.ask("bob 1", Asked("bob"))

    assert queue.end("ann 1") == ["bob 1"]
    assert queue.end("bob 1") == ["ann 2"]
    assert queue.end("ann 2") == []


def test_child_with_the_fewest_downloads_running_is_next() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("now", Asked("ann"))
    queue.ask("first", Asked("bob", running_count=3))
    queue.ask("second", Asked("ann", running_count=1))

    assert queue.end("now") == ["second"]
    assert queue.end("second") == ["first"]


def test_child_that_is_behind_comes_before_one_with_few_downloads() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("now", Asked("ann"))
    queue.ask("ahead", Asked("bob", running_count=0, step=9))
    queue.ask("behind", Asked("cid", running_count=5, step=8))

    assert queue.end("now") == ["behind"]


@pytest.mark.parametrize(
    ("held", "own", "blocks", "step"),
    [
        (100, 100, 800, 25),
        (103, 100, 800, 25),  # about as far as we are
        (40, 100, 800, 10),
        (0, 100, 800, 0),  # an eighth of the content behind
        (0, 101, 800, 25),  # more than that: it came late
        (None, 100, 800, 25),  # it said nothing
        (300, 100, 800, 75),
        (99, 100, None, 24),
        (0, 100, None, 25),
    ],
)
def test_step_of_a_child_is_what_it_holds_unless_it_came_late(
    held: int | None, own: int, blocks: int | None, step: int
) -> None:
    assert step_of(held, own_count=own, block_count=blocks) == step


def test_edition_that_is_hardly_held_goes_to_few_at_a_time() -> None:
    queue: UploadQueue[int] = UploadQueue(6)
    one = Asked("ann", "e", uploads_max=uploads_max(1))

    turns = [queue.ask(number, one) for number in range(3)]
    other = queue.ask(3, Asked("ann", "f"))

    assert turns == [Turn.NOW, Turn.NOW, Turn.LATER]
    assert other is Turn.NOW
    assert queue.end(3) == []
    assert queue.end(0) == [2]


def test_edition_goes_to_more_at_a_time_when_more_of_it_is_held() -> None:
    queue: UploadQueue[int] = UploadQueue(6)
    for number in range(4):
        queue.ask(number, Asked("ann", "e", uploads_max=uploads_max(1)))

    assert queue.ask(4, Asked("bob", "e", uploads_max=uploads_max(4))) is Turn.NOW
    assert queue.end(0) == [2, 3]
    assert queue.load == 4


def test_request_that_is_refused_leaves_nothing_behind() -> None:
    queue: UploadQueue[int] = UploadQueue(1)
    for number in range(WAITING_PER_SLOT + 1):
        queue.ask(number, Asked("ann", "e"))

    assert queue.ask(-1, Asked("ann", "f", uploads_max=1)) is Turn.REFUSED
    assert queue.ask(-2, Asked("ann", "f")) is Turn.REFUSED


def test_queue_that_is_long_enough_refuses() -> None:
    queue: UploadQueue[int] = UploadQueue(1)

    turns = [queue.ask(request, Asked("ann")) for request in range(WAITING_PER_SLOT + 2)]

    assert turns.count(Turn.REFUSED) == 1


def test_request_that_was_given_up_gets_no_slot() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("first", Asked("ann"))
    queue.ask("second", Asked("bob"))

    assert queue.forget("second")
    assert not queue.forget("second")
    assert queue.end("first") == []


@given(st.integers(1, 3), st.lists(st.sampled_from(["ask", "end", "forget"])))
def test_no_more_than_the_slots_are_taken_whatever_happens(slots: int, steps: list[str]) -> None:
    queue: UploadQueue[int] = UploadQueue(slots)
    running: set[int] = set()
    waiting: list[int] = []

    for number, step in enumerate(steps):
        if step == "ask":
            turn = queue.ask(number, Asked(f"host-{number % 4}"))
            if turn is Turn.NOW:
                running.add(number)
            elif turn is Turn.LATER:
                waiting.append(number)
        elif step == "end" and running:
            for given_to in queue.end(running.pop()):
                waiting.remove(given_to)
                running.add(given_to)
        elif step == "forget" and waiting:
            assert queue.forget(waiting.pop())
        assert len(running) <= slots
        assert not waiting or len(running) == slots
        assert queue.load == len(running) + len(waiting)


def test_waiting_requests_are_those_without_a_slot() -> None:
    queue: UploadQueue[int] = UploadQueue(1)
    for request in range(3):
        queue.ask(request, Asked("ann"))

    assert queue.waiting() == [1, 2]


def test_host_that_was_served_long_ago_is_forgotten_and_comes_first() -> None:
    queue: UploadQueue[int] = UploadQueue(1)
    for number in range(HOSTS_REMEMBERED_MAX + 1):
        queue.ask(number, Asked(f"host-{number}"))
        queue.end(number)
    queue.ask(-1, Asked("busy"))
    queue.ask(-2, Asked(f"host-{HOSTS_REMEMBERED_MAX}"))
    queue.ask(-3, Asked("host-0"))

    assert queue.end(-1) == [-3]
