"""Short answers of sources, read whole."""

import aiohttp

from damselfly.core.task import TaskSpec
from damselfly.errors import SourceBrokenError, SourceUnreachableError
from damselfly.transport.reasons import why_it_failed


async def read_body(told: aiohttp.ClientResponse, spec: TaskSpec, *, bytes_max: int) -> bytes:
    """Return the body of an answer.

    Raises:
        SourceUnreachableError: It broke midway.
        SourceBrokenError: It is longer than `bytes_max`.
    """
    parts: list[bytes] = []
    count = 0
    try:
        async for part in told.content.iter_chunked(64 << 10):
            count += len(part)
            if count > bytes_max:
                reason = f"more than the {bytes_max} bytes that such an answer may have"
                raise SourceBrokenError(url=spec.display_url, reason=reason)
            parts.append(part)
    except (aiohttp.ClientError, OSError) as exc:
        raise SourceUnreachableError(url=spec.display_url, reason=why_it_failed(exc)) from exc
    return b"".join(parts)
