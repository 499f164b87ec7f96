"""What lies below an address: files with paths, as the listing of a bucket or a folder has them."""

import fnmatch
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from damselfly.core.urls import NO_TEXT

PATH_CHARS_MAX: Final = 4096  # PATH_MAX of Linux


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of a listing.

    Attributes:
        path: Where it belongs below the folder that is made of the listing.
        url: Where it is.
        size_bytes: Length; None when the listing does not tell it, or not exactly.
        digest: `sha256:…` where the listing has it, else empty.
        text: The file itself, of one that the listing makes; then the URL is empty.
        version: Whatever else tells this version from another; empty is nothing.
    """

    path: str
    url: str
    size_bytes: int | None = None
    digest: str = ""
    version: str = ""
    text: str = ""


def is_safe_path(path: str) -> bool:
    """Say whether a path leads to a file below its folder, and nowhere else.

    A source says what its files are called, and one that lies must not write elsewhere.
    """
    parts = path.split("/")
    return (
        len(path) <= PATH_CHARS_MAX
        and all(part not in ("", ".", "..") for part in parts)
        and "\0" not in path
        and not any(NO_TEXT[0] <= each <= NO_TEXT[2] for each in path)
    )


def select(
    members: Iterable[Member], *, include: Collection[str], exclude: Collection[str]
) -> list[Member]:
    """Return the files that are wanted, in the order of their paths.

    Args:
        members: All files.
        include: Patterns of paths or names, `*` is any text; empty is all.
        exclude: The same; they outweigh those of `include`.
    """
    chosen = [
        member
        for member in members
        if (not include or _matches(member.path, include)) and not _matches(member.path, exclude)
    ]
    return sorted(chosen, key=lambda member: member.path)


def _matches(path: str, patterns: Iterable[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(name, pattern)
        for pattern in patterns
    )
