"""The care for a SuperNode's cache, and the Unix socket by which operators reach it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from damselfly.clock import wall_s
from damselfly.core.task import EditionId
from damselfly.errors import AddressInUseError
from damselfly.services.cache_care.caretaker import Caretaker
from damselfly.services.cache_care.orders import CacheOrders
from damselfly.services.cache_care.repairing import repair_from_holders
from damselfly.services.cache_care.routes import CacheRoutes
from damselfly.services.encrypting.edition_keys import EditionKeys
from damselfly.services.options import SuperNodeOptions
from damselfly.services.peering.web_server import serving_unix
from damselfly.services.supernode.supernode import SuperNode
from damselfly.storage.store import BlockStore, StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.block_connection import BlockConnections

SOCKET_NAME: Final = "supernode.sock"

log = get_log()


@contextlib.asynccontextmanager
async def caring(
    options: SuperNodeOptions,
    supernode: SuperNode,
    store: BlockStore,
    *,
    keys: EditionKeys,
    connections: BlockConnections,
    metrics: Metrics,
    tasks: asyncio.TaskGroup,
) -> AsyncIterator[CacheOrders]:
    """Care for the cache inside the block, and answer what operators ask of it.

    Gives what carries out orders, for who asks in other ways.
    """

    async def repair(entry: StoredEdition, digests: dict[int, bytes]) -> None:
        await keys.unlock(entry)
        holders = supernode.holders_of(entry.edition.edition_id)
        await repair_from_holders(connections, holders, entry, digests, codecs=store.codecs)

    def ask_holders(edition_ids: Sequence[EditionId]) -> None:
        held = [each for each in edition_ids if supernode.is_held(each)]
        caretaker.note_holders(edition_ids, held)

    caretaker = Caretaker(
        store,
        options.cache,
        repair=repair,
        ask_holders=ask_holders,
        metrics=metrics,
        now_wall_s=wall_s,
    )
    orders = CacheOrders(
        store, options.cache, data=options.data, on_damaged=caretaker.mending_in(tasks)
    )
    app = web.Application()
    CacheRoutes(store, orders).add_to(app)
    running = tasks.create_task(caretaker.run(), name="cache care")
    try:
        async with contextlib.AsyncExitStack() as stack:
            try:
                path = str(Path(options.data) / SOCKET_NAME)
                await stack.enter_async_context(serving_unix(app, path, mode=0o600, group_id=-1))
            except AddressInUseError as exc:  # such as a path that is too long for a socket
                log.warning("no_cache_socket", reason=str(exc))
            yield orders
    finally:
        running.cancel()
