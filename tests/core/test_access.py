"""Guards who may have a task: whoever its source gives it to, and what counts as shown."""

import pytest

from damselfly.core.access import ACCEPTED_MAX, ANYBODY, Access, Credential, shown_by
from damselfly.core.digest import Digest
from damselfly.core.task import TaskId, TaskSpec

TASK = TaskId("a" * 64)
ANN, BOB = Credential("ann"), Credential("bob")
DIGEST = Digest.parse("sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        (TaskSpec(url="http://h/f"), ()),
        (TaskSpec(url="http://ann:pw@h/f"), ("ann:pw",)),
        (TaskSpec(url="http://h/f?a=1&b=2", filtered_query=("b",)), ("b=2",)),
        (TaskSpec(url="http://h/f?a=1&b=2", digest=DIGEST), ("a=1", "b=2")),
        (
            TaskSpec(url="http://h/f", headers=(("Accept", "x"), ("X-Token", "t"))),
            ("X-Token: t",),
        ),
    ],
)
def test_what_is_shown_is_all_but_the_name_and_what_is_harmless(
    spec: TaskSpec, shown: tuple[str, ...]
) -> None:
    assert shown_by(spec) == shown


def test_acceptance_is_good_for_one_credential_and_a_short_time() -> None:
    access = Access(window_s=10.0)
    access.accept(TASK, ANN, now_s=0.0)

    assert access.may_have(TASK, ANN, now_s=9.0)
    assert not access.may_have(TASK, ANN, now_s=10.0)
    assert not access.may_have(TASK, BOB, now_s=1.0)


def test_what_the_source_gave_to_anybody_everybody_may_have() -> None:
    access = Access()
    access.accept(TASK, ANYBODY, now_s=0.0)

    assert access.may_have(TASK, BOB, now_s=1e9)


def test_who_was_accepted_longest_ago_is_forgotten_first() -> None:
    access = Access()
    for number in range(ACCEPTED_MAX + 1):
        access.accept(TASK, Credential(f"{number}"), now_s=0.0)

    assert not access.may_have(TASK, Credential("0"), now_s=1.0)
    assert access.may_have(TASK, Credential("1"), now_s=1.0)
