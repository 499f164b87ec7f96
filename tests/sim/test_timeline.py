"""Guards virtual time: everything happens once, by time and then as it was planned."""

import random

from damselfly.sim.timeline import SLOT_S, Timeline


def test_things_happen_by_time_and_then_as_they_were_planned() -> None:
    timeline, rng = Timeline(), random.Random(1)
    # Many at the same moment, at the edges of slots and within them.
    planned = [(rng.randrange(200) * SLOT_S / 4, number) for number in range(1000)]
    seen: list[tuple[float, int]] = []
    for when_s, number in planned:
        timeline.at(when_s, lambda number: seen.append((timeline.now_s, number)), number)

    for step in range(1, 18):
        timeline.run(step * 0.0015)

    assert seen == sorted(planned)
    assert timeline.now_s == 17 * 0.0015


def test_nothing_happens_before_its_time() -> None:
    timeline = Timeline()
    seen: list[str] = []
    timeline.at(SLOT_S * 1.75, seen.append, "late in its slot")

    timeline.run(SLOT_S * 1.5)
    assert seen == []

    timeline.run(SLOT_S * 1.75)
    assert seen == ["late in its slot"]


def test_what_happens_may_plan_more() -> None:
    timeline = Timeline()
    seen: list[float] = []

    def again(left: int) -> None:
        seen.append(timeline.now_s)
        if left:
            timeline.after(0.0, again, 0)
            timeline.after(0.01, again, left - 1)

    timeline.at(0.01, again, 2)
    timeline.run(1.0)

    assert [round(at_s, 6) for at_s in seen] == [0.01, 0.01, 0.02, 0.02, 0.03]


def test_what_is_planned_for_the_past_happens_now() -> None:
    timeline = Timeline()
    timeline.run(1.0)
    seen: list[float] = []
    timeline.at(0.5, lambda: seen.append(timeline.now_s))

    timeline.run(2.0)

    assert seen == [1.0]
