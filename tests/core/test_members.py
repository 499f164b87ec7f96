"""Files of a listing: where they may go, and which of them are wanted."""

import pytest

from damselfly.core.members import Member, is_safe_path, select


def a_member(path: str) -> Member:
    return Member(path=path, url=f"http://h/{path}")


@pytest.mark.parametrize("path", ["a", "a/b.c", ".hidden", "ü/…"])
def test_a_path_below_the_folder_is_safe(path: str) -> None:
    assert is_safe_path(path)


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a//b", "a/", ".", "a\0b", "a\ud800", "a/" * 4000 + "a"]
)
def test_a_path_that_leads_elsewhere_is_not(path: str) -> None:
    assert not is_safe_path(path)


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        ([], [], ["a.bin", "d/a.txt", "d/b.bin"]),
        (["*.bin"], [], ["a.bin", "d/b.bin"]),
        (["d/*"], ["*.txt"], ["d/b.bin"]),
        (["a.txt"], [], ["d/a.txt"]),
        ([], ["*"], []),
    ],
)
def test_patterns_choose_files(include: list[str], exclude: list[str], chosen: list[str]) -> None:
    members = [a_member(path) for path in ("d/b.bin", "a.bin", "d/a.txt")]

    found = select(members, include=include, exclude=exclude)

    assert [member.path for member in found] == chosen
