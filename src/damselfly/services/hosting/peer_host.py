"""One host in all its swarms: what a daemon and an ephemeral dfget have in common."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp
from aiohttp import web

from damselfly.clock import wall_s
from damselfly.core.blocks import USUAL_LINK_BYTES_PER_S, BlockSet
from damselfly.core.peer import HostId
from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.core.task import EditionId
from damselfly.services.downloading.download_parts import DownloadParts
from damselfly.services.downloading.downloads import Downloads
from damselfly.services.downloading.warming import Warming
from damselfly.services.encrypting.cipher_plugins import Ciphers
from damselfly.services.encrypting.edition_keys import EditionKeys
from damselfly.services.options import RegistryOptions, SourceOptions, UploadOptions
from damselfly.services.peering.edition_views import edition_seen
from damselfly.services.peering.links import Links
from damselfly.services.peering.uploads import Uploads
from damselfly.services.peering.web_server import client_session, serving
from damselfly.services.seeding.authorising import Authorising
from damselfly.services.seeding.pacing import Pacing
from damselfly.services.seeding.seeding import Seeding
from damselfly.services.sources import open_sources
from damselfly.services.stores import keep_settled
from damselfly.storage.store import BlockStore
from damselfly.telemetry.metrics import Metrics
from damselfly.transport.admin import add_admin_routes
from damselfly.transport.block_connection import BlockConnections
from damselfly.transport.frames import Frames
from damselfly.transport.session_client import SessionClient
from damselfly.transport.sources.by_scheme import Sources
from damselfly.transport.throttle import Throttle
from damselfly.wire import session_messages as wire

HOLDINGS_MAX: Final = 10_000  # told in a hello; 100 bytes each
TICK_S: Final = 2.0
TRICKLE_BYTES_PER_S: Final = 128e3  # of a preheat beside a live pull: 2 % of a 50 Mbit/s link
WHY_NO_KEYS: Final = "only a SuperNode has some, and this content does not come from one"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerHostOptions:
    """What a host is told about itself; see `options.py` for the fields of the same names."""

    host_id: HostId
    supernode: str
    listen: str
    advertise: str = ""
    reachable: bool = True
    location: str = ""
    labels: tuple[str, ...] = ()
    is_ephemeral: bool = False
    download_rate_bytes_per_s: float = 0.0
    uploads: UploadOptions
    source: SourceOptions
    registries: tuple[RegistryOptions, ...] = ()
    encrypt: tuple[EncryptRule, ...] = ()


@dataclass(slots=True)
class SessionHooks:
    """Who hears of a host's session besides its downloads.

    Attributes:
        on_open: Called when it is open, for the first time or again.
        on_holders: Called with what the SuperNode told of other hosts' holdings.
    """

    on_open: Callable[[], None] = lambda: None
    on_holders: Callable[[wire.HoldersTold], None] = lambda _: None


class PeerHost:
    """A running host.

    Attributes:
        downloads: What it downloads.
        source: Asks HTTP sources for programs of this host.
        address: `host:port` on which it listens.
        hooks: Who else hears of the session.
    """

    address = ""

    def __init__(
        self,
        options: PeerHostOptions,
        store: BlockStore,
        *,
        sources: Sources,
        client: aiohttp.ClientSession,
        connections: BlockConnections,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._options = options
        self._store = store
        self.metrics = metrics
        self.hooks = SessionHooks()
        self.source = sources.http
        self._sources = sources
        self._ciphers = Ciphers()
        rng = random.Random()  # noqa: S311  # spreads load, keeps no secret
        self.uploads = Uploads(
            store,
            options.uploads,
            slots=options.uploads.slots,
            trickle_bytes_per_s=TRICKLE_BYTES_PER_S,
            metrics=metrics,
        )
        self.links = Links(
            host_id=options.host_id,
            held_of=self._held_of,
            load=lambda: self.uploads.load,
            client=client,
            tasks=tasks,
            location=options.location,
        )
        self.session = self._new_session(client, rng)
        seeding = self._new_seeding(rng)
        self.downloads = Downloads(
            DownloadParts(
                store=store,
                links=self.links,
                connections=connections,
                seeding=seeding,
                authorising=Authorising(seeding, store, window_s=options.source.access_window_s),
                session=self.session or None,
                uploads=self.uploads,
                slots=options.uploads.slots,
                throttle=Throttle(options.download_rate_bytes_per_s),
                frames=Frames(),
                pacing=Pacing(trickle_bytes_per_s=TRICKLE_BYTES_PER_S),
                metrics=metrics,
                rng=rng,
                codecs=store.codecs,
                ciphers=self._ciphers,
                encrypt=options.encrypt,
            )
        )

        self._warming = Warming(self.downloads, tasks, self._post)

    def _new_session(
        self, client: aiohttp.ClientSession, rng: random.Random
    ) -> SessionClient | Literal[""]:
        return self._options.supernode and SessionClient(
            self._options.supernode,
            client=client,
            hello=self._hello,
            on_open=self._on_session,
            on_message=self._on_message,
            on_lost=self._on_session_lost,
            rng=rng,
        )

    def _new_seeding(self, rng: random.Random) -> Seeding:
        return Seeding(
            self._store,
            self._sources,
            self._options.source,
            keys=EditionKeys(self._ciphers, None, why_none=WHY_NO_KEYS),
            link_rate_bytes_per_s=USUAL_LINK_BYTES_PER_S,
            metrics=self.metrics,
            rng=rng,
            now_wall_s=wall_s,
        )

    def routes(self) -> web.Application:
        """Return what others may ask of this host."""
        app = web.Application()
        app.router.add_get("/v1/editions/{edition_id}/link", self.links.handle)
        app.router.add_get("/v1/editions/{edition_id}/blocks/{block_index}", self.uploads.handle)
        add_admin_routes(
            app,
            metrics=self.metrics,
            tasks=self.tasks_seen,
            hosts=self.hosts_seen,
            health=self.health,
        )
        return app

    async def tick(self) -> None:
        """Keep the gauges current, until cancelled."""
        while True:
            self.metrics.cache_bytes.set(self._store.used_bytes())
            self.metrics.cache_editions.set(self._store.count())
            self.metrics.sessions.set(int(self.is_connected))
            await asyncio.sleep(TICK_S)

    def end(self) -> None:
        """Close what is open to others."""
        self._warming.end()
        self.downloads.end()
        self.links.close()

    @property
    def host_id(self) -> HostId:
        """Its name in swarms."""
        return self._options.host_id

    def tell(self, message: wire.HostMessage) -> None:
        """Tell the SuperNode something, if there is a session."""
        if self.session:
            self.session.post(message)

    @property
    def is_connected(self) -> bool:
        """Whether there is a session with the SuperNode."""
        return bool(self.session and self.session.is_open)

    def _held_of(self, edition_id: EditionId) -> BlockSet | None:
        entry = self._store.find(edition_id)
        return entry.held if entry else None

    # --- session

    def _hello(self) -> wire.Hello:
        """Return what a session begins with; an empty host in the address means the one seen."""
        options = self._options
        host, _, port = self.address.rpartition(":")
        everywhere = host in ("0.0.0.0", "[::]")  # noqa: S104
        told = options.advertise or (f":{port}" if everywhere else self.address)
        told = told if options.reachable else ""  # named to nobody, and asked by nobody
        sealed = [entry for entry in self._store.entries() if entry.is_sealed]
        sealed.sort(key=lambda entry: -entry.used_wall_s)
        return wire.Hello(
            protocol=wire.PROTOCOL,
            host_id=options.host_id,
            address=told,
            location=options.location,
            upload_slots=options.uploads.slots,
            is_ephemeral=options.is_ephemeral,
            codecs=tuple(self._store.codecs),
            ciphers=self._ciphers.known_ids(),
            holdings=tuple(
                wire.Holding(task_id=entry.edition.task_id, edition_id=entry.edition.edition_id)
                for entry in sealed[:HOLDINGS_MAX]
            ),
            labels=options.labels,
            can_warm=not options.is_ephemeral,
        )

    def _on_session(self, welcome: wire.Welcome) -> None:
        self.links.address = welcome.address
        self.downloads.on_session()
        self.hooks.on_open()

    def _on_message(self, message: wire.SuperNodeMessage) -> None:
        if isinstance(message, wire.HoldersTold):
            self.hooks.on_holders(message)
        elif isinstance(message, wire.Warm | wire.StopWarming):
            self._warming.on_message(message)
        else:
            self.downloads.on_message(message)

    def tell_pushed(self, pushed: wire.Pushed) -> None:
        """Tell the SuperNode of something that was pushed through this host."""
        self._post(pushed)

    def _post(self, message: wire.HostMessage) -> None:
        if self.session:
            self.session.post(message)

    def _on_session_lost(self) -> None:
        self.downloads.on_session_lost()

    # --- what operators see

    def tasks_seen(self) -> list[dict[str, Any]]:
        """Return what `GET /api/v1/tasks` shows."""
        return [edition_seen(entry) for entry in self._store.entries()]

    def hosts_seen(self) -> list[dict[str, Any]]:
        """Return what `GET /api/v1/hosts` shows: this host, and its SuperNode."""
        return [
            {
                "host_id": self._options.host_id,
                "address": self.address,
                "location": self._options.location,
                "supernode": self._options.supernode,
                "is_connected": self.is_connected,
            }
        ]

    def health(self) -> dict[str, Any]:
        """Return what `GET /healthy` shows."""
        return {"role": "daemon", "is_connected": self.is_connected}


@contextlib.asynccontextmanager
async def running_host(
    options: PeerHostOptions, store: BlockStore, *, metrics: Metrics
) -> AsyncIterator[PeerHost]:
    """Run a host inside the block.

    Raises:
        AddressInUseError: Somebody else listens on its address.
    """
    sources = open_sources(options.source, options.registries)
    connections = BlockConnections(options.host_id)
    try:
        async with client_session() as client, asyncio.TaskGroup() as tasks:
            host = PeerHost(
                options,
                store,
                sources=sources,
                client=client,
                connections=connections,
                metrics=metrics,
                tasks=tasks,
            )
            async with serving(host.routes(), options.listen) as host.address:
                background = [
                    tasks.create_task(host.tick(), name="tick"),
                    tasks.create_task(keep_settled(store), name="settle"),
                ]
                if host.session:
                    background.append(tasks.create_task(host.session.run(), name="session"))
                try:
                    yield host
                finally:
                    for task in background:
                        task.cancel()
                    host.end()
    finally:
        connections.close()
        await sources.close()
