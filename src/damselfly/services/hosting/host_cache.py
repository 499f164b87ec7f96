"""The care for a daemon's cache: repairs from the swarm, imports told to the SuperNode."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from damselfly.clock import wall_s
from damselfly.core.task import EditionId
from damselfly.services.cache_care.caretaker import Caretaker
from damselfly.services.cache_care.orders import CacheOrders
from damselfly.services.cache_care.repairing import repair_by_download, spec_again
from damselfly.services.cache_care.routes import CacheRoutes
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import DaemonOptions
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.wire import session_messages as wire
from damselfly.wire.cache_messages import ImportOrder

RETOLD_MAX = 1000  # imports told again when a session opens


@contextlib.asynccontextmanager
async def caring(
    options: DaemonOptions, host: PeerHost, store: BlockStore
) -> AsyncIterator[CacheRoutes]:
    """Care for a daemon's cache inside the block; gives what answers its operator."""

    async def repair(entry: StoredEdition, digests: dict[int, bytes]) -> None:
        del digests  # the SuperNode tells them again
        await repair_by_download(host.downloads, entry)

    def ask_holders(edition_ids: Sequence[EditionId]) -> None:
        host.tell(wire.HoldersAsked(edition_ids=tuple(edition_ids)))

    def announce(order: ImportOrder, entry: StoredEdition) -> bool:
        host.tell(import_told(entry, url=order.url, tag=order.tag))
        return host.is_connected

    def on_session() -> None:
        for entry in [each for each in store.entries() if each.is_imported][:RETOLD_MAX]:
            if (spec := spec_again(entry)) is not None:
                host.tell(import_told(entry, url="" if spec.digest else spec.url, tag=spec.tag))

    caretaker = Caretaker(
        store,
        options.cache,
        repair=repair,
        ask_holders=ask_holders,
        metrics=host.metrics,
        now_wall_s=wall_s,
    )
    async with asyncio.TaskGroup() as tasks:
        orders = CacheOrders(
            store, options.cache, data=options.data, on_damaged=caretaker.mending_in(tasks)
        )
        host.hooks.on_holders = lambda told: caretaker.note_holders(told.asked, told.held)
        host.hooks.on_open = on_session
        running = tasks.create_task(caretaker.run(), name="cache care")
        try:
            yield CacheRoutes(store, orders, announce=announce)
        finally:
            running.cancel()


def import_told(entry: StoredEdition, *, url: str, tag: str) -> wire.Imported:
    """Return what a host tells of an entry that it imported.

    Args:
        entry: The entry.
        url: What names its task, empty for a digest.
        tag: Goes with it.
    """
    edition = entry.edition
    return wire.Imported(
        task_id=edition.task_id,
        edition_id=edition.edition_id,
        url=url or edition.display_url,
        digest=str(edition.digest or ""),
        block_bytes=edition.block_bytes,
        size_bytes=edition.size_bytes or 0,
        task_tag=tag,
        is_named_by_digest=not url,
    )
