"""Guards how much of a source may be used, and when it is left alone."""

import pytest

from damselfly.core.budgeting import (
    PAUSE_S_MAX,
    BudgetRule,
    Circuit,
    budget_of,
    retry_after_s,
)

DAY = BudgetRule(hosts="*.example.com", hours="08:00-18:00", connections_max=2)
NIGHT = BudgetRule(hosts="*.example.com", rate_bytes_per_s=5.0)
PORT = BudgetRule(hosts="mirror:81", connections_max=1)
RULES = (DAY, NIGHT, PORT)


@pytest.mark.parametrize(
    ("host", "minute", "rule"),
    [
        ("a.example.com", 8 * 60, DAY),
        ("a.example.com:8443", 9 * 60, DAY),
        ("A.Example.com", 18 * 60 - 1, DAY),
        ("a.example.com", 18 * 60, NIGHT),
        ("example.com", 9 * 60, None),
        ("mirror:81", 0, PORT),
        ("mirror:82", 0, None),
        ("mirror", 0, None),
    ],
)
def test_the_first_budget_that_matches_holds(host: str, minute: int, rule: BudgetRule) -> None:
    assert budget_of(host, RULES, minute=minute) is rule


@pytest.mark.parametrize(
    "fields",
    [{"hosts": ""}, {"connections_max": -1}, {"rate_bytes_per_s": -1.0}, {"hours": "noon"}],
)
def test_a_rule_that_cannot_be_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must|hours"):
        BudgetRule(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), 0.0),
        ((("WWW-Authenticate", "Basic"), ("retry-after", " 7 ")), 7.0),
        ((("Retry-After", "Wed, 01 Jan 2025 00:00:00 GMT"),), 0.0),
        ((("Retry-After", "-1"),), 0.0),
    ],
)
def test_retry_after_is_read_in_seconds(
    headers: tuple[tuple[str, str], ...], seconds: float
) -> None:
    assert retry_after_s(headers) == seconds


def a_circuit() -> Circuit:
    return Circuit(failures_max=3, pause_s=5.0)


def fail(circuit: Circuit, *times_s: float) -> list[bool]:
    told = []
    for now_s in times_s:
        assert circuit.ask(now_s=now_s) is None
        told.append(circuit.fail("no answer", now_s=now_s))
    return told


def test_a_source_that_fails_now_and_then_is_asked_on() -> None:
    circuit = a_circuit()
    assert fail(circuit, 0, 1) == [False, False]
    circuit.succeed()

    assert fail(circuit, 2, 3) == [False, False]
    assert circuit.ask(now_s=4) is None


def test_a_source_that_fails_in_a_row_is_left_alone_and_then_tried_once() -> None:
    circuit = a_circuit()
    assert fail(circuit, 10, 11, 12) == [False, False, True]

    ill = circuit.ask(now_s=13)
    assert ill is not None
    assert (ill.since_s, ill.retry_s, ill.reason) == (10, 17, "no answer")
    assert circuit.ask(now_s=17) is None  # this one tries
    trying = circuit.ask(now_s=18)  # and nobody else
    assert trying is not None
    assert trying.retry_s == 18
    circuit.succeed()
    assert circuit.ask(now_s=18) is None


def test_each_failed_try_doubles_the_pause_up_to_a_limit() -> None:
    circuit = a_circuit()
    fail(circuit, 0, 0, 0)
    now_s, pauses = 0.0, []
    for _ in range(8):
        ill = circuit.ask(now_s=now_s)
        assert ill is not None
        pauses.append(ill.retry_s - now_s)
        now_s = ill.retry_s
        assert fail(circuit, now_s) == [False]  # it was ill before

    assert pauses[:3] == [5, 10, 20]
    assert pauses[-1] == PAUSE_S_MAX


def test_a_source_may_ask_for_a_longer_pause_itself() -> None:
    circuit = a_circuit()
    fail(circuit, 0, 0)
    circuit.fail("it answered 503", now_s=0, retry_after_s=60)

    ill = circuit.ask(now_s=1)
    assert ill is not None
    assert ill.retry_s == 60


def test_a_try_that_was_given_up_leaves_the_next_one_to_somebody_else() -> None:
    circuit = a_circuit()
    fail(circuit, 0, 0, 0)
    assert circuit.ask(now_s=5) is None
    circuit.give_up()

    assert circuit.ask(now_s=5) is None
