"""URLs of sources: the form in which they are compared, shown, and named.

Which kinds of sources there are is not known here: any scheme can be normalised, and who
asks the source says what it does not know. A scheme may begin with a **form**: `list+s3://…`
is the listing of what lies below an address, `bundle+s3://…` the small files of it in one;
see `core/bundling.py`.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from damselfly.errors import TaskSpecError

URL_CHARS_MAX: Final = 16 << 10  # signed URLs reach 4 KiB; nginx refuses lines above 8 KiB
WEB: Final = ("http", "https")

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9.+-]*")
_WITHOUT_HOST: Final = ("file",)
_NAMES_WITH_CASE: Final = ("hf",)  # an organisation stands where others have a host
# Lone surrogates are how Python shows bytes that are no UTF-8.
_SIGNATURES: Final = (
    # Amazon CloudFront; S3 of old; Azure's shared access signatures.
    (frozenset({"signature", "key-pair-id"}), frozenset({"expires", "policy"})),
    (frozenset({"signature", "awsaccesskeyid"}), frozenset({"expires", "x-amz-security-token"})),
    (
        frozenset({"sig", "sv"}),
        frozenset({"se", "sp", "sr", "st", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks"})
        | {"skv", "saoid", "suoid", "scid", "sdd", "ss", "srt"},
    ),
)
NO_TEXT: Final = "\ud800-\udfff"
_SPACES_AND_CONTROLS = re.compile(rf"[\x00-\x20\x7f{NO_TEXT}]")

_HOST_PORT: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[\w.-]*):(?P<port>[0-9]{1,5})", re.ASCII
)
PORT_MAX: Final = 65535


def is_host_port(text: str, *, is_listening: bool = False) -> bool:
    """Say whether a text is `host:port`; to listen, no host and port 0 are any."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or int(match["port"]) > PORT_MAX:
        return False
    return is_listening or bool(match["host"] and int(match["port"]))


def normalise_url(url: str, *, schemes: Collection[str] = ()) -> str:
    """Return the URL in the one form that is compared and asked for.

    Scheme and host become lower case, a default port and the fragment go, an empty path
    becomes `/`. Path and query stay to the letter: only the source knows what they mean.

    Args:
        url: As somebody wrote it.
        schemes: Those that will do; empty is any.

    Raises:
        TaskSpecError: It is no URL, or has another scheme.
    """
    if len(url) > URL_CHARS_MAX:
        expected = f"it is longer than {URL_CHARS_MAX} characters"
        raise TaskSpecError(what="URL", value=display_url(url)[:80] + "…", expected=expected)
    if _SPACES_AND_CONTROLS.search(url):
        expected = "it contains spaces or control characters; percent-encode them"
        raise TaskSpecError(what="URL", value=display_url(url), expected=expected)
    parts, host, port = _split(url, schemes)
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _DEFAULT_PORTS.get(split_form(parts.scheme)[1]):
        host = f"{host}:{port}"
    userinfo, at, _ = parts.netloc.rpartition("@")
    return _joined(parts.scheme, userinfo + at + host, parts.path or "/", parts.query)


def _split(url: str, schemes: Collection[str]) -> tuple[SplitResult, str, int | None]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        # A stray / # or ? in a password moves the border of the host: nothing else is shown.
        shown = url.partition("://")[0] + "://…"
        expected = "its host or port is none; percent-encode a password in it"
        raise TaskSpecError(what="URL", value=shown, expected=expected) from exc
    if expected := _wrong_with(url, parts, schemes):
        raise TaskSpecError(what="URL", value=display_url(url), expected=expected)
    scheme = split_form(parts.scheme)[1]
    if scheme in _NAMES_WITH_CASE:
        host = parts.netloc
    return parts, "" if scheme in _WITHOUT_HOST else host or "", port


def _wrong_with(url: str, parts: SplitResult, schemes: Collection[str]) -> str:
    """Return what a URL should be like instead; empty: it is as it should be."""
    if schemes and parts.scheme not in schemes:
        return f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not _SCHEME.fullmatch(parts.scheme) or url[len(parts.scheme) :][:3] != "://":
        return "it must begin with a scheme, such as https:// or s3://"
    scheme = split_form(parts.scheme)[1]
    if scheme in _WITHOUT_HOST:
        return "it names a host; write file:///path" if parts.netloc else ""
    has_host = parts.netloc if scheme in _NAMES_WITH_CASE else parts.hostname
    return "" if has_host else "it names no host"


def split_form(scheme: str) -> tuple[str, str]:
    """Return the form and the scheme proper of `form+scheme`; without a form it is empty."""
    form, plus, rest = scheme.partition("+")
    return (form, rest) if plus else ("", scheme)


def display_url(url: str) -> str:
    """Return a URL without credentials, query and fragment, where secrets live."""
    head = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = head.partition("://")
    if not separator:
        return head
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path


def host_of(url: str) -> str:
    """Return host and port of a URL, as they stand in it, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def shown_at(url: str, own_url: str) -> tuple[str, bool]:
    """Return another URL as whoever asks for `own_url` asks for it, and whether headers go with it.

    What a requester shows goes to the server that it is for, and to no other.
    """
    parts, own = urlsplit(url), urlsplit(own_url)
    scheme = split_form(parts.scheme)[1]
    userinfo, at, host = own.netloc.rpartition("@")
    _, at_there, host_there = parts.netloc.rpartition("@")
    # Where no host stands in a URL, all of them are of one server.
    is_there = scheme == split_form(own.scheme)[1] and (
        host_there == host or scheme in _NAMES_WITH_CASE
    )
    if is_there and at and not at_there:
        url = url.replace("://", f"://{userinfo}@", 1)
    return url, is_there


def identity_url(url: str, filtered_query: Iterable[str]) -> str:
    """Return what of a normalised URL names a content: no credentials, no filtered query."""
    parts = urlsplit(url)
    dropped = frozenset(filtered_query)
    query = "&".join(
        pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] not in dropped
    )
    return _joined(parts.scheme, host_of(url), parts.path, query)


def signature_names(url: str) -> tuple[str, ...]:
    """Return the query parameters of a URL that sign it, in the ways of the large stores.

    A signed URL is another one each time that it is made, for the same content. Only parameters
    that stand beside a signature are counted: by themselves they may name a content.
    """
    names = tuple(pair.partition("=")[0] for pair in urlsplit(url).query.split("&") if pair)
    lower = {name.lower() for name in names}
    signing: set[str] = set()
    for prefix in ("x-amz-", "x-goog-"):
        if f"{prefix}signature" in lower:
            signing |= {name for name in lower if name.startswith(prefix)}
    for needed, others in _SIGNATURES:
        if needed <= lower:
            signing |= needed | others
    return tuple(dict.fromkeys(name for name in names if name.lower() in signing))


def _joined(scheme: str, authority: str, path: str, query: str) -> str:
    # urlunsplit knows which schemes have an authority; ours are not among them.
    return f"{scheme}://{authority}{path}" + (f"?{query}" if query else "")
