"""Index pages of web servers: the links of a folder, as nginx, Apache and others write them.

There is no standard: a page is a list of links, mostly with a date and a length after each. A
length that is digits alone is exact; `1.2K` is not, and then it is not told.
"""

import re
from dataclasses import dataclass
from html import unescape

_LINK = re.compile(r"<a\b[^>]*?\bhref\s*=\s*(?:\"([^\"]*)\"|'([^']*)')[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_TAIL = re.compile(r"(\d{1,4}-\w{2,3}-\d{2,4} \d{2}:\d{2}(?::\d{2})?)\s+(\S+)")
LINKS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Link:
    """A link of an index page.

    Attributes:
        href: As the page has it, with entities resolved.
        size_bytes: Length, if the page tells it exactly.
        date: As the page has it; empty if it tells none.
    """

    href: str
    size_bytes: int | None = None
    date: str = ""


def parse_index_page(text: str) -> list[Link]:
    """Return the links of a page, in its order; a page without any has an empty list."""
    links: list[Link] = []
    found = list(_LINK.finditer(text))[:LINKS_MAX]
    stops = [*(match.start() for match in found[1:]), len(text)]
    for match, stop in zip(found, stops, strict=False):
        _, _, tail = text[match.end() : stop].partition("</a>")
        told = _TAIL.search(_TAG.sub(" ", tail))
        size = int(told[2]) if told and told[2].isdecimal() and len(told[2]) < 20 else None  # noqa: PLR2004
        href = unescape(match[1] if match[1] is not None else match[2])
        links.append(Link(href, size, told[1] if told else ""))
    return links
