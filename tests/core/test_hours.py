"""Guards which minutes of the day lie in hours, however they are written."""

import pytest

from damselfly.core.hours import DAY_MINUTES, Hours
from damselfly.errors import UsageError


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:00", [22 * 60, 1439, 0, 6 * 60 - 1], [6 * 60, 12 * 60, 22 * 60 - 1]),
        ("6:30-7:00", [390, 419], [389, 420]),
        ("1:00 - 2:30", [60, 149], [59, 150, 0]),
        ("18:00-24:00", [18 * 60, 1439], [0, 18 * 60 - 1]),
        ("18:00-0:00", [18 * 60, 1439], [0, 18 * 60 - 1]),
    ],
)
def test_hours_go_from_their_start_up_to_their_stop(
    text: str, inside: list[int], outside: list[int]
) -> None:
    hours = Hours.parse(text)

    assert all(minute in hours for minute in inside)
    assert not any(minute in hours for minute in outside)


@pytest.mark.parametrize("text", ["", "00:00-24:00", "00:00-00:00", "8:00-08:00"])
def test_whole_day_is_no_text_or_two_ends_that_are_the_same(text: str) -> None:
    assert all(minute in Hours.parse(text) for minute in range(DAY_MINUTES))


@pytest.mark.parametrize(
    "text",
    ["night", "24:00-01:00", "25:00-06:00", "1:60-2:00", "08:00-24:01", "1-2", "22:00", " "],
)
def test_hours_that_are_none_are_told_what_some_look_like(text: str) -> None:
    with pytest.raises(UsageError, match="22:00-06:00"):
        Hours.parse(text)
