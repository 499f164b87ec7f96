"""The words of HTTP ranges (RFC 9110, section 14): first and last byte, both included."""

import re
from dataclasses import dataclass

from damselfly.core.blocks import Span
from damselfly.errors import RangeUnsatisfiableError, RemoteProtocolError

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(?:(\d{1,19})|\*)", re.IGNORECASE)

_RANGES = re.compile(r"bytes[ \t]*=(.*)", re.IGNORECASE)
_RANGE = re.compile(r"[ \t]*(?:(\d{1,19})-(\d{0,19})|-(\d{1,19}))[ \t]*")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """What a Content-Range header says.

    Attributes:
        start_byte: First byte; None in the form `*`, of an unsatisfiable range.
        stop_byte: One past the last byte; None in the same form.
        size_bytes: Length of the whole; None when the server does not know it.
    """

    start_byte: int | None
    stop_byte: int | None
    size_bytes: int | None


def format_range(start_byte: int, stop_byte: int | None) -> str:
    """Return a Range header for `start_byte <= x < stop_byte`; None is to the end."""
    assert start_byte >= 0
    assert stop_byte is None or stop_byte > start_byte
    return f"bytes={start_byte}-{'' if stop_byte is None else stop_byte - 1}"


def parse_content_range(text: str) -> ContentRange:
    """Return what a Content-Range header says.

    Raises:
        RemoteProtocolError: It is none, or one that contradicts itself.
    """
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if not match:
        raise RemoteProtocolError(f"Content-Range {text[:80]!r}")
    first, last, size = (None if part is None else int(part) for part in match.groups())
    if first is None or last is None:
        return ContentRange(None, None, size)
    if last < first or (size is not None and last >= size):
        raise RemoteProtocolError(f"Content-Range {text[:80]!r}")
    return ContentRange(first, last + 1, size)


def format_content_range(span: Span, size_bytes: int) -> str:
    """Return a Content-Range header for a part of a content."""
    assert len(span) > 0
    return f"bytes {span.start_byte}-{span.stop_byte - 1}/{size_bytes}"


def parse_range(text: str, size_bytes: int) -> Span | None:
    """Return the bytes that a Range header asks for; None: the whole.

    As RFC 9110 allows, the whole also answers what is no range (`5-2`, another unit) and
    several ranges at once, which no container engine asks for.

    Args:
        text: The header's value, empty when there is none.
        size_bytes: Length of the content.

    Raises:
        RangeUnsatisfiableError: It is a range, and none of its bytes exists.
    """
    match = _RANGES.fullmatch(text.strip())
    match = _RANGE.fullmatch(match[1]) if match else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start_byte, stop_byte = max(size_bytes - int(suffix), 0), size_bytes
    else:
        start_byte, stop_byte = int(first), int(last) + 1 if last else size_bytes
        if last and stop_byte <= start_byte:
            return None
    if start_byte >= size_bytes:
        raise RangeUnsatisfiableError(asked=text.strip()[:80], size_bytes=size_bytes)
    return Span(start_byte, min(stop_byte, size_bytes))
