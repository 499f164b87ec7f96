"""The daemon of a host: a peer in all its swarms, and a Unix socket for dfget."""

import asyncio
import contextlib
import grp
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from damselfly.core.peer import HostId, is_host_id
from damselfly.errors import DamselflyError, SettingsError
from damselfly.services.cache_care.routes import failed
from damselfly.services.downloading.downloads import Downloads
from damselfly.services.hosting.host_cache import caring
from damselfly.services.hosting.host_view import HostView
from damselfly.services.hosting.local_contents import LocalContents
from damselfly.services.hosting.peer_host import PeerHost, PeerHostOptions, running_host
from damselfly.services.options import DaemonOptions
from damselfly.services.peering.web_server import serving_unix
from damselfly.services.stores import open_store
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.wire.local_messages import (
    DownloadFailed,
    DownloadFinished,
    DownloadProgress,
    DownloadRequest,
    decode_request,
    encode_line,
)
from damselfly.wire.status_messages import HostStatus

PROGRESS_LINES_MAX: Final = 16  # a requester that does not read gets the latest only
OWNER_MODE, GROUP_MODE = 0o600, 0o660

ServingPrograms = Callable[[DaemonOptions, PeerHost], contextlib.AbstractAsyncContextManager[str]]

log = get_log()


class LocalDownloads:
    """The HTTP of the Unix socket; see docs/protocols/local.md."""

    def __init__(self, downloads: Downloads, status: Callable[[], HostStatus]) -> None:
        self._downloads = downloads
        self._status = status

    def routes(self) -> web.Application:
        """Return what dfget, `damselfly status` and `damselfly doctor` may ask."""
        app = web.Application()
        app.router.add_get("/v1/status", self._tell_status)
        app.router.add_post("/v1/downloads", self._post)
        app.router.add_get("/v1/downloads/{download_id}/content", self._content)
        app.router.add_delete("/v1/downloads/{download_id}", self._delete)
        return app

    async def _post(self, request: web.Request) -> web.StreamResponse:
        """Run a download while the connection is open; it ends with a line that says how."""
        body = await request.read()  # 413 if it is too long
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        last: DownloadFinished | DownloadFailed
        try:
            wanted = decode_request(body)
            last = await self._run(wanted, response)
        except DamselflyError as exc:
            last = failed(exc)
        except Exception as exc:  # a supervisor: this download ends, the daemon stays
            log.exception("download_broke")
            last = failed(DamselflyError(f"a bug of ours ended the download: {exc!r}"))
        try:
            await response.write(encode_line(last))
            await response.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            if isinstance(last, DownloadFinished):
                self._downloads.release(last.download_id)  # nobody is there to place it
            raise
        return response

    async def _run(self, wanted: DownloadRequest, response: web.StreamResponse) -> DownloadFinished:
        news: asyncio.Queue[DownloadProgress] = asyncio.Queue(PROGRESS_LINES_MAX)

        def on_progress(progress: DownloadProgress) -> None:
            if news.full():
                news.get_nowait()
            news.put_nowait(progress)

        async def tell() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await response.write(encode_line(await news.get()))

        telling = asyncio.ensure_future(tell())
        try:
            return await self._downloads.get(wanted, on_progress)
        finally:
            telling.cancel()

    async def _tell_status(self, _: web.Request) -> web.Response:
        data = msgspec.json.encode(self._status()) + b"\n"
        return web.Response(body=data, content_type="application/json")

    async def _content(self, request: web.Request) -> web.StreamResponse:
        entry = self._downloads.content_of(request.match_info["download_id"])
        if entry is None:
            raise web.HTTPNotFound(text="there is no such download\n")
        if entry.content_path:
            return web.FileResponse(entry.content_path)
        response = web.StreamResponse()  # it lies packed: block by block
        response.content_length = entry.edition.size_bytes
        await response.prepare(request)
        layout = entry.edition.layout
        for block_index in range(layout.block_count):
            plain = await asyncio.to_thread(entry.read_span, layout.span(block_index))
            await response.write(plain)
        await response.write_eof()
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        if not self._downloads.release(request.match_info["download_id"]):
            raise web.HTTPNotFound(text="there is no such download\n")
        return web.Response(status=204)


def _host_id(folder: Path) -> HostId:
    """Return the id of the host that a data folder belongs to; made at the first start."""
    path = folder / "host-id"
    with contextlib.suppress(OSError):
        text = path.read_text().strip()
        if is_host_id(text):
            return HostId(text)
    fresh = HostId(f"h-{secrets.token_hex(8)}")
    path.write_text(f"{fresh}\n")
    return fresh


def _group_id(name: str) -> int:
    if not name:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as exc:
        expected = f"the name of a group; there is no group {name!r} here"
        raise SettingsError(where="daemon", key="socket_group", expected=expected) from exc


async def run_daemon(
    options: DaemonOptions,
    *,
    serving_programs: ServingPrograms,
    on_ready: Callable[[str, str, str], None],
    stop: asyncio.Event,
) -> None:
    """Run a daemon until `stop` is set.

    Args:
        options: Its settings.
        serving_programs: Serves what programs of this host ask by HTTP, inside its block.
        on_ready: Called with the `host:port` on which it listens, the path of its socket, and
            the `host:port` for programs, empty when there is none.
        stop: Ends it, gracefully.

    Raises:
        AddressInUseError: Somebody else listens there.
        StorageUnusableError: The data folder is not ours, or in use.
        SettingsError: There is no such group.
    """
    group_id = _group_id(options.socket_group)
    store = await asyncio.to_thread(open_store, options.data, options.cache)
    try:
        socket_path = options.socket or str(Path(options.data) / "daemon.sock")
        peer_options = PeerHostOptions(
            host_id=_host_id(Path(options.data)),
            supernode=options.supernode,
            listen=options.listen,
            advertise=options.advertise,
            reachable=options.reachable,
            location=options.location,
            labels=options.labels,
            download_rate_bytes_per_s=options.download_rate_bytes_per_s,
            uploads=options.uploads,
            source=options.source,
            registries=options.registries,
            encrypt=options.encrypt,
        )
        metrics = Metrics()
        async with (
            running_host(peer_options, store, metrics=metrics) as host,
            contextlib.AsyncExitStack() as stack,
        ):
            view = HostView(options, host, store, metrics)
            local = LocalDownloads(host.downloads, view.status).routes()
            cache_routes = await stack.enter_async_context(caring(options, host, store))
            cache_routes.add_to(local)
            LocalContents(host.downloads).add_to(local)
            mode = GROUP_MODE if options.socket_group else OWNER_MODE
            async with (
                serving_unix(local, socket_path, mode=mode, group_id=group_id),
                serving_programs(options, host) as programs_address,
            ):
                view.proxy = programs_address
                on_ready(host.address, socket_path, programs_address)
                await stop.wait()
                host.end()
    finally:
        await asyncio.to_thread(store.close)
