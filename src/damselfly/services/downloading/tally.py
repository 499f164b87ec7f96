"""What there is to say about a download: bytes by provider, notes, state."""

from copy import copy

from damselfly.telemetry.metrics import Metrics
from damselfly.wire.local_messages import DownloadProgress, ProviderBytes


class Tally:
    """Counts for the user and the metrics.

    Attributes:
        state: `waiting`, `fetching`, `checking`.
        bytes_by: Bytes by provider.
        is_stale: The source could not be asked whether this is its content.
        notes: {sentence for the user: nothing}, in order, each once.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.state = "waiting"
        self.bytes_by = ProviderBytes()
        self.is_stale = False
        self.notes: dict[str, None] = {}

    def note(self, text: str) -> None:
        """Keep a sentence for the user."""
        self.notes[text] = None

    def count(self, provider: str, count: int) -> None:
        """Count verified bytes; a provider is a field of `ProviderBytes`."""
        setattr(self.bytes_by, provider, getattr(self.bytes_by, provider) + count)
        self._metrics.bytes_received.labels(provider).inc(count)

    def progress(self, *, size_bytes: int | None, parent_count: int) -> DownloadProgress:
        """Return how far it is."""
        return DownloadProgress(
            state=self.state,
            size_bytes=-1 if size_bytes is None else size_bytes,
            done_bytes=self.bytes_by.total,
            bytes_by=copy(self.bytes_by),
            parent_count=parent_count,
            note=next(reversed(self.notes), ""),
        )
