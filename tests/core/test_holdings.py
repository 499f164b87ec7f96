"""Guards what the SuperNode knows of who has what whole."""

import pytest

from damselfly.core.peer import HostId
from damselfly.core.scheduling import holdings as module
from damselfly.core.scheduling.holdings import Holdings
from damselfly.core.task import EditionId

A, B = HostId("a"), HostId("b")
X, Y, Z = EditionId("x"), EditionId("y"), EditionId("z")


def test_what_hosts_hold_is_known_as_long_as_they_are_there() -> None:
    held = Holdings()
    held.begin(A, (X, Y))
    held.begin(B, (Y,))

    assert held.hosts_with(Y) == [A, B]
    assert held.hosts_with(Z) == []
    assert held.is_held(X)
    assert not held.is_held(X, but_by=A)
    assert held.is_held(Y, but_by=A)
    assert held.is_held(X, but_by=B)
    held.end(A)
    held.end(A)
    assert held.hosts_with(Y) == [B]
    assert not held.is_held(X)
    held.check()


def test_a_host_that_comes_again_begins_anew() -> None:
    held = Holdings()
    held.begin(A, (X,))
    held.begin(A, (Y,))

    assert not held.is_held(X)
    assert held.is_held(Y)
    held.check()


def test_an_edition_is_added_once_and_removed_once() -> None:
    held = Holdings()
    held.begin(A, ())
    held.add(A, X)
    held.add(A, X)
    held.remove(A, X)
    held.remove(A, X)
    held.remove(B, X)

    assert not held.is_held(X)
    held.check()


def test_of_too_many_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLDINGS_MAX", 2)
    held = Holdings()
    held.begin(A, (X, Y))
    held.add(A, X)  # now the youngest
    held.add(A, Z)

    assert [held.is_held(each) for each in (X, Y, Z)] == [True, False, True]
    held.check()
