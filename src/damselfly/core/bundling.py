"""Small files that travel together: which of a listing, and under which name.

A file of 10 KB costs a task what one of 10 MB costs: a request to the source, a round of
scheduling, a file in each cache. So the small files of a listing are cut, in the order of
their paths, into **bundles**: contents that hold the files one after another. Everybody
who has the listing and the same patterns makes the same bundles, and the name of a bundle
says all that is needed to make it: nothing is kept anywhere for it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from damselfly.core.members import Member, select

SMALL_BYTES_MAX: Final = 1 << 20  # four blocks: a swarm of its own pays from here on
BUNDLE_BYTES_MAX: Final = 256 << 20  # what is fetched anew when one of its files has changed
MEMBERS_MAX: Final = 50_000  # their list is some 10 MB
MEMBERS_MIN: Final = 4  # fewer are no crowd

_INCLUDE, _EXCLUDE, _NUMBER = "damselfly.include", "damselfly.exclude", "damselfly.number"


@dataclass(frozen=True, slots=True)
class Split:
    """A listing, by how its files travel.

    Attributes:
        alone: Files that are tasks of their own.
        bundles: Files that travel together.
    """

    alone: tuple[Member, ...]
    bundles: tuple[tuple[Member, ...], ...]


def split(
    members: Iterable[Member], *, include: Collection[str] = (), exclude: Collection[str] = ()
) -> Split:
    """Return how the wanted files of a listing travel; those that it makes itself do not."""
    wanted = [member for member in select(members, include=include, exclude=exclude) if member.url]
    small = [member for member in wanted if _is_small(member)]
    if len(small) < MEMBERS_MIN:
        return Split(tuple(wanted), ())
    bundles: list[list[Member]] = [[]]
    filled = 0
    for member in small:
        size = member.size_bytes or 0
        if filled + size > BUNDLE_BYTES_MAX or len(bundles[-1]) == MEMBERS_MAX:
            bundles.append([])
            filled = 0
        bundles[-1].append(member)
        filled += size
    alone = tuple(member for member in wanted if not _is_small(member))
    return Split(alone, tuple(tuple(bundle) for bundle in bundles))


def _is_small(member: Member) -> bool:
    return member.size_bytes is not None and member.size_bytes <= SMALL_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleAddress:
    """The name of a bundle.

    Attributes:
        folder_url: What is listed.
        include: As in `members.select`.
        exclude: The same.
        number: Which of the bundles, from 0.
    """

    folder_url: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    number: int = 0

    @property
    def url(self) -> str:
        """The address as a URL, with the form `bundle`."""
        pairs = [(_INCLUDE, pattern) for pattern in self.include]
        pairs += [(_EXCLUDE, pattern) for pattern in self.exclude]
        pairs += [(_NUMBER, str(self.number))]
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
        return f"bundle+{self.folder_url}{'&' if '?' in self.folder_url else '?'}{query}"

    @classmethod
    def parse(cls, url: str) -> "BundleAddress":
        """Return the address in a URL; what is not understood of it names the first bundle."""
        before, _, query = url.removeprefix("bundle+").partition("?")
        named: dict[str, list[str]] = {_INCLUDE: [], _EXCLUDE: [], _NUMBER: []}
        others = []
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if name in named:
                named[name].append(unquote(value))
            elif pair:
                others.append(pair)
        number = next(iter(named[_NUMBER]), "")
        return cls(
            folder_url=before + ("?" + "&".join(others) if others else ""),
            include=tuple(named[_INCLUDE]),
            exclude=tuple(named[_EXCLUDE]),
            number=int(number) if number.isdecimal() and len(number) < 10 else 0,  # noqa: PLR2004
        )
