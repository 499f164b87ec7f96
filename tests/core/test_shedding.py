"""Guards shedding: nobody is put off without need, and those who are come back spread out."""

from collections import Counter

from damselfly.core.scheduling.shedding import (
    EASED_S,
    FULL_PAUSE_S,
    HELLOS_AWAITED_MAX,
    LATE_S,
    PAUSE_S_MAX,
    RETURNS_PER_S,
    SESSIONS_MAX,
    Shedding,
)


def ask(
    shedding: Shedding,
    *,
    sessions: int = 10,
    awaited: int = 0,
    delay_s: float = 0.0,
    now_s: float = 100.0,
) -> int:
    return shedding.session_pause_s(
        sessions=sessions, awaited=awaited, delay_s=delay_s, now_s=now_s
    )


def test_in_quiet_times_everybody_comes_in() -> None:
    shedding = Shedding()

    assert ask(shedding) == 0
    assert ask(shedding, sessions=SESSIONS_MAX - 1, awaited=HELLOS_AWAITED_MAX - 1) == 0
    assert ask(shedding, delay_s=LATE_S - 0.01) == 0


def test_shedding_ends_well_below_where_it_begins() -> None:
    shedding = Shedding()
    delays = (0.5, LATE_S, 0.5, EASED_S, EASED_S - 0.01, 0.5)

    pauses = [shedding.join_pause_s(delay_s=delay_s, now_s=0.0) for delay_s in delays]

    assert [pause > 0 for pause in pauses] == [False, True, True, True, False, False]


def test_too_many_strangers_are_put_off_and_a_full_house_for_longer() -> None:
    shedding = Shedding()

    assert 0 < ask(shedding, awaited=HELLOS_AWAITED_MAX) < FULL_PAUSE_S
    assert ask(shedding, sessions=SESSIONS_MAX) == FULL_PAUSE_S


def test_those_who_are_put_off_come_back_at_a_rate_that_can_be_served() -> None:
    shedding = Shedding()

    pauses = Counter(ask(shedding, delay_s=2 * LATE_S) for _ in range(10 * RETURNS_PER_S))

    assert max(pauses.values()) <= RETURNS_PER_S + 1
    assert max(pauses) <= 12


def test_a_pause_has_an_end_however_many_are_put_off() -> None:
    shedding = Shedding()

    pauses = [ask(shedding, delay_s=2 * LATE_S) for _ in range(100 * RETURNS_PER_S)]

    assert max(pauses) == PAUSE_S_MAX


def test_after_a_quiet_time_pauses_are_short_again() -> None:
    shedding = Shedding()
    for _ in range(10 * RETURNS_PER_S):
        ask(shedding, delay_s=2 * LATE_S)

    assert ask(shedding, delay_s=2 * LATE_S, now_s=200.0) <= 2
