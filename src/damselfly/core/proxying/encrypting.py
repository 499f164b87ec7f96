"""Which contents are encrypted, whoever asks for them."""

from dataclasses import dataclass

from damselfly.core.proxying.patterns import HostPattern, PathPattern
from damselfly.core.proxying.rules import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptRule:
    """Contents that are encrypted at rest and between hosts.

    Attributes:
        host: Pattern of the source's host, with a port if it matters: `*.example.com`,
            `registry.example:5000`.
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
        """Say whether the content at a URL is encrypted."""
        target = Target.parse(url)
        host = HostPattern(self.host)
        return host.matches(target.host, target.port) and PathPattern(self.path).matches(
            target.path
        )
