"""Guards identity: two people who mean the same content get the same id, and no secret shows."""

import pytest

from damselfly.core.access import shown_by
from damselfly.core.digest import Digest
from damselfly.core.peer import is_host_id
from damselfly.core.task import (
    Edition,
    SourceFacts,
    TaskSpec,
    Validators,
    is_edition_id,
    is_task_id,
    name_edition,
    parse_header,
)
from damselfly.core.topology import Location, affinity
from damselfly.errors import TaskSpecError, UsageError

SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://Example.COM/f", "http://example.com:80/f"),
        ("https://example.com", "https://example.com:443/#part"),
        ("http://user:secret@example.com/f", "http://example.com/f"),
    ],
)
def test_same_content_has_one_id(one: str, other: str) -> None:
    assert TaskSpec(url=one).task_id == TaskSpec(url=other).task_id


def test_what_names_another_content_has_another_id() -> None:
    specs = [
        TaskSpec(url="http://h/f"),
        TaskSpec(url="http://h/F"),
        TaskSpec(url="http://h/f?a=1"),
        TaskSpec(url="http://h/f", tag="v2"),
        TaskSpec(url="http://h/f", digest=Digest.parse(SHA)),
        TaskSpec(url="http://h:81/f"),
    ]

    assert len({spec.task_id for spec in specs}) == len(specs)
    assert all(is_task_id(spec.task_id) for spec in specs)


def test_digest_names_a_content_wherever_it_lies() -> None:
    digest = Digest.parse(SHA.upper())

    assert (
        TaskSpec(url="http://a/x", digest=digest).task_id
        == TaskSpec(url="https://b/y?z", digest=digest, tag="t").task_id
    )


def test_filtered_query_and_headers_are_no_identity() -> None:
    plain = TaskSpec(url="http://h/f?a=1")
    signed = TaskSpec(
        url="http://h/f?a=1&sig=xyz",
        filtered_query=("sig",),
        headers=(("Authorization", "Bearer s"),),
    )

    assert plain.task_id == signed.task_id
    assert "Bearer" not in repr(signed)
    assert signed.display_url == "http://h/f"


@pytest.mark.parametrize(
    "line", ["", "no colon", "bad name: x", "Range: bytes=0-", "X: a\r\nY: b", "X: " + "a" * 40_000]
)
def test_header_that_is_none_is_refused_without_its_value(line: str) -> None:
    with pytest.raises(TaskSpecError) as caught:
        parse_header(line)

    assert "a\r\nY" not in str(caught.value)


def test_signed_urls_of_one_content_are_one_task_and_their_signatures_credentials() -> None:
    one, other = (
        TaskSpec(url=f"https://h/f?versionId=1&X-Amz-Date={date}&X-Amz-Signature={date}9")
        for date in (1, 2)
    )

    assert one.task_id == other.task_id == TaskSpec(url="https://h/f?versionId=1").task_id
    assert shown_by(one) == ("X-Amz-Date=1", "X-Amz-Signature=19")


def test_header_is_parsed() -> None:
    assert parse_header("Authorization:  Bearer x ") == ("Authorization", "Bearer x")


@pytest.mark.parametrize("text", ["", "sha256", "md5:00", "sha256:12", "sha256:" + "zz" * 32])
def test_digest_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TaskSpecError):
        Digest.parse(text)


def test_edition_is_named_by_what_the_source_said() -> None:
    task_id = TaskSpec(url="http://h/f").task_id

    def name(reading: str = "r", block_bytes: int = 1, **facts: object) -> str:
        described = SourceFacts(**{"size_bytes": 5, **facts})  # type: ignore[arg-type]
        return name_edition(task_id, described, block_bytes=block_bytes, reading=reading)

    etag, date = Validators(etag='"1"'), Validators(last_modified="Mon")
    names = [
        name(validators=etag),
        name(validators=date),
        name(validators=date, size_bytes=6),
        name(digest=Digest.parse(SHA)),
        name(validators=etag, block_bytes=2),
        name("one"),
        name("two"),
    ]
    assert len(set(names)) == len(names)
    assert name("one", validators=etag) == name("two", validators=etag)
    assert all(is_edition_id(each) for each in names)


def test_strong_etag_guards_a_range_else_the_date() -> None:
    assert Validators(etag='"1"', last_modified="Mon").if_range == '"1"'
    assert Validators(etag='W/"1"', last_modified="Mon").if_range == "Mon"
    assert not Validators().has_any


def test_edition_learns_its_length_and_digest_once() -> None:
    task_id = TaskSpec(url="http://h/f").task_id
    facts = SourceFacts(size_bytes=None)
    edition_id = name_edition(task_id, facts, block_bytes=4, reading="r")
    edition = Edition(edition_id=edition_id, task_id=task_id, block_bytes=4, size_bytes=None)

    known = edition.sized(9).with_digest(Digest.parse(SHA))

    assert edition.layout.block_count == 0
    assert known.layout.block_count == 3
    assert str(known.digest) == SHA
    assert known.with_digest(None) == known


def test_affinity_is_the_length_of_the_common_path() -> None:
    here, near, far = (Location.parse(text) for text in ("eu/a/r1", "eu/a/r2", "us"))

    assert [affinity(here, other) for other in (here, near, far, Location())] == [3, 2, 0, 0]
    assert str(here) == "eu/a/r1"


@pytest.mark.parametrize("text", ["a//b", "a/b c", "/".join("abcdefghi")])
def test_location_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Location.parse(text)


def test_host_ids_are_short_names() -> None:
    assert is_host_id("h-1")
    assert not any(map(is_host_id, ["", "supernode", "a b", "-a", "x" * 65]))


@pytest.mark.parametrize(
    ("url", "tag"), [("http://h/\udcff", ""), ("http://h/", "\udcff")], ids=["url", "tag"]
)
def test_bytes_on_a_command_line_that_are_no_text_are_refused(url: str, tag: str) -> None:
    try:
        task_id = TaskSpec(url=url, tag=tag).task_id
    except TaskSpecError:
        return
    assert is_task_id(task_id)


@pytest.mark.parametrize("mark", ["/", "#", "?"])
def test_password_with_a_mark_in_it_is_not_shown(mark: str) -> None:
    with pytest.raises(TaskSpecError) as caught:
        TaskSpec(url=f"http://user:secret{mark}x@h/f")

    assert "secret" not in str(caught.value)


def test_what_is_wanted_encrypted_is_a_task_of_its_own() -> None:
    digest = Digest.parse(f"sha256:{'ab' * 32}")
    specs = [
        TaskSpec(url="http://h/x", digest=each, is_encrypted=is_encrypted)
        for each in (None, digest)
        for is_encrypted in (False, True)
    ]

    assert len({spec.task_id for spec in specs}) == 4


def test_what_is_sealed_with_another_key_is_another_edition() -> None:
    task_id = TaskSpec(url="http://h/x").task_id
    facts = SourceFacts(size_bytes=5, validators=Validators(etag='"a"'))

    names = {
        name_edition(task_id, facts, block_bytes=4, reading="", key_id=key_id)
        for key_id in (0, 1, 2)
    }

    assert len(names) == 3


def test_the_same_etag_is_the_same_version_whatever_the_date() -> None:
    known = Validators(etag='"a"', last_modified="yesterday")

    assert known.is_same_as(Validators(etag='"a"', last_modified="today"))
    assert known.is_same_as(known)
    assert not known.is_same_as(Validators(etag='"b"', last_modified="yesterday"))
    assert not Validators().is_same_as(known)
