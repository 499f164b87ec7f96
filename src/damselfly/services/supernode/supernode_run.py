"""A SuperNode from its settings to its end: store, source, port, and the tasks between them."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from damselfly.clock import wall_s
from damselfly.core.compressing.link_rate import LinkRate
from damselfly.core.peer import SUPERNODE
from damselfly.services.cache_care.orders import CacheOrders
from damselfly.services.compressing.compressor import Compressor
from damselfly.services.encrypting.cipher_plugins import Ciphers
from damselfly.services.encrypting.edition_keys import EditionKeys
from damselfly.services.encrypting.key_providers import GuardedProvider
from damselfly.services.options import SuperNodeOptions
from damselfly.services.peering.web_server import client_session, serving
from damselfly.services.preheating.preheats import Preheats, running_preheats
from damselfly.services.seeding.seeding import Seeding
from damselfly.services.sources import open_sources
from damselfly.services.stores import keep_settled, open_store
from damselfly.services.supernode.host_imports import HostImports
from damselfly.services.supernode.host_sessions import HostSessions
from damselfly.services.supernode.loop_watch import LoopWatch
from damselfly.services.supernode.supernode import SuperNode
from damselfly.services.supernode.supernode_cache import caring
from damselfly.storage.store import BlockStore
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.admin import add_admin_routes
from damselfly.transport.block_connection import BlockConnections
from damselfly.transport.sources.by_scheme import Sources
from damselfly.transport.sources.http import HttpSource

AddApi = Callable[[web.Application, SuperNodeOptions, Preheats, CacheOrders], None]


class _StoppedError(Exception):
    """Cuts what still runs: a source may take hours, and who waits for it goes on elsewhere."""


async def run_supernode(
    options: SuperNodeOptions,
    *,
    add_api: AddApi,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Run a SuperNode until `stop` is set.

    Args:
        options: Its settings.
        add_api: Adds what people and registries may ask to the application.
        on_ready: Called with the `host:port` on which it listens.
        stop: Ends it, gracefully.

    Raises:
        AddressInUseError: Somebody else listens there.
        StorageUnusableError: The data folder is not ours, or in use.
        KeyUnavailableError: The key file cannot be used.
        PluginError: The cipher or the key provider cannot be used.
    """
    metrics = Metrics()
    store = await asyncio.to_thread(open_store, options.data, options.cache)
    sources = open_sources(options.source, options.registries)
    connections = BlockConnections(SUPERNODE)
    try:
        async with client_session() as client, asyncio.TaskGroup() as tasks:
            watch = LoopWatch(metrics)
            rng = random.Random()  # noqa: S311  # spreads load, keeps no secret
            compressor = _new_compressor(options, store, metrics)
            keys = await asyncio.to_thread(edition_keys_of, options)
            seeding = _new_seeding(options, store, sources, metrics, rng, compressor, keys)
            supernode = SuperNode(
                options,
                store=store,
                seeding=seeding,
                imports=_new_imports(options, store, connections, tasks),
                client=client,
                metrics=metrics,
                tasks=tasks,
                rng=rng,
                loop_delay_s=lambda: watch.delay_s,
            )
            supernode.feeds.uploads.on_carried = compressor.link.on_sent
            going_on = (keep_settled(store), watch.run(), supernode.tick(), compressor.watch())
            background = [tasks.create_task(each) for each in going_on]
            async with (
                caring(
                    *(options, supernode, store),
                    keys=keys,
                    connections=connections,
                    metrics=metrics,
                    tasks=tasks,
                ) as orders,
                _serving(
                    *(supernode, options, sources.http, orders),
                    metrics=metrics,
                    tasks=tasks,
                    add_api=add_api,
                ) as address,
            ):
                on_ready(address)
                await stop.wait()
                for task in background:
                    task.cancel()
                supernode.end()
            raise _StoppedError  # noqa: TRY301  # what cancels a group
    except* _StoppedError:
        pass
    finally:
        connections.close()
        await sources.close()
        await asyncio.to_thread(store.close)


def _new_imports(
    options: SuperNodeOptions,
    store: BlockStore,
    connections: BlockConnections,
    tasks: asyncio.TaskGroup,
) -> HostImports:
    return HostImports(
        options.host_imports,
        store=store,
        connections=connections,
        tasks=tasks,
        now_wall_s=wall_s,
        encrypt=options.encrypt,
    )


def _new_compressor(options: SuperNodeOptions, store: BlockStore, metrics: Metrics) -> Compressor:
    return Compressor(
        options.compression,
        store.codecs,
        link=LinkRate(
            assumed_bytes_per_s=options.assumed_link_rate_bytes_per_s,
            told_bytes_per_s=options.link_rate_bytes_per_s,
        ),
        metrics=metrics,
    )


def _new_seeding(
    options: SuperNodeOptions,
    store: BlockStore,
    sources: Sources,
    metrics: Metrics,
    rng: random.Random,
    compressor: Compressor,
    keys: EditionKeys,
) -> Seeding:
    return Seeding(
        store,
        sources,
        options.source,
        keys=keys,
        link_rate_bytes_per_s=options.assumed_link_rate_bytes_per_s,
        metrics=metrics,
        rng=rng,
        now_wall_s=wall_s,
        compressor=compressor,
    )


@contextlib.asynccontextmanager
async def _serving(
    supernode: SuperNode,
    options: SuperNodeOptions,
    source: HttpSource,
    orders: CacheOrders,
    *,
    metrics: Metrics,
    tasks: asyncio.TaskGroup,
    add_api: AddApi,
) -> AsyncIterator[str]:
    """Answer what hosts, people and registries ask, inside the block; gives the address."""
    preheating = running_preheats(
        options,
        source=source,
        seeder=supernode.warming,
        warmer=supernode.host_warming,
        pacing=supernode.pacing,
        metrics=metrics,
        tasks=tasks,
        loop_delay_s=supernode.loop_delay_s,
    )
    async with preheating as preheats:
        supernode.on_pushed = preheats.pushed.through_a_host
        app = routes_of(supernode, metrics)
        add_api(app, options, preheats, orders)
        async with serving(app, options.listen) as address:
            yield address


def routes_of(supernode: SuperNode, metrics: Metrics) -> web.Application:
    """Return what hosts and operators may ask of a SuperNode."""
    app = web.Application()
    app.router.add_get("/v1/session", HostSessions(supernode).handle)
    app.router.add_get("/v1/editions/{edition_id}/link", supernode.feeds.links.handle)
    app.router.add_get(
        "/v1/editions/{edition_id}/blocks/{block_index}", supernode.feeds.uploads.handle
    )
    views = supernode.views()
    add_admin_routes(
        app, metrics=metrics, tasks=views.tasks, hosts=views.hosts, health=views.health
    )
    return app


def edition_keys_of(options: SuperNodeOptions) -> EditionKeys:
    """Return what encrypts for a SuperNode; what is wrong with its keys is said at the start.

    Raises:
        KeyUnavailableError: The key file cannot be used.
        PluginError: The cipher or the key provider cannot be used.
    """
    chosen, call_s = options.encryption, options.encryption.call_timeout_s
    ciphers = Ciphers(call_s=call_s)
    provider: GuardedProvider | None = None
    if chosen.keys:
        provider = GuardedProvider(chosen.provider, chosen.keys, call_s=call_s)
        ciphers.by_name(chosen.cipher)
    return EditionKeys(
        ciphers,
        provider,
        why_none="the SuperNode has none; give it some with the setting supernode.encryption.keys",
        cipher=chosen.cipher,
        rules=options.encrypt,
    )
