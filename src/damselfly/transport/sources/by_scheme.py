"""All kinds of sources behind one shape: which one is asked follows from the scheme of a URL."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Final, Protocol

from damselfly.clock import now_s
from damselfly.core.members import Member
from damselfly.core.task import TaskSpec, Validators
from damselfly.core.urls import WEB, split_form
from damselfly.errors import TaskSpecError
from damselfly.transport.provider import Listing, Source, SourceAnswer, SourceReading, Turn
from damselfly.transport.sources.accounts import Accounts
from damselfly.transport.sources.bundles import BundleSource
from damselfly.transport.sources.http import HttpSource
from damselfly.transport.sources.kinds import objects
from damselfly.transport.sources.kinds.files import FileSource
from damselfly.transport.sources.kinds.filesystems import FileSystemSource, has_file_system
from damselfly.transport.sources.kinds.hub import HubSource
from damselfly.transport.sources.kinds.registries import FindUrls, RegistrySource
from damselfly.transport.sources.kinds.web import WebSource
from damselfly.transport.sources.listings import ListingSource, RecentListings

SCHEMES: Final = (*WEB, *objects.SCHEMES, "hf", "oci", "file")


class ListableSource(Source, Listing, Protocol):
    """A source that can list."""


class KindOfSource(Source, Protocol):
    """What knows one kind of source."""

    async def list_below(self, spec: TaskSpec, *, turn: Turn = nullcontext) -> list[Member]:
        """Return all files below an address, as `Listing.list_below`.

        Args:
            spec: The address.
            turn: Held during each request that this takes.
        """


class Sources:
    """Asks the source that a URL's scheme names.

    Attributes:
        http: The one for http and https, for who speaks HTTP with it.
    """

    def __init__(
        self,
        http: HttpSource,
        *,
        accounts: Accounts = Accounts(),  # noqa: B008  # it has none, and never changes
        hub_endpoint: str = "",
        folders: Iterable[str] = (),
        find_urls: FindUrls,
        connect_timeout_s: float,
        stall_timeout_s: float,
        wrap: Callable[[KindOfSource], ListableSource] = lambda kind: kind,
    ) -> None:
        self.http = http
        self._wrap = wrap
        # {scheme: what makes its source}: a kind that nobody asks costs nothing.
        self._makers: dict[str, Callable[[], KindOfSource]] = {
            "hf": lambda: HubSource(http, accounts, endpoint=hub_endpoint),
            "oci": lambda: RegistrySource(http, accounts, find_urls=find_urls),
            "file": lambda: FileSource(folders, stall_timeout_s=stall_timeout_s),
            **dict.fromkeys(WEB, lambda: WebSource(http, accounts)),
            **dict.fromkeys(
                objects.SCHEMES,
                lambda: objects.ObjectSource(
                    http,
                    accounts,
                    connect_timeout_s=connect_timeout_s,
                    stall_timeout_s=stall_timeout_s,
                ),
            ),
        }
        self._make_other = lambda: FileSystemSource(accounts, stall_timeout_s=stall_timeout_s)
        self._made: dict[str, ListableSource] = {}
        listings = RecentListings(self, now_s=now_s)
        self._forms: dict[str, Source] = {
            "list": ListingSource(listings),
            "bundle": BundleSource(self, listings),
        }

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> SourceReading:
        """Ask for a content, or a part of it; see `provider.Source`."""
        return await self._of(spec).read(
            spec, start_byte=start_byte, stop_byte=stop_byte, validators=validators
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether the source still has this version; see `provider.Source`."""
        return await self._of(spec).validate(spec, validators)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether the source would answer; see `provider.Source`."""
        return await self._of(spec).authorise(spec)

    async def list_below(self, spec: TaskSpec) -> list[Member]:
        """Return all files below an address; see `provider.Listing`."""
        return await self._kind(spec).list_below(spec)

    async def close(self) -> None:
        """Close all connections."""
        for source in self._made.values():
            await source.close()
        await self.http.close()

    def _of(self, spec: TaskSpec) -> Source:
        form, _ = split_form(spec.url.partition("://")[0])
        if not form:
            return self._kind(spec)
        if form not in self._forms:
            expected = f"its scheme has a form that is none of {', '.join(self._forms)}"
            raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
        return self._forms[form]

    def _kind(self, spec: TaskSpec) -> ListableSource:
        scheme = spec.url.partition("://")[0]
        if scheme not in self._made:
            self._made[scheme] = self._wrap(self._maker(spec, scheme)())
        return self._made[scheme]

    def _maker(self, spec: TaskSpec, scheme: str) -> Callable[[], KindOfSource]:
        if scheme in self._makers:
            return self._makers[scheme]
        if not has_file_system(scheme):
            expected = f"no source knows {scheme}://; known are {', '.join(SCHEMES)}"
            raise TaskSpecError(
                what="URL", value=spec.display_url, expected=f"{expected}, and others by fsspec"
            )
        return self._make_other
