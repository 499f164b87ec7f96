"""From options to a store on disk."""

from pathlib import Path

from damselfly.clock import wall_s
from damselfly.services.options import CacheOptions
from damselfly.storage.disk import DiskStore, boot_id


def open_store(folder: str | Path, options: CacheOptions) -> DiskStore:
    """Open the store in a folder; may wait for the disk, so call it in a thread.

    Raises:
        StorageUnusableError: The folder is not ours, in use, or not writable.
    """
    return DiskStore(
        Path(folder),
        quota_bytes=options.quota_bytes,
        reserve_bytes=options.reserve_bytes,
        boot_id=boot_id(),
        now_wall_s=wall_s,
    )
