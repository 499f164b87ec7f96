"""What jobs show their sources, in memory only.

What Harbor and others send with a job is good for minutes and theirs alone: it is never
written down. After a restart a job goes on with what the settings have; if that is not enough,
it fails, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from damselfly.core.task import Headers


@dataclass(frozen=True, slots=True)
class Secrets:
    """What one job shows.

    Attributes:
        headers: To its sources.
        urls: {name of a content: its URL with user, password and signature}.
    """

    headers: Headers = ()
    urls: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.headers or self.urls)

    def __repr__(self) -> str:
        return f"Secrets({len(self.headers)} headers, {len(self.urls)} URLs)"


NO_SECRETS: Final = Secrets()
