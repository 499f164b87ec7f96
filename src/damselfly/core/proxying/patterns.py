"""Patterns of hosts and paths, as rules write them.

A path pattern is matched segment by segment: `*` and `?` stay within a segment, `**` as a
whole segment stands for any number of them. `/models/**` is `/models` and all below it.

A host pattern is a name with `*` for anything, dots too, and a port when it matters:
`*.example.com`, `registry.example:5000`, `[::1]:5000`. `*.example.com` is not `example.com`.

Matching takes at most |pattern| x |subject| steps, whatever either says, since paths come
from strangers.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

PATTERN_CHARS_MAX: Final = 1024  # far more than a person writes
ANY_DEPTH: Final = "**"

_ENCODED_SLASH = re.compile(r"%2[Ff]")
_HOST_PATTERN = re.compile(r"(\[[0-9A-Fa-f:.*?]+\]|[^\[\]:/@\s]+)(?::(\d{1,5}|\*))?")


def path_segments(path: str) -> list[str]:
    """Return the segments of a URL's path as its server reads them.

    Percent-encoding is undone and `.` and `..` are followed, so that there is one way to
    write a path that a rule names. An encoded slash stays encoded: it separates nothing.
    """
    segments: list[str] = []
    segment = ""
    for raw in path.removeprefix("/").split("/"):
        segment = "%2F".join(unquote(piece) for piece in _ENCODED_SLASH.split(raw))
        if segment == "..":
            segments[-1:] = []
        elif segment != ".":
            segments.append(segment)
    return [*segments, ""] if segment in (".", "..") else segments  # /a/.. is /, a folder


class PathPattern:
    """A pattern of paths."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/") or len(text) > PATTERN_CHARS_MAX:
            raise ValueError(f"path must begin with / and be short, not {text[:80]!r}")
        self._elements = [
            None if segment == ANY_DEPTH else _glob(segment)
            for segment in text.removeprefix("/").split("/")
        ]

    @property
    def is_everything(self) -> bool:
        """Whether each path matches."""
        return self._elements == [None]

    def matches(self, path: str) -> bool:
        """Say whether a path, percent-encoded as it was asked for, matches."""
        return _covers(self._elements, path_segments(path))


class HostPattern:
    """A pattern of hosts."""

    def __init__(self, text: str) -> None:
        match = _HOST_PATTERN.fullmatch(text)
        if not match or len(text) > PATTERN_CHARS_MAX or int_of(match[2]) > 65535:  # noqa: PLR2004
            expected = "host must be such as *.example.com, registry.example:5000 or [::1]"
            raise ValueError(f"{expected}, not {text[:80]!r}")
        host = match[1].strip("[]").lower()
        self.names_a_host = host.strip("*") != ""
        self.port = int_of(match[2])
        self._matches_host = _glob(host)

    def matches(self, host: str, port: int) -> bool:
        """Say whether a host, without brackets, and its port match."""
        if self.port not in (0, port):
            return False
        return self._matches_host(host.lower().rstrip("."))


def int_of(port: str | None) -> int:
    """Return a port as a number; 0 for none and for any."""
    return int(port) if port and port != "*" else 0


def _glob(text: str) -> Callable[[str], bool]:
    """Return what says whether a whole text matches `*`, `?` and `[abc]`."""
    compiled = re.compile(fnmatch.translate(text))  # makes no expression that can blow up
    return lambda subject: compiled.match(subject) is not None


def _covers(elements: Sequence[Callable[[str], bool] | None], segments: Sequence[str]) -> bool:
    """Match segments; None is any number of them.

    When an element fails, only the last `**` before it need take one segment more: what an
    earlier one could take, the last can take as well.
    """
    at = here = 0
    star, resume = -1, 0
    while here < len(segments):
        element = elements[at] if at < len(elements) else None
        if at < len(elements) and element is None:
            star, resume = at, here
            at += 1
        elif element is not None and element(segments[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(element is None for element in elements[at:])
