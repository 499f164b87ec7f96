"""Which entries of a cache a person means by a name."""

import re

_HEX_START = re.compile(r"[0-9a-f]{8,64}")  # a few digits more than chance makes equal


def is_meant(name: str, *, edition_id: str, task_id: str, digest: str, url: str) -> bool:
    """Say whether a name means an entry: its URL, its digest, or the start of one of its ids."""
    if name and name in (url, digest):
        return True
    lower = name.lower()
    if not _HEX_START.fullmatch(lower):
        return False
    return edition_id.startswith(lower) or task_id.startswith(lower)
