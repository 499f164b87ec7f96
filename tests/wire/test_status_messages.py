"""Guards what a daemon tells of itself: it comes back as it was, or is one kind of error."""

import msgspec
import pytest

from damselfly.errors import RemoteProtocolError
from damselfly.wire.local_messages import ProviderBytes
from damselfly.wire.status_messages import CacheSeen, DownloadSeen, HostStatus, decode_status

DOWNLOAD = DownloadSeen(
    task_id="a" * 64,
    url="https://example.com/f",
    state="fetching",
    size_bytes=-1,
    bytes_by=ProviderBytes(peers=5),
    parent_count=1,
    seconds=1.5,
)
STATUS = HostStatus(
    version="1",
    pid=2,
    seconds=3.0,
    host_id="h-1",
    address="10.0.0.1:65000",
    location="eu/a",
    supernode="s:8002",
    is_connected=True,
    proxy="",
    open_files_max=1024,
    cache=CacheSeen(
        data="/data",
        used_bytes=1,
        edition_count=1,
        quota_bytes=0,
        reserve_bytes=0,
        disk_free_bytes=9,
    ),
    received_bytes_by=ProviderBytes(),
    sent_bytes=0,
    uploads_running=0,
    upload_slots=4,
    downloads=(DOWNLOAD,),
)


def test_status_comes_back_as_it_was() -> None:
    assert decode_status(msgspec.json.encode(STATUS)) == STATUS


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"version": 1}'])
def test_what_is_no_status_is_the_other_sides_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no status"):
        decode_status(data)
