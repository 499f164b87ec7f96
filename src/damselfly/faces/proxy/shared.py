"""Requests answered through the swarm.

What the swarm cannot give is left to the source, so that a rule never makes a request fail
that would succeed without it: its refusals, with whatever they say, its odd answers, and
contents for which there is no room here. What would only be asked of a troubled source once
more is told at once.
"""

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from aiohttp import web

from damselfly.core.digest import Digest
from damselfly.core.proxying.patterns import PathPattern, path_segments
from damselfly.core.proxying.rules import BLOBS, Target, Verdict
from damselfly.core.task import HEADERS_RESERVED
from damselfly.errors import (
    DamselflyError,
    RangeUnsatisfiableError,
    SourceBrokenError,
    SourceRefusedError,
    StorageError,
    TaskSpecError,
)
from damselfly.faces.proxy.answering import answer, unsatisfiable
from damselfly.faces.proxy.upstream import passed_on
from damselfly.services.downloading.content import Content
from damselfly.telemetry.log import get_log
from damselfly.wire.local_messages import DownloadRequest

TOO_MANY: Final = 429

_BLOBS: Final = PathPattern(BLOBS)

log = get_log()


class Reader(Protocol):
    """What contents are read from: the `Downloads` of this host."""

    def read(self, request: DownloadRequest) -> AbstractAsyncContextManager[Content]:
        """Give a content as soon as its edition is known."""


class Sharing:
    """Answers what a rule says is `p2p`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def share(self, request: web.BaseRequest, verdict: Verdict) -> web.StreamResponse | None:
        """Answer a request through the swarm; None leaves it to the source.

        Raises:
            DamselflyError: Neither the swarm nor the source can answer it now.
        """
        target = verdict.target
        wanted = DownloadRequest(
            url=target.url,
            digest=digest_in(target),
            headers=tuple(
                f"{name}: {value}"
                for name, value in passed_on(request.headers).items()
                if name.lower() not in HEADERS_RESERVED
            ),
            filter_query=verdict.filtered_query,
        )
        try:
            async with self._reader.read(wanted) as content:
                return await answer(request, content, _about(content))
        except RangeUnsatisfiableError as exc:
            return unsatisfiable(exc)
        except DamselflyError as exc:
            if not _is_for_source(exc):
                raise
            log.info("left_to_source", why=str(exc))
            return None


def digest_in(target: Target) -> str:
    """Return the digest in the path of a registry's blob, so that all who name it share it."""
    if not _BLOBS.matches(target.path):
        return ""
    text = path_segments(target.path)[-1]
    try:
        Digest.parse(text)
    except TaskSpecError:
        return ""
    return text


def _about(content: Content) -> dict[str, str]:
    validators = content.edition.validators
    told = {"ETag": validators.etag, "Last-Modified": validators.last_modified}
    return {
        "Content-Type": "application/octet-stream",
        **{name: value for name, value in told.items() if value},
    }


def _is_for_source(error: DamselflyError) -> bool:
    """Say whether the source should be asked after all."""
    if isinstance(error, SourceRefusedError):
        return 400 <= error.http_status < 500 and error.http_status != TOO_MANY  # noqa: PLR2004
    return isinstance(error, StorageError | SourceBrokenError | TaskSpecError)
