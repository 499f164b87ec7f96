"""What a daemon tells of itself."""

import os
import resource
import shutil
from importlib.metadata import version

from damselfly.clock import now_s
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import DaemonOptions
from damselfly.storage.store import BlockStore
from damselfly.telemetry.metrics import Metrics
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import CacheSeen, HostStatus


class HostView:
    """A running daemon, looked at.

    Attributes:
        proxy: `host:port` on which engines reach it; empty: nowhere, or not yet.
    """

    def __init__(
        self, options: DaemonOptions, host: PeerHost, store: BlockStore, metrics: Metrics
    ) -> None:
        self._options = options
        self._host = host
        self._store = store
        self._metrics = metrics
        self._started_s = now_s()
        self.proxy = ""

    def status(self) -> HostStatus:
        """Return how the daemon is."""
        seen, options = self._host.downloads.seen, self._options
        return HostStatus(
            version=version("damselfly"),
            pid=os.getpid(),
            seconds=round(now_s() - self._started_s, 1),
            host_id=self._host.host_id,
            address=self._host.address,
            location=options.location,
            supernode=options.supernode,
            is_connected=self._host.is_connected,
            proxy=self.proxy,
            open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            cache=self._cache(),
            received_bytes_by=ProviderBytes(
                peers=self._received("peers"),
                supernode=self._received("supernode"),
                source=self._received("source"),
            ),
            sent_bytes=int(self._metrics.value("damselfly_bytes_sent_total")),
            saved_bytes=int(self._metrics.value("damselfly_bytes_saved_total")),
            codec_cpu_s=round(
                self._metrics.value("damselfly_codec_cpu_seconds_total", what="decode"), 2
            ),
            uploads_running=self._host.uploads.load,
            upload_slots=options.uploads.slots,
            downloads=seen.running(),
            ended_downloads=seen.ended(),
        )

    def _received(self, provider: str) -> int:
        return int(self._metrics.value("damselfly_bytes_received_total", provider=provider))

    def _cache(self) -> CacheSeen:
        options = self._options
        return CacheSeen(
            data=options.data,
            used_bytes=self._store.used_bytes(),
            edition_count=self._store.count(),
            quota_bytes=options.cache.quota_bytes,
            reserve_bytes=options.cache.reserve_bytes,
            disk_free_bytes=shutil.disk_usage(options.data).free,
            hit_bytes=int(self._metrics.value("damselfly_cache_asked_bytes_total", outcome="hit")),
        )
