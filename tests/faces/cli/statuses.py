"""Statuses of a daemon with readable defaults."""

from typing import Any

from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import CacheSeen, DownloadSeen, HostStatus

MIB = 1 << 20


def a_download(name: str = "model.bin", **fields: Any) -> DownloadSeen:  # noqa: ANN401
    usual: dict[str, Any] = {
        "task_id": name,
        "url": f"https://files.test/{name}",
        "state": "fetching",
        "size_bytes": 100 * MIB,
        "bytes_by": ProviderBytes(peers=40 * MIB, supernode=10 * MIB),
        "parent_count": 3,
        "seconds": 5.0,
    }
    return DownloadSeen(**{**usual, **fields})


def a_status(*downloads: DownloadSeen, **fields: Any) -> HostStatus:  # noqa: ANN401
    usual: dict[str, Any] = {
        "version": "0.1.0",
        "pid": 7,
        "seconds": 4000.0,
        "host_id": "h-1",
        "address": "10.0.0.7:65000",
        "location": "eu/zone-a",
        "supernode": "sn.test:8002",
        "is_connected": True,
        "proxy": "127.0.0.1:65001",
        "open_files_max": 65536,
        "cache": CacheSeen(
            data="/var/lib/damselfly/daemon",
            used_bytes=512 * MIB,
            edition_count=9,
            quota_bytes=1024 * MIB,
            reserve_bytes=MIB,
            disk_free_bytes=4096 * MIB,
        ),
        "received_bytes_by": ProviderBytes(peers=300 * MIB, source=100 * MIB),
        "sent_bytes": 200 * MIB,
        "uploads_running": 2,
        "upload_slots": 4,
        "downloads": downloads,
    }
    return HostStatus(**{**usual, **fields})
