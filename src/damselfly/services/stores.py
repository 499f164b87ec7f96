"""From options to a store on disk, and what the store does beside its users' work."""

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Final

from damselfly.clock import now_s, wall_s
from damselfly.core.task import TaskId
from damselfly.services.compressing.codec_plugins import load_codecs
from damselfly.services.options import CacheOptions
from damselfly.storage.disk import DiskStore, boot_id
from damselfly.storage.store import BlockStore, StoredEdition

SETTLE_S: Final = 5.0
# What a crash of the machine costs at most is hashing again what was written in that time.
UNSETTLED_S_MAX: Final = 60.0
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
            Path(folder).absolute(),  # those who are told of a file in it stand elsewhere
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


async def open_pinned(open_it: Callable[[], StoredEdition]) -> StoredEdition:
    """Return the entry that a function opens in a thread, pinned for whoever awaits it.

    Who is cancelled meanwhile cannot take the pin away: that is done here when it is there.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(open_it))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_unpin)
        raise


def _unpin(opening: asyncio.Future[StoredEdition]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().unpin()


async def keep_settled(
    store: BlockStore, *, look_s: float = SETTLE_S, unsettled_s_max: float = UNSETTLED_S_MAX
) -> None:
    """Let the disk have what was sealed, beside the work of others, until cancelled.

    Not while more is being written, if that does not go on for long: a sync of hundreds of
    megabytes takes CPU and disk from the very download that somebody waits for.
    """
    settled_s, used_bytes = now_s(), -1
    while True:
        await asyncio.sleep(look_s)
        used_bytes_before, used_bytes = used_bytes, store.used_bytes()
        is_at_rest = used_bytes == used_bytes_before
        if is_at_rest or now_s() - settled_s >= unsettled_s_max:
            await asyncio.to_thread(store.settle)
            settled_s = now_s()


def drop_plain(store: BlockStore, task_id: TaskId) -> None:
    """Remove what lies in plain of a task that is encrypted now, unless somebody reads it."""
    for entry in store.editions_of(task_id):
        if not entry.edition.cipher and not entry.is_pinned:
            store.drop(entry)
