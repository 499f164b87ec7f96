"""Listings as contents: `list+s3://bucket/prefix/` is the list of what lies below the address.

So a listing travels like everything else: the source is asked once for all who want it, its
edition is named by its digest, and who may not read the source does not get it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from damselfly.core.digest import Digest
from damselfly.core.members import Member
from damselfly.core.task import Headers, TaskSpec, Validators
from damselfly.core.urls import split_form
from damselfly.errors import SourceRefusedError
from damselfly.transport.provider import Listing, SourceAnswer
from damselfly.transport.sources.chunks import ChunkReading, answer_for, one_piece
from damselfly.wire.listings import encode_listing

OK: Final = 200
STALL_S = 60.0  # all of it is here
LISTING_S: Final = 10.0  # as long as a fresh edition is believed
LISTINGS_MAX: Final = 16


def address_listed(spec: TaskSpec) -> TaskSpec:
    """Return the request for the address of which `spec` asks the listing, without its form."""
    scheme, _, rest = spec.url.partition("://")
    return replace(spec, url=f"{split_form(scheme)[1]}://{rest}", digest=None)


class RecentListings:
    """What was listed a moment ago, for the bundles that are made of it.

    So a folder is listed once for its listing and its bundles, and they agree.
    """

    def __init__(self, listing: Listing, *, now_s: Callable[[], float]) -> None:
        self._listing = listing
        self._now_s = now_s
        # {(folder, headers): (when it was listed, files)}; the oldest first.
        self._known: dict[tuple[str, Headers], tuple[float, list[Member]]] = {}

    async def list_below(self, folder: TaskSpec, *, is_new: bool = False) -> list[Member]:
        """Return the files below an address; if that is wanted, as they are at this moment.

        Raises:
            SourceError: The source does not tell this requester.
        """
        key = (folder.url, folder.headers)
        listed_s, members = self._known.get(key, (-LISTING_S, []))
        if is_new or self._now_s() - listed_s >= LISTING_S:
            members = await self._listing.list_below(folder)
            self._known.pop(key, None)
            self._known[key] = (self._now_s(), members)
            if len(self._known) > LISTINGS_MAX:
                del self._known[next(iter(self._known))]
        return members

    def forget(self, folder: TaskSpec) -> None:
        """What was listed is not so any more."""
        self._known.pop((folder.url, folder.headers), None)


class ListingSource:
    """Gives listings of sources that can list."""

    def __init__(self, listings: RecentListings) -> None:
        self._listings = listings

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> ChunkReading:
        """List, and give the list or a part of it; see `provider.Source`."""
        data = encode_listing(await self._listings.list_below(address_listed(spec), is_new=True))
        answer = answer_for(
            self._answer(data),
            start_byte=start_byte,
            stop_byte=stop_byte,
            validators=validators,
            url=spec.display_url,
        )
        return ChunkReading(
            answer,
            one_piece(memoryview(data)[answer.start_byte : answer.stop_byte]),
            url=spec.display_url,
            stall_s=STALL_S,
        )

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:  # noqa: ARG002  # compared by who asks
        """List again, and say which version that is; see `provider.Source`."""
        return await self.authorise(spec)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Say whether the source lets this requester list; see `provider.Source`."""
        try:
            members = await self._listings.list_below(address_listed(spec), is_new=True)
        except SourceRefusedError as exc:
            return SourceAnswer.of_refusal(exc)
        return self._answer(encode_listing(members))

    async def close(self) -> None:
        """It has nothing of its own."""

    def _answer(self, data: bytes) -> SourceAnswer:
        digest = Digest("sha256", hashlib.sha256(data).hexdigest())
        return SourceAnswer(
            status=OK,
            size_bytes=len(data),
            stop_byte=len(data),
            validators=Validators(etag=f'"{digest.value}"'),
            digest=digest,
            accepts_ranges=True,
        )
