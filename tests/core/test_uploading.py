"""Guards the queue for uploads: slots are kept, and nobody who waits is forgotten."""

from hypothesis import given, strategies as st

from damselfly.core.uploading import HOSTS_REMEMBERED_MAX, WAITING_PER_SLOT, Turn, UploadQueue


def test_slots_are_given_at_once_until_there_are_none() -> None:
    queue: UploadQueue[int] = UploadQueue(2)

    turns = [queue.ask(request, "ann") for request in range(3)]

    assert turns == [Turn.NOW, Turn.NOW, Turn.LATER]
    assert queue.load == 3


def test_whoever_was_served_longest_ago_is_next() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("ann 1", "ann")
    queue.ask("ann 2", "ann")
    queue.ask("bob 1", "bob")

    assert queue.end() == "bob 1"
    assert queue.end() == "ann 2"
    assert queue.end() is None


def test_child_with_the_fewest_downloads_running_is_next() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("now", "ann")
    queue.ask("first", "bob", running_count=3)
    queue.ask("second", "ann", running_count=1)

    assert queue.end() == "second"
    assert queue.end() == "first"


def test_queue_that_is_long_enough_refuses() -> None:
    queue: UploadQueue[int] = UploadQueue(1)

    turns = [queue.ask(request, "ann") for request in range(WAITING_PER_SLOT + 2)]

    assert turns.count(Turn.REFUSED) == 1


def test_request_that_was_given_up_gets_no_slot() -> None:
    queue: UploadQueue[str] = UploadQueue(1)
    queue.ask("first", "ann")
    queue.ask("second", "bob")

    assert queue.forget("second")
    assert not queue.forget("second")
    assert queue.end() is None


@given(st.integers(1, 3), st.lists(st.sampled_from(["ask", "end", "forget"])))
def test_no_more_than_the_slots_are_taken_whatever_happens(slots: int, steps: list[str]) -> None:
    queue: UploadQueue[int] = UploadQueue(slots)
    running: set[int] = set()
    waiting: list[int] = []

    for number, step in enumerate(steps):
        if step == "ask":
            turn = queue.ask(number, f"host-{number % 4}")
            if turn is Turn.NOW:
                running.add(number)
            elif turn is Turn.LATER:
                waiting.append(number)
        elif step == "end" and running:
            running.pop()
            if (given_to := queue.end()) is not None:
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
        queue.ask(request, "ann")

    assert queue.waiting() == [1, 2]


def test_host_that_was_served_long_ago_is_forgotten_and_comes_first() -> None:
    queue: UploadQueue[int] = UploadQueue(1)
    for number in range(HOSTS_REMEMBERED_MAX + 1):
        queue.ask(number, f"host-{number}")
        queue.end()
    queue.ask(-1, "busy")
    queue.ask(-2, f"host-{HOSTS_REMEMBERED_MAX}")
    queue.ask(-3, "host-0")

    assert queue.end() == -3
