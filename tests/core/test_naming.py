"""Guards what a person may call an entry of the cache."""

import pytest

from damselfly.core.caching.naming import EntryName
from damselfly.core.task import TaskSpec

URL = "https://example.com/a"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (URL, True),
        ("sha256:" + "c" * 64, True),
        ("aaaaaaaa", True),
        ("AAAAAAAA", True),
        ("b" * 64, True),
        ("b" * 65, False),
        ("aaaaaaa", False),  # too short to be meant
        ("bbbbbbbba", False),
        ("https://example.com/", False),
        (f"{URL}?version=1", False),
        ("", False),
    ],
)
def test_a_name_means_an_entry(name: str, *, expected: bool) -> None:
    found = EntryName.parse(name).means(
        edition_id="a" * 32, task_id="b" * 64, digest="sha256:" + "c" * 64, url=URL
    )

    assert found is expected


def test_an_entry_without_digest_or_url_is_not_meant_by_nothing() -> None:
    name = EntryName.parse("")

    assert not name.means(edition_id="a" * 32, task_id="b" * 64, digest="", url="")


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("s3://bucket/key?versionId=1", ["1"]),
        ("S3://bucket/key?versionId=1&X-Amz-Date=2&X-Amz-Signature=3", ["1"]),
        ("s3://bucket/key", ["1", "2"]),  # as both are shown
        ("s3://bucket/key?versionId=3", []),
    ],
)
def test_a_url_with_a_query_means_its_own_task(name: str, versions: list[str]) -> None:
    tasks = {each: TaskSpec(url=f"s3://bucket/key?versionId={each}").task_id for each in "12"}

    means = EntryName.parse(name).means
    found = [
        each
        for each, task_id in tasks.items()
        if means(edition_id="e" * 32, task_id=task_id, digest="", url="s3://bucket/key")
    ]

    assert found == versions


def test_what_may_be_secret_in_a_name_is_not_shown() -> None:
    names = ("https://u:hidden@h/f?sig=hidden", "sha256:00", "nonsense")

    assert [EntryName.parse(name).shown for name in names] == ["https://h/f", *names[1:]]
