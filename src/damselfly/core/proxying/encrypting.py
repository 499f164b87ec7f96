"""Which contents are encrypted, whoever asks for them."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from damselfly.core.proxying.patterns import HostPattern, PathPattern
from damselfly.core.proxying.rules import DEFAULT_PORTS
from damselfly.core.urls import split_form


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptRule:
    """Contents that are encrypted at rest and between hosts.

    Attributes:
        host: Pattern of the source's host, with a port if it matters: `*.example.com`,
            `registry.example:5000`; of an object store, of its bucket.
        path: Pattern of the path: `*` within a segment, `**` for any number of segments.
    """

    host: str = "*"
    path: str = "/**"

    def __post_init__(self) -> None:
        HostPattern(self.host)
        PathPattern(self.path)

    def __str__(self) -> str:
        return f"{self.host}{self.path}"

    def matches(self, url: str) -> bool:
        """Say whether the content at a URL, of any kind of source, is encrypted."""
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(split_form(parts.scheme)[1], 0)
        is_host = HostPattern(self.host).matches(parts.hostname or "", port)
        return is_host and PathPattern(self.path).matches(parts.path or "/")
