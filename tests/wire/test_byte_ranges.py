"""Guards the words of HTTP ranges: last byte included there, excluded here."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from damselfly.core.blocks import Span
from damselfly.errors import RangeUnsatisfiableError, RemoteProtocolError
from damselfly.wire.byte_ranges import (
    ContentRange,
    format_content_range,
    format_range,
    parse_content_range,
    parse_range,
)

bytes_counts = st.integers(1, 10**18)


@given(start=st.integers(0, 10**18), length=bytes_counts)
def test_range_names_its_first_and_last_byte(start: int, length: int) -> None:
    unit, _, span = format_range(start, start + length).partition("=")
    first, _, last = span.partition("-")

    assert (unit, int(first), int(last) - int(first) + 1) == ("bytes", start, length)


@given(start=st.integers(0, 10**18))
def test_range_to_the_end_has_no_last_byte(start: int) -> None:
    assert format_range(start, None) == f"bytes={start}-"


@given(
    start=st.integers(0, 10**17),
    length=bytes_counts,
    rest=st.none() | st.integers(0, 10**17),
)
def test_content_range_says_which_bytes_of_how_many(
    start: int, length: int, rest: int | None
) -> None:
    stop = start + length
    size = None if rest is None else stop + rest
    text = f"bytes {start}-{stop - 1}/{'*' if size is None else size}"

    assert parse_content_range(text) == ContentRange(start, stop, size)


@given(size=st.integers(0, 10**18))
def test_content_range_of_a_refusal_says_how_long_the_whole_is(size: int) -> None:
    assert parse_content_range(f"bytes */{size}") == ContentRange(None, None, size)


@pytest.mark.parametrize("text", [" bytes 0-0/1 ", "BYTES 0-0/1", "bytes 00-00/01"])
def test_content_range_is_read_as_generously_as_http_is(text: str) -> None:
    assert parse_content_range(text) == ContentRange(0, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "bytes=0-1/2",
        "bytes 0-1",
        "bytes -1/2",
        "bytes 0-/2",
        "bytes 1-0/2",
        "bytes 0-2/2",
        "bytes 0-1/0",
        "bytes 0-1,3-4/9",
        "bytes 0-1/2\nbytes 0-1/2",
        f"bytes 0-{10**19}/*",
        "bytes */" + "1" * 5000,
    ],
)
def test_content_range_that_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_content_range(text)

    assert len(str(caught.value)) < 200


@given(size=st.integers(1, 10**18), data=st.data())
def test_range_that_is_asked_for_is_understood(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.none() | st.integers(start + 1, 10**18))

    span = parse_range(format_range(start, stop), size)

    assert span == Span(start, min(stop or size, size))
    assert parse_content_range(format_content_range(span, size)) == ContentRange(
        span.start_byte, span.stop_byte, size
    )


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("BYTES = 2-3", 2, 4),
        ("bytes= 2-3 ", 2, 4),
        ("bytes=9-", 9, 10),
    ],
)
def test_range_has_these_forms(text: str, start: int, stop: int) -> None:
    assert parse_range(text, 10) == Span(start, stop)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,3-4",
        "bytes=a-b",
        "lines=0-1",
        f"bytes={'1' * 10000}-",
    ],
)
def test_what_is_no_single_range_means_the_whole(text: str) -> None:
    assert parse_range(text, 10) is None


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=-1", 0)])
def test_range_beyond_the_end_is_an_error_that_tells_the_length(text: str, size: int) -> None:
    with pytest.raises(RangeUnsatisfiableError) as caught:
        parse_range(text, size)

    assert (caught.value.size_bytes, caught.value.http_status) == (size, 416)


@given(text=st.text(), size=st.integers(0, 100))
def test_any_text_is_a_range_or_the_whole_or_beyond(text: str, size: int) -> None:
    with contextlib.suppress(RangeUnsatisfiableError):
        span = parse_range(f"bytes={text}", size)
        assert span is None or 0 <= span.start_byte < span.stop_byte <= size
