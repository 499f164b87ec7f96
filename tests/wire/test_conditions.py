"""Guards the words of conditional requests."""

import pytest

from damselfly.wire.conditions import is_none_match

TAG = '"sha256:77"'


@pytest.mark.parametrize(
    "lines",
    [
        [TAG],
        [f"W/{TAG}"],
        [f'"x", {TAG}'],
        [f'W/"x",W/{TAG} , "y"'],
        ['"x"', TAG],
        [f'"a,b",{TAG}'],
        ["*"],
        [" * "],
        ["sha256:77"],
    ],
)
def test_condition_that_names_the_tag(lines: list[str]) -> None:
    assert is_none_match(lines, TAG)
    assert is_none_match(lines, f"W/{TAG}")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ['"x"'],
        ['"sha256:7"'],
        ["sha256:7"],
        ['"sha256:77'],
        ['"x, sha256:77, y"'],
        ['"*"'],
    ],
)
def test_condition_that_names_another(lines: list[str]) -> None:
    assert not is_none_match(lines, TAG)
