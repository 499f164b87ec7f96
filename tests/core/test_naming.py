"""Guards what a person may call an entry of the cache."""

import pytest

from damselfly.core.caching.naming import is_meant


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("https://example.com/a", True),
        ("sha256:" + "c" * 64, True),
        ("aaaaaaaa", True),
        ("AAAAAAAA", True),
        ("b" * 64, True),
        ("b" * 65, False),
        ("aaaaaaa", False),  # too short to be meant
        ("bbbbbbbba", False),
        ("https://example.com/", False),
        ("", False),
    ],
)
def test_a_name_means_an_entry(name: str, *, expected: bool) -> None:
    found = is_meant(
        name,
        edition_id="a" * 32,
        task_id="b" * 64,
        digest="sha256:" + "c" * 64,
        url="https://example.com/a",
    )

    assert found is expected


def test_an_entry_without_digest_or_url_is_not_meant_by_nothing() -> None:
    assert not is_meant("", edition_id="a" * 32, task_id="b" * 64, digest="", url="")
