"""`damselfly up`: a SuperNode and a daemon in one process."""

import asyncio
import dataclasses
from collections.abc import Callable

from damselfly.faces.api.server import add_api
from damselfly.faces.proxy.server import serving_programs
from damselfly.services.hosting.daemon import run_daemon
from damselfly.services.options import DaemonOptions, SuperNodeOptions
from damselfly.services.places import daemon_sockets
from damselfly.services.supernode.garbage import collecting_garbage
from damselfly.services.supernode.supernode_run import run_supernode


async def run_both(
    supernode: SuperNodeOptions,
    daemon: DaemonOptions,
    *,
    say: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Run both until `stop` is set; says what one needs next when both are ready.

    Raises:
        DamselflyError: One of them cannot start; in an exception group.
    """
    is_listening = asyncio.Event()
    told = ""

    def on_supernode(address: str) -> None:
        nonlocal told
        told = address
        is_listening.set()

    def on_daemon(_: str, socket_path: str, proxy_address: str) -> None:
        port = told.rpartition(":")[2]
        say(f"ready; SuperNode on {told}, daemon on {socket_path}")
        where = "" if socket_path in daemon_sockets() else f" --socket {socket_path}"
        say(f"  on this host:    dfget URL -O FILE{where}")
        say(f"  on other hosts:  damselfly daemon --supernode THIS_HOST:{port}")
        if proxy_address:
            say(f"  for engines:     registry mirror and proxy on {proxy_address}")

    async def run_second() -> None:
        await is_listening.wait()
        port = told.rpartition(":")[2]
        own = dataclasses.replace(daemon, supernode=daemon.supernode or f"127.0.0.1:{port}")
        await run_daemon(own, serving_programs=serving_programs, on_ready=on_daemon, stop=stop)

    with collecting_garbage():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run_supernode(supernode, add_api=add_api, on_ready=on_supernode, stop=stop)
            )
            tasks.create_task(run_second())
