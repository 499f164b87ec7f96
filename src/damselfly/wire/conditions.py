"""The words of conditional requests (RFC 9110, section 13)."""

import re
from collections.abc import Iterable

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_none_match(lines: Iterable[str], etag: str) -> bool:
    """Say whether If-None-Match names what its sender would get, so that 304 is the answer.

    Whether a tag is called weak does not matter here (13.1.2). A tag without its quotes is
    understood, as registries do.

    Args:
        lines: The values of the header, each of its lines.
        etag: The tag of what is there, in quotes.
    """
    strong = etag.removeprefix("W/")
    known = ("*", strong.strip('"'))
    return any(line.strip() in known or strong in _TAG.findall(line) for line in lines)
