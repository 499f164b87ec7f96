"""From options to a store on disk, and what the store does beside its users' work."""

import asyncio
import gc
from pathlib import Path
from typing import Final

from damselfly.clock import wall_s
from damselfly.core.task import TaskId
from damselfly.services.compressing.codec_plugins import load_codecs
from damselfly.services.options import CacheOptions
from damselfly.storage.disk import DiskStore, boot_id
from damselfly.storage.store import BlockStore

SETTLE_S: Final = 5.0  # what a crash of the machine costs at most is reading this again
# From so many entries on they are left out of garbage collections, each of which would take as
# long as a heartbeat: 0.2 s for 100,000 entries, in which nothing else runs.
FROZEN_MIN: Final = 10_000


def open_store(folder: str | Path, options: CacheOptions) -> DiskStore:
    """Open the store in a folder; may wait for the disk, so call it in a thread.

    Raises:
        StorageUnusableError: The folder is not ours, in use, or not writable.
    """
    gc.disable()  # while entries are made it would look at those before, again and again
    try:
        store = DiskStore(
            Path(folder),
            quota_bytes=options.quota_bytes,
            reserve_bytes=options.reserve_bytes,
            boot_id=boot_id(),
            now_wall_s=wall_s,
            codecs=load_codecs(),
        )
    finally:
        gc.enable()
    if store.count() > FROZEN_MIN:
        gc.freeze()
    return store


async def keep_settled(store: BlockStore) -> None:
    """Let the disk have what was sealed, beside the work of others, until cancelled."""
    while True:
        await asyncio.sleep(SETTLE_S)
        await asyncio.to_thread(store.settle)


def drop_plain(store: BlockStore, task_id: TaskId) -> None:
    """Remove what lies in plain of a task that is encrypted now, unless somebody reads it."""
    for entry in store.editions_of(task_id):
        if not entry.edition.cipher and not entry.is_pinned:
            store.drop(entry)
