"""The command `damselfly` and its parts."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version as package_version
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from damselfly.errors import DamselflyError
from damselfly.faces.cli.cache import cache_app
from damselfly.faces.cli.doctor import doctor
from damselfly.faces.cli.engines import install, uninstall
from damselfly.faces.cli.keys import keys_app
from damselfly.faces.cli.preheat import preheat
from damselfly.faces.cli.proxy import ca_app, proxy_app
from damselfly.faces.cli.simulate import simulate
from damselfly.faces.cli.status import status
from damselfly.services.options import DaemonOptions, SuperNodeOptions
from damselfly.services.places import data_folder
from damselfly.settings import options_for, read_file, settings_in_force
from damselfly.telemetry.log import Level, set_up_log

O = TypeVar("O")  # noqa: E741  # a class of options
Part = Callable[[asyncio.Event], Awaitable[None]]

app = typer.Typer(
    name="damselfly",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
settings_app = typer.Typer(help="What is in force.", no_args_is_help=True)
app.add_typer(settings_app, name="settings")
app.add_typer(cache_app, name="cache")
app.add_typer(proxy_app, name="proxy")
app.add_typer(ca_app, name="ca")
app.add_typer(keys_app, name="keys")

Config = Annotated[
    str, typer.Option(help="Settings file.", envvar="DAMSELFLY_CONFIG", metavar="FILE")
]
LogLevel = Annotated[
    Level, typer.Option(help=f"One of {', '.join(Level)}.", metavar="LEVEL", case_sensitive=False)
]
Listen = Annotated[
    str | None, typer.Option(help="Where others connect; port 0 is any.", metavar="HOST:PORT")
]
Data = Annotated[str | None, typer.Option(help="Folder of the cache.", metavar="DIR")]
Quota = Annotated[str | None, typer.Option(help="Limit of the cache.", metavar="SIZE")]
Rate = Annotated[str | None, typer.Option(help="Limit per second.", metavar="SIZE")]


def _options(kind: type[O], part: str, config: str, flags: dict[str, Any]) -> O:
    tables = read_file(config) if config else {}
    given = {name: value for name, value in flags.items() if value is not None}
    if "data" not in given and "data" not in tables.get(part, {}):
        given["data"] = data_folder(part)
    return options_for(kind, file=config, tables=tables.get(part, {}), flags=given)


def _run_until_signal(part: Part) -> None:
    """Run a part until SIGTERM or Ctrl-C; the second one ends the process at once."""

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(130)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        await part(stop)

    _raise_open_files_limit()
    asyncio.run(run())


def _raise_open_files_limit() -> None:
    """Take all open files that the system allows: each session and link is one.

    The usual soft limit of 1024 is for programs that use select(); a few hundred hosts, or
    somebody who opens connections and says nothing, would reach it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()  # whoever starts us may wait for this line


@app.command()
def supernode(
    *,
    listen: Listen = None,
    data: Data = None,
    quota: Quota = None,
    upload_rate: Rate = None,
    config: Config = "",
    log_level: LogLevel = Level.INFO,
) -> None:
    """Read sources once, seed blocks, and tell hosts who can give them what."""
    from damselfly.faces.api.server import add_api  # noqa: PLC0415  # --help is quick
    from damselfly.services.supernode.garbage import collecting_garbage  # noqa: PLC0415
    from damselfly.services.supernode.supernode_run import run_supernode  # noqa: PLC0415

    set_up_log(log_level)
    flags = {
        "listen": listen,
        "data": data,
        "cache.quota_bytes": quota,
        "uploads.rate_bytes_per_s": upload_rate,
    }
    options = _options(SuperNodeOptions, "supernode", config, flags)

    async def part(stop: asyncio.Event) -> None:
        with collecting_garbage():
            await run_supernode(
                options,
                add_api=add_api,
                on_ready=lambda at: _say(f"SuperNode listens on {at}"),
                stop=stop,
            )

    _run_until_signal(part)


@app.command()
def daemon(
    *,
    supernode: Annotated[
        str | None,
        typer.Option(help="Of the swarm; without one all comes from sources.", metavar="HOST:PORT"),
    ] = None,
    data: Data = None,
    listen: Listen = None,
    advertise: Annotated[
        str | None, typer.Option(help="Under which others reach it.", metavar="HOST:PORT")
    ] = None,
    location: Annotated[
        str | None, typer.Option(help="Widest place first.", metavar="REGION/ZONE/RACK")
    ] = None,
    socket: Annotated[str | None, typer.Option(help="For dfget.", metavar="PATH")] = None,
    socket_group: Annotated[
        str | None, typer.Option(help="May use the socket, too.", metavar="GROUP")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(help="Registry mirror and HTTP proxy; off is none.", metavar="HOST:PORT"),
    ] = None,
    upload_rate: Rate = None,
    download_rate: Rate = None,
    quota: Quota = None,
    config: Config = "",
    log_level: LogLevel = Level.INFO,
) -> None:
    """Take part in the swarms for this host."""
    from damselfly.faces.proxy.server import serving_programs  # noqa: PLC0415
    from damselfly.services.hosting.daemon import run_daemon  # noqa: PLC0415  # --help is quick

    set_up_log(log_level)
    flags = {
        "supernode": supernode,
        "data": data,
        "listen": listen,
        "advertise": advertise,
        "location": location,
        "socket": socket,
        "socket_group": socket_group,
        "proxy.listen": "" if proxy == "off" else proxy,
        "uploads.rate_bytes_per_s": upload_rate,
        "download_rate_bytes_per_s": download_rate,
        "cache.quota_bytes": quota,
    }
    options = _options(DaemonOptions, "daemon", config, flags)

    async def part(stop: asyncio.Event) -> None:
        def on_ready(address: str, socket_path: str, proxy_address: str) -> None:
            proxied = proxy_address and f", proxy on {proxy_address}"
            _say(f"daemon listens on {address} and {socket_path}{proxied}")

        await run_daemon(options, serving_programs=serving_programs, on_ready=on_ready, stop=stop)

    _run_until_signal(part)


@app.command()
def up(
    *,
    listen: Listen = None,
    data: Annotated[str | None, typer.Option(help="Folder of both caches.", metavar="DIR")] = None,
    config: Config = "",
    log_level: LogLevel = Level.WARNING,
) -> None:
    """Run a SuperNode and a daemon in one process, with all defaults."""
    from damselfly.faces.cli.up import run_both  # noqa: PLC0415  # --help is quick

    set_up_log(log_level)
    supernode_data = data and f"{data}/supernode"
    daemon_data = data and f"{data}/daemon"
    both = (
        _options(SuperNodeOptions, "supernode", config, {"listen": listen, "data": supernode_data}),
        _options(DaemonOptions, "daemon", config, {"data": daemon_data}),
    )
    _run_until_signal(lambda stop: run_both(*both, say=_say, stop=stop))


app.command()(install)
app.command()(uninstall)
app.command()(status)
app.command()(preheat)
app.command()(simulate)
app.command()(doctor)


@settings_app.command("show")
def settings_show(*, config: Config = "") -> None:
    """Print each setting in force and whether it is the default."""
    tables = read_file(config) if config else {}
    kinds: dict[str, Any] = {"supernode": SuperNodeOptions, "daemon": DaemonOptions}
    for part, kind in kinds.items():
        options = options_for(kind, file=config, tables=tables.get(part, {}), flags={})
        for setting in settings_in_force(part, options):
            origin = "default" if setting.is_default else config
            typer.echo(f"{setting.key} = {setting.value!r}  # {origin}")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"damselfly {package_version('damselfly')}")


def _print_version(is_asked: bool) -> None:  # noqa: FBT001  # as typer calls it
    if is_asked:
        version()
        raise typer.Exit


@app.callback()
def options(
    *,
    is_version_asked: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Peer-to-peer distribution of container images, models and large files."""


def run() -> NoReturn:
    """Run the command; errors of ours become one line and their exit code."""
    try:
        app()
    except DamselflyError as exc:
        _fail(exc)
    except BaseExceptionGroup as group:
        ours, rest = group.split(DamselflyError)
        if ours is None or rest is not None:
            raise
        error: BaseException = ours
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, DamselflyError)
        _fail(error)
    sys.exit(0)


def _fail(error: DamselflyError) -> NoReturn:
    typer.echo(f"damselfly: {error}", err=True)
    sys.exit(error.exit_code)
