"""HTTP and HTTPS sources. The border where errors of the HTTP library end."""

import asyncio
import copy
import re
import ssl
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, NoReturn, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from damselfly.core.digest import Digest
from damselfly.core.task import Headers, TaskSpec, Validators
from damselfly.core.urls import WEB, normalise_url
from damselfly.errors import (
    RemoteProtocolError,
    SettingsError,
    SourceBrokenError,
    SourceRefusedError,
    SourceUnreachableError,
)
from damselfly.transport.guarded import guarded_socket
from damselfly.transport.provider import SourceAnswer
from damselfly.transport.reasons import why_it_failed
from damselfly.transport.sources.checksums import checksum_told, digest_told
from damselfly.transport.sources.direct_body import DirectBody, take_over
from damselfly.wire.byte_ranges import format_range, parse_content_range

REDIRECTS_MAX: Final = 10
HEAD_BYTES_MAX: Final = 64 << 10
READ_BUFFER_BYTES: Final = 1 << 20
ASKING: Final = ("GET", "HEAD")
OK, PARTIAL, NOT_MODIFIED = 200, 206, 304
HTTP: Final = tuple(f"{scheme}://" for scheme in WEB)
HEAD_REFUSED: Final = (403, 405, 501)  # signed URLs are good for GET alone; some servers lack HEAD

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trust:
    """How a server is known to be the right one.

    Attributes:
        ca_file: Certificates to trust besides the system's; empty is none.
        is_insecure: Any certificate will do.
        client_cert_file: What is shown to it; empty is nothing.
        client_key_file: Its key; empty: it is in the same file.
    """

    ca_file: str = ""
    is_insecure: bool = False
    client_cert_file: str = ""
    client_key_file: str = ""


class HttpReading:
    """An open answer; see `provider.SourceReading`."""

    def __init__(
        self, response: aiohttp.ClientResponse, answer: SourceAnswer, *, url: str, stall_s: float
    ) -> None:
        self.answer = answer
        self._response = response
        self._url = url
        self._stall_s = stall_s
        self._received = 0
        self._early = memoryview(b"")  # it came before there was a buffer for it
        self._direct: DirectBody | None = None

    async def __aenter__(self) -> Self:
        self._take_over()  # until there is a buffer, what comes waits in the kernel
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._response.close()  # without reading to the end

    async def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer with what comes next; see `provider.SourceReading`."""
        expected = self._expected
        missing = None if expected is None else expected - self._received
        wanted = buffer if missing is None else buffer[:missing]
        filled = 0
        while filled < len(wanted):
            count = await self._receive(wanted[filled:])
            if not count:
                break
            filled += count
        self._received += filled
        if filled < len(wanted) and expected is not None:
            reason = f"it closed after {self._received} of {expected} bytes"
            raise SourceUnreachableError(url=self._url, reason=reason)
        if self._received == expected and await self._has_more():
            raise SourceBrokenError(url=self._url, reason=f"more than {expected} bytes")
        return filled

    async def _has_more(self) -> bool:
        """Say whether a body goes on after its end; one that was taken over cannot."""
        return self._direct is None and await self._receive(memoryview(bytearray(1))) > 0

    @property
    def _expected(self) -> int | None:
        """How many bytes will come, if that is known."""
        answer = self.answer
        return None if answer.stop_byte is None else answer.stop_byte - answer.start_byte

    def _take_over(self) -> None:
        expected = self._expected
        if expected is not None and (taken := take_over(self._response, expected)) is not None:
            early, self._direct = taken
            self._early = memoryview(early)

    async def _receive(self, buffer: memoryview) -> int:
        """Receive some bytes, at least one but at the end."""
        try:
            if not self._early and self._direct is not None:
                await self._direct.receive_into(buffer, stall_s=self._stall_s)
                return len(buffer)
            content = self._response.content
            if not self._early:
                self._early = memoryview(content.read_nowait(-1))
            if not self._early and not content.at_eof():
                async with asyncio.timeout(self._stall_s):
                    self._early = memoryview(await content.readany())
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError is an OSError
            raise SourceUnreachableError(url=self._url, reason=self._why(exc)) from exc
        count = min(len(buffer), len(self._early))
        buffer[:count] = self._early[:count]
        self._early = self._early[count:]
        return count

    def _why(self, exc: Exception) -> str:
        if isinstance(exc, TimeoutError):
            return f"it sent nothing for {self._stall_s:g} s"
        return f"it closed midway ({why_it_failed(exc)})"


class HttpSource:
    """Sources by http and https."""

    def __init__(
        self,
        *,
        connect_timeout_s: float = 5.0,
        stall_timeout_s: float = 15.0,
        connections_max: int = 16,
        ca_file: str = "",
        trusts: Mapping[str, Trust] | None = None,
    ) -> None:
        self._stall_s = stall_timeout_s
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout_s, connect=None, sock_read=stall_timeout_s
        )
        self._body_timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._connections_max = connections_max
        self._tls = tls_context(ca_file)
        # {origin: what verifies it}, of those with certificates of their own.
        self._tls_of = {origin: _context_of(trust) for origin, trust in (trusts or {}).items()}
        self._client: aiohttp.ClientSession | None = None
        self._open_socket: aiohttp.SocketFactoryType | None = None

    def guarded(self) -> Self:
        """Return the same source for clients elsewhere: it asks nothing that is this host's alone.

        It has connections of its own, to be closed.
        """
        other = copy.copy(self)
        other._client, other._open_socket = None, guarded_socket  # noqa: SLF001  # it is one of us
        return other

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None or self._client.closed:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=self._connections_max,
                    ssl=self._tls,
                    socket_factory=self._open_socket,
                ),
                timeout=self._timeout,
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=HEAD_BYTES_MAX,
                max_field_size=HEAD_BYTES_MAX,
                requote_redirect_url=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding",),
                headers={"User-Agent": f"damselfly/{version('damselfly')}"},
            )
        return self._client

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()

    async def read(
        self,
        spec: TaskSpec,
        *,
        start_byte: int = 0,
        stop_byte: int | None = None,
        validators: Validators = Validators(),
    ) -> HttpReading:
        """Ask for the content, or a part of it; see `provider.Source`."""
        headers: dict[str, str] = {}
        is_part = start_byte > 0 or stop_byte is not None
        if is_part:
            headers["Range"] = format_range(start_byte, stop_byte)
            if validators.if_range:
                headers["If-Range"] = validators.if_range
        response = await self.ask("GET", spec, headers)
        try:
            answer = self._answer(response, spec, start_byte if is_part else 0, stop_byte)
        except BaseException:
            response.close()
            raise
        return HttpReading(response, answer, url=spec.display_url, stall_s=self._stall_s)

    async def validate(self, spec: TaskSpec, validators: Validators) -> SourceAnswer:
        """Ask whether the source still has this version; see `provider.Source`."""
        headers: dict[str, str] = {}
        if validators.etag:
            headers["If-None-Match"] = validators.etag
        if validators.last_modified:
            headers["If-Modified-Since"] = validators.last_modified
        return await self._head_of(spec, headers, headers)

    async def authorise(self, spec: TaskSpec) -> SourceAnswer:
        """Ask whether this request would be answered; see `provider.Source`."""
        return await self._head_of(spec, {}, {"Range": format_range(0, 1)})

    async def _head_of(
        self, spec: TaskSpec, for_head: Mapping[str, str], for_get: Mapping[str, str]
    ) -> SourceAnswer:
        """Ask for a head, by GET if HEAD is refused."""
        response = await self.ask("HEAD", spec, for_head)
        response.close()
        if response.status in HEAD_REFUSED:
            response = await self.ask("GET", spec, for_get)
            response.close()
        return SourceAnswer(
            status=response.status,
            size_bytes=_length(response) if response.status == OK else None,
            validators=_validators(response),
            digest=_digest_of(response) if response.status == OK else None,
            accepts_ranges=_accepts_ranges(response),
            http_headers=_of_refusal(response),
        )

    async def ask(
        self,
        method: str,
        spec: TaskSpec,
        headers: Mapping[str, str],
        *,
        body: AsyncIterable[bytes] | None = None,
    ) -> aiohttp.ClientResponse:
        """Ask, follow redirects, and return the answer, whatever it is; the caller closes it.

        A request that puts something there is followed nowhere, and may take as long as its body.

        Raises:
            SourceUnreachableError: There is none.
            SourceBrokenError: It is no HTTP.
            TaskSpecError: Its URL is not of HTTP.
        """
        if not spec.url.startswith(HTTP):
            normalise_url(spec.url, schemes=WEB)  # which says what is wrong with it
        url, credentials = _split_userinfo(spec.url)
        if any(name.lower() == "authorization" for name, _ in spec.headers):
            credentials = ()  # the user's own header wins
        try:
            return await self._session().request(
                method,
                URL(url, encoded=True),
                headers=[
                    *credentials,
                    *spec.headers,
                    *headers.items(),
                    ("Accept-Encoding", "identity"),
                ],
                data=body,
                allow_redirects=method in ASKING,
                max_redirects=REDIRECTS_MAX,
                timeout=self._timeout if body is None else self._body_timeout,
                middlewares=self._middlewares(spec),
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
            self._raise_unreachable(spec, exc)

    def _middlewares(self, spec: TaskSpec) -> list[aiohttp.ClientMiddlewareType]:
        """Return those that have something to do; each takes its time of each request."""
        secrets = [_keep_secrets_home(spec.headers)] if spec.headers else []
        return [*secrets, self._trust] if self._tls_of else secrets

    async def _trust(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Verify each server by its own certificates, also behind a redirect."""
        tls = self._tls_of.get(str(request.url.origin()))
        if tls is not None:
            request._ssl = tls  # noqa: SLF001  # a request has one value for all its redirects
        return await handler(request)

    def _raise_unreachable(self, spec: TaskSpec, exc: Exception) -> NoReturn:
        url = spec.display_url
        if isinstance(exc, aiohttp.TooManyRedirects):
            reason = f"more than {REDIRECTS_MAX} redirects"
            raise SourceBrokenError(url=url, reason=reason) from exc
        if isinstance(exc, aiohttp.RedirectClientError):
            reason = "a redirect to what is no web address"
            raise SourceBrokenError(url=url, reason=reason) from exc
        if isinstance(exc, aiohttp.ClientResponseError | aiohttp.InvalidURL):
            raise SourceBrokenError(url=url, reason="an answer that is no HTTP") from exc
        raise SourceUnreachableError(url=url, reason=why_it_failed(exc)) from exc

    def _answer(
        self,
        response: aiohttp.ClientResponse,
        spec: TaskSpec,
        start_byte: int,
        stop_byte: int | None,
    ) -> SourceAnswer:
        url = spec.display_url
        if response.status not in (OK, PARTIAL):
            raise refused(response, url)
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            reason = f"it was encoded with {encoding[:40]}, although that was not asked for"
            raise SourceBrokenError(url=url, reason=reason)
        length = _length(response)
        if response.status == OK:
            return SourceAnswer(
                status=OK,
                size_bytes=length,
                stop_byte=length,
                validators=_validators(response),
                digest=_digest_of(response),
                checksum=checksum_told(response.headers),
                accepts_ranges=_accepts_ranges(response),
            )
        try:
            told = parse_content_range(response.headers.get("Content-Range", ""))
        except RemoteProtocolError as exc:
            raise SourceBrokenError(url=url, reason=str(exc)) from exc
        expected = stop_byte if stop_byte is not None else told.size_bytes
        if told.start_byte != start_byte or (expected is not None and told.stop_byte != expected):
            reason = f"bytes {told.start_byte} to {told.stop_byte} came, others were asked for"
            raise SourceBrokenError(url=url, reason=reason)
        return SourceAnswer(
            status=PARTIAL,
            size_bytes=told.size_bytes,
            start_byte=start_byte,
            stop_byte=told.stop_byte,
            validators=_validators(response),
            accepts_ranges=True,
        )


def _keep_secrets_home(secrets: Headers) -> aiohttp.ClientMiddlewareType:
    """Return what drops the user's headers when a redirect leads to another host.

    aiohttp does so with Authorization and Cookie; tokens have many names.
    """
    first: URL | None = None

    async def forward(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        nonlocal first
        first = first or request.url
        is_https_now = first.host == request.url.host and request.url.scheme == "https"
        if request.url.origin() != first.origin() and not is_https_now:
            for name, _ in secrets:
                request.headers.popall(name, None)
        return await handler(request)

    return forward


def _split_userinfo(url: str) -> tuple[str, Headers]:
    """Return a URL without user and password, and the header that they become."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, ()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    parsed = URL(url)
    secret = aiohttp.encode_basic_auth(parsed.user or "", parsed.password or "", "utf-8")
    return bare, (("Authorization", secret),)


def _length(response: aiohttp.ClientResponse) -> int | None:
    if "Transfer-Encoding" in response.headers:
        return None
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _linked_etag(response: aiohttp.ClientResponse) -> str:
    """Return what a model hub said of a file before it redirected to it; empty: nothing."""
    told = (each.headers.get("X-Linked-Etag", "") for each in response.history)
    return next((etag for etag in told if etag and etag.isprintable()), "")


def _digest_of(response: aiohttp.ClientResponse) -> Digest | None:
    """Return what is told of the whole: by the server, or by the hub that led to it."""
    linked = _linked_etag(response).strip('"')
    if _SHA256.fullmatch(linked):
        return Digest("sha256", linked)
    return digest_told(response.headers)


def _validators(response: aiohttp.ClientResponse) -> Validators:
    if linked := _linked_etag(response):
        return Validators(etag=linked)
    told = (response.headers.get(name, "") for name in ("ETag", "Last-Modified"))
    # One that is no text names nothing: it could not be sent back.
    etag, last_modified = (value if value.isprintable() else "" for value in told)
    return Validators(etag=etag, last_modified=last_modified)


def refused(response: aiohttp.ClientResponse, url: str) -> SourceRefusedError:
    """Return the refusal that an answer is, of the source at a URL to show."""
    return SourceRefusedError(url=url, status=response.status, http_headers=_of_refusal(response))


def _of_refusal(response: aiohttp.ClientResponse) -> Headers:
    """Return what whoever asked must see of a refusal: which credentials, and when again."""
    return tuple(
        (name, value)
        for name in ("WWW-Authenticate", "Retry-After")
        for value in response.headers.getall(name, ())
        if value.isprintable()
    )


def _accepts_ranges(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Accept-Ranges", "").strip().lower() == "bytes"


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, as they are compared."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _context_of(trust: Trust) -> ssl.SSLContext | bool:
    if not trust.client_cert_file:
        return False if trust.is_insecure else tls_context(trust.ca_file)
    context = ssl.create_default_context()
    if trust.is_insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        if trust.ca_file:
            context.load_verify_locations(trust.ca_file)
        context.load_cert_chain(trust.client_cert_file, trust.client_key_file or None)
    except (OSError, ssl.SSLError) as exc:
        expected = f"files in PEM form ({trust.ca_file} {trust.client_cert_file}: {exc})"
        raise SettingsError(where="settings", key="source.accounts", expected=expected) from exc
    return context


def tls_context(ca_file: str) -> ssl.SSLContext | bool:
    """Return what verifies sources: the system's certificates, and those of a file.

    Raises:
        SettingsError: The file holds none.
    """
    if not ca_file:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as exc:
        expected = f"a file with certificates in PEM form ({ca_file}: {exc})"
        raise SettingsError(where="settings", key="source.ca_file", expected=expected) from exc
    return context
