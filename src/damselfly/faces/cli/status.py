"""`damselfly status`: what the daemon of this host is doing, once or as it goes on."""

import contextlib
import os
import sys
import time
from typing import Annotated, Final

import typer

from damselfly.clock import now_s
from damselfly.errors import DaemonUnreachableError
from damselfly.faces.cli.pipes import until_reader_leaves
from damselfly.services.places import daemon_sockets
from damselfly.transport.local_client import LocalClient

INTERVAL_S: Final = 1.0

SocketPath = Annotated[
    str, typer.Option(help="Of the daemon; else the usual places.", metavar="PATH")
]


def daemon_client(socket: str) -> LocalClient:
    """Return the daemon at a socket, or at the first usual place where one answers.

    Raises:
        DaemonUnreachableError: Nobody answers there.
    """
    paths = [socket] if socket else daemon_sockets()
    clients = [LocalClient(path) for path in paths if os.path.exists(path)]
    found = next((client for client in clients if client.is_there()), None)
    if found is None:
        reason = "nothing listens there; start it with `damselfly daemon`, or name its --socket"
        if any(not os.access(client.path, os.W_OK) for client in clients):
            reason = "you may not write to it; be root, or in the group of its --socket-group"
        raise DaemonUnreachableError(socket=" or ".join(paths), reason=reason)
    return found


def status(
    *,
    watch: Annotated[
        bool | None,
        typer.Option("--watch/--once", help="Go on; on a terminal unless it is said."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One object, or one a second.")] = False,
    socket: SocketPath = "",
) -> None:
    """Show downloads, rates, and where bytes come from."""
    client = daemon_client(socket)
    is_picture = sys.stdout.isatty() and not json
    with contextlib.suppress(KeyboardInterrupt), until_reader_leaves():
        if is_picture and watch is not False:
            _watch(client)
        else:
            _tell(client, is_json=json, is_watching=watch is True)


def _tell(client: LocalClient, *, is_json: bool, is_watching: bool) -> None:
    import msgspec  # noqa: PLC0415  # --help is quick

    from damselfly.faces.cli.status_text import Rates, lines  # noqa: PLC0415

    rates = Rates()
    while True:
        told = client.status()
        rates.add(told, now_s=now_s())
        if is_json:
            print(msgspec.json.encode(told).decode(), flush=True)
        else:
            print("\n".join(lines(told, rates)), flush=True)
        if not is_watching:
            return
        time.sleep(INTERVAL_S)
        if not is_json:
            print(flush=True)


def _watch(client: LocalClient) -> None:
    """Draw the picture until Ctrl-C; a daemon that restarts is waited for."""
    from rich.console import Console  # noqa: PLC0415  # --help is quick
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from damselfly.faces.cli.status_picture import picture  # noqa: PLC0415
    from damselfly.faces.cli.status_text import Rates  # noqa: PLC0415

    console, rates = Console(), Rates()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                told = client.status()
            except DaemonUnreachableError as exc:
                live.update(Text(f"{exc}\nwaiting for it; Ctrl-C ends this", "red"), refresh=True)
            else:
                rates.add(told, now_s=now_s())
                width, height = console.size
                live.update(picture(told, rates, width=width, height=height), refresh=True)
            time.sleep(INTERVAL_S)
