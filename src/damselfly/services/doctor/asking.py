"""Asking over HTTP once, with a limit in time, and with reasons that a person can read."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from damselfly.transport.sources.http import Trust

TIMEOUT_S: Final = 5.0
BODY_BYTES_MAX: Final = 64 << 10
CONNECT_PORTS: Final = {"http": 80, "https": 443}
SYSTEM: Final = Trust()  # what this host trusts anyway


class UnansweredError(Exception):
    """There was no answer; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back.

    Attributes:
        date_wall_s: The clock of whoever answered; None: not told.
    """

    status: int
    body: bytes
    date_wall_s: float | None


def ask(url: str, trust: Trust = SYSTEM) -> Answer:
    """Ask for a URL and return the answer; nothing is followed or repeated.

    Raises:
        UnansweredError: Nobody answers there in HTTP.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    port = parts.port or CONNECT_PORTS[parts.scheme]
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = _context(trust)
        connection = http.client.HTTPSConnection(
            parts.hostname, port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, port, timeout=TIMEOUT_S)
    try:
        query = f"?{parts.query}" if parts.query else ""
        connection.request("GET", f"{parts.path or '/'}{query}")
        response = connection.getresponse()
        return Answer(
            status=response.status,
            body=response.read(BODY_BYTES_MAX),
            date_wall_s=_date(response.getheader("Date", "")),
        )
    except ssl.SSLCertVerificationError as exc:
        raise UnansweredError(f"its certificate is not trusted: {exc.verify_message}") from exc
    except TimeoutError as exc:
        raise UnansweredError(f"no answer within {TIMEOUT_S:g} s") from exc
    except socket.gaierror as exc:
        raise UnansweredError("its name cannot be resolved") from exc
    except OSError as exc:
        raise UnansweredError((exc.strerror or str(exc)).lower()) from exc
    except http.client.HTTPException as exc:
        raise UnansweredError("what answers there speaks no HTTP") from exc
    finally:
        connection.close()


def _context(trust: Trust) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if trust.is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca_file:
        try:
            context.load_verify_locations(trust.ca_file)
        except OSError as exc:  # ssl.SSLError is one
            raise UnansweredError(f"{trust.ca_file} holds no certificates to trust") from exc
    return context


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


def reachable(address: str) -> str:
    """Return where a `host:port` that is listened on can be reached from this host."""
    host, _, port = address.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"  # noqa: S104
