"""Sources as providers: the one shape that everything that gives bytes of a source has."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from damselfly.core.digest import Digest
from damselfly.core.members import Member
from damselfly.core.task import Headers, TaskSpec, Validators
from damselfly.errors import SourceRefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAnswer:
    """The head of a source's answer.

    Attributes:
        status: 200 or 206 for a reading; any status for a validation.
        size_bytes: Length of the whole content, or None when the source does not tell.
        start_byte: First byte of the whole that the body carries.
        stop_byte: One past the last byte that the body carries, or None when unknown.
        validators: ETag and Last-Modified.
        digest: From `Repr-Digest`, `Digest` or a checksum header, if there is one.
        checksum: `md5:…`, `sha1:…` or `crc32c:…` of the whole, if told; good against accidents.
        accepts_ranges: The source can give a part: it said so, or answered 206.
        http_headers: What goes with a refusal: a challenge, when to come again.
    """

    status: int
    size_bytes: int | None
    start_byte: int = 0
    stop_byte: int | None = None
    validators: Validators = Validators()
    digest: Digest | None = None
    checksum: str = ""
    accepts_ranges: bool = False
    http_headers: Headers = ()

    @classmethod
    def of_refusal(cls, refusal: SourceRefusedError) -> Self:
        """Return a refusal as who only asks is told it."""
        return cls(status=refusal.status, size_bytes=None, http_headers=refusal.http_headers)


class SourceReading(Protocol):
    """An open answer of a source; leaving the context closes it, wherever it is."""

    answer: SourceAnswer

    async def __aenter__(self) -> Self:
        """Give the reading itself."""

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""

    async def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what comes next of the body, decoded from transfer encoding.

        Returns:
            How many bytes came: fewer than fit only at the end of the body.

        Raises:
            SourceUnreachableError: The connection broke or stalled midway.
            SourceBrokenError: The body is not what its head said.
        """


class Listing(Protocol):
    """A source that can say what lies below an address."""

    async def list_below(self, spec: TaskSpec) -> list[Member]:
        """Return all files below an address, in any order.

        Raises:
            SourceError: It does not tell.
        """


Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Makes what is held during one request; entering it waits until there may be one more."""


class Source(Protocol):
    """Where contents come from in the end."""

    async def close(self) -> None:
        """Close all connections."""

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> SourceReading:
        """Ask for the content, or a part of it, and return once the head is here.

        A part is asked for with If-Range when validators are given, so that a source that
        changed answers 200 with the whole: compare `answer.status` and `answer.validators`.

        Raises:
            SourceUnreachableError: No answer.
            SourceRefusedError: Any status but 200 and 206.
            SourceBrokenError: A range was answered with another range.
        """

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether the source gives its content to this request; never raises for a status.

        A HEAD; where it is refused, a GET of one byte that is closed after its head.

        Raises:
            SourceUnreachableError: No answer.
            SourceBrokenError: An answer that is no HTTP, or too many redirects.
        """

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether the source still has this version; never raises for a status.

        A HEAD with If-None-Match and If-Modified-Since; where HEAD is refused with 403, 405
        or 501, a GET with the same headers that is closed after its head.

        Raises:
            SourceUnreachableError: No answer.
            SourceBrokenError: An answer that is no HTTP, or too many redirects.
        """
