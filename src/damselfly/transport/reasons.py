"""Why a request to somebody else failed, in words a person would use."""

import os

import aiohttp

from damselfly.errors import NAME_UNKNOWN


def why_it_failed(exc: BaseException) -> str:
    """Return why a request failed, without its URL, which may hold secrets."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted ({exc.certificate_error})"
        case aiohttp.ClientConnectorDNSError():
            return NAME_UNKNOWN
        case aiohttp.ClientSSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorError():
            return _meaning(exc.os_error)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return _meaning(exc)
        case _:
            return type(exc).__name__


def _meaning(exc: OSError) -> str:
    """Return what the number of an error means; asyncio's own text has the address."""
    return os.strerror(exc.errno).lower() if exc.errno else exc.strerror or type(exc).__name__
