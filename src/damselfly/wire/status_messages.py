"""What a daemon tells of itself on its Unix socket. See docs/protocols/local.md.

`GET /v1/status` answers with one `HostStatus`. Rates are not told: who asks twice can tell them
by the difference.
"""

import msgspec

from damselfly.wire.json_values import decoded
from damselfly.wire.local_messages import ProviderBytes


class DownloadSeen(msgspec.Struct, kw_only=True, frozen=True):
    """A download, under way or ended a moment ago.

    Attributes:
        task_id: See `TaskSpec`.
        url: The source, without secrets.
        state: `waiting`, `fetching`, `checking`; at the end `finished`, `failed`, `cancelled`.
        size_bytes: Length, or -1 while nobody knows it.
        bytes_by: Stored and verified, by provider.
        parent_count: Parents that are linked now.
        seconds: How long it has taken so far, or took.
        error: What ended it, if it failed; else empty.
    """

    task_id: str
    url: str
    state: str
    size_bytes: int
    bytes_by: ProviderBytes
    parent_count: int
    seconds: float
    error: str = ""


class CacheSeen(msgspec.Struct, kw_only=True, frozen=True):
    """The cache of a host.

    Attributes:
        data: Its folder.
        used_bytes: What is in it.
        edition_count: In so many editions.
        quota_bytes: Its limit; 0 is none but the reserve.
        reserve_bytes: What it leaves free on the disk.
        disk_free_bytes: What is free on the disk, the reserve included.
        hit_bytes: So much was asked for and was here, since the daemon started.
    """

    data: str
    used_bytes: int
    edition_count: int
    quota_bytes: int
    reserve_bytes: int
    disk_free_bytes: int
    hit_bytes: int = 0


class HostStatus(msgspec.Struct, kw_only=True, frozen=True):
    """A daemon, as it sees itself.

    Attributes:
        version: Of damselfly.
        pid: Its process.
        seconds: Since it started.
        host_id: Its name in swarms.
        address: `host:port` on which it listens for other hosts.
        location: `region/zone/rack`; empty is unknown.
        supernode: `host:port` of the SuperNode; empty: none.
        is_connected: There is a session with the SuperNode.
        proxy: `host:port` on which engines reach it; empty: nowhere.
        open_files_max: How many files and connections it may have open.
        cache: Its cache.
        received_bytes_by: All that it has received since it started, by provider.
        sent_bytes: All that it has given to others.
        saved_bytes: So much less has come over the wire, blocks being compressed.
        codec_cpu_s: Seconds of CPU that decoding them took.
        uploads_running: Uploads running and waiting.
        upload_slots: Uploads that run at a time.
        downloads: Those under way, the oldest first.
        ended_downloads: The last ones that ended, the latest first.
    """

    version: str
    pid: int
    seconds: float
    host_id: str
    address: str
    location: str
    supernode: str
    is_connected: bool
    proxy: str
    open_files_max: int
    cache: CacheSeen
    received_bytes_by: ProviderBytes
    sent_bytes: int
    uploads_running: int
    upload_slots: int
    downloads: tuple[DownloadSeen, ...] = ()
    ended_downloads: tuple[DownloadSeen, ...] = ()
    saved_bytes: int = 0
    codec_cpu_s: float = 0.0


_decoder = msgspec.json.Decoder(HostStatus)


def decode_status(data: bytes) -> HostStatus:
    """Return the status in an answer.

    Raises:
        RemoteProtocolError: It is none.
    """
    return decoded(data, _decoder, what="no status of a daemon")
