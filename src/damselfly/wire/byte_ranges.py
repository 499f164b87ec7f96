"""The words of HTTP ranges (RFC 9110, section 14): first and last byte, both included."""

import re
from dataclasses import dataclass

from damselfly.errors import RemoteProtocolError

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(?:(\d{1,19})|\*)", re.IGNORECASE)


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
