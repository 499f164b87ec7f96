"""Why a request to somebody else failed, in words a person would use."""

import os
from typing import Final

import aiohttp

from damselfly.errors import NAME_UNKNOWN

_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def why_it_failed(exc: BaseException) -> str:
    """Return why a request failed, without its URL, which may hold secrets."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted ({exc.certificate_error})"
        case aiohttp.ClientConnectorDNSError():
            return NAME_UNKNOWN
        case aiohttp.ClientConnectorSSLError():
            return f"TLS failed ({_tls_reason(exc.os_error)})"
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


def _tls_reason(exc: OSError) -> str:
    reason = getattr(exc, "reason", None) or type(exc).__name__
    if reason in _NO_TLS:
        return "it speaks none at this port; is its URL http://?"
    return str(reason).replace("_", " ").lower()


def _meaning(exc: OSError) -> str:
    """Return what the number of an error means; asyncio's own text has the address."""
    return os.strerror(exc.errno).lower() if exc.errno else exc.strerror or type(exc).__name__
