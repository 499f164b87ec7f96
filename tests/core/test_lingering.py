"""Guards how long the source is read for nobody."""

from damselfly.core.scheduling.lingering import Lingering
from damselfly.core.task import TaskId

ANN, BOB = TaskId("a"), TaskId("b")


def test_time_counts_from_when_nobody_wants_it_without_a_break() -> None:
    lingering = Lingering(read_on_s=10.0)

    assert lingering.due([ANN], now_s=0.0) == []
    assert lingering.due([ANN, BOB], now_s=5.0) == []
    assert lingering.due([BOB], now_s=9.0) == []  # somebody wanted it again
    assert lingering.due([ANN, BOB], now_s=15.0) == [BOB]
    assert lingering.due([ANN], now_s=25.0) == [ANN]


def test_nothing_is_due_without_a_limit() -> None:
    lingering = Lingering(read_on_s=0.0)

    assert [lingering.due([ANN], now_s=now_s) for now_s in (0.0, 1e9)] == [[], []]
