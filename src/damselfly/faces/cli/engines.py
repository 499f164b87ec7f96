"""`damselfly install` and `uninstall`: set a container engine up, and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damselfly.errors import EngineConfigError
from damselfly.services.ca_files import certificate_path
from damselfly.services.engine_setup.plans import Engine, Registry, Wish
from damselfly.services.options import ProxyOptions
from damselfly.services.places import data_folder

if TYPE_CHECKING:
    from damselfly.services.engine_setup.setup import EngineSetup, Setup

EngineName = Annotated[Engine, typer.Argument(metavar="ENGINE", help=" or ".join(Engine))]
Root = Annotated[str, typer.Option(help="Folder of an image, not this host.", metavar="DIR")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the changes, write nothing.")]


def install(
    engine: EngineName,
    *,
    registry: Annotated[
        list[str] | None,
        typer.Option(help="Repeat; http:// says that it has no TLS.", metavar="HOST[:PORT]"),
    ] = None,
    proxy: Annotated[
        str, typer.Option(help="Where engines reach the daemon.", metavar="HOST:PORT")
    ] = ProxyOptions().listen,
    ca: Annotated[
        str, typer.Option(help="The daemon's CA certificate, for docker.", metavar="FILE")
    ] = "",
    mirror_only: Annotated[
        bool, typer.Option("--mirror-only", help="Leave docker's proxy settings alone.")
    ] = False,
    root: Root = "/",
    dry_run: DryRun = False,
) -> None:
    """Let a container engine pull through the daemon; shows each change as a diff."""
    wish = Wish(
        proxy=proxy,
        registries=tuple(dict.fromkeys(Registry.parse(text) for text in registry or ())),
        ca_text=_ca_text(ca) if engine is Engine.DOCKER else "",
        is_mirror_only=mirror_only,
    )
    setup = _engine_setup(root).install(engine, wish, is_dry_run=dry_run)
    _say(setup, engine, "is set up", is_dry_run=dry_run)


def uninstall(engine: EngineName, *, root: Root = "/", dry_run: DryRun = False) -> None:
    """Put back what was there before install; what was edited since keeps the edits."""
    setup = _engine_setup(root).uninstall(engine, is_dry_run=dry_run)
    _say(setup, engine, "is as before", is_dry_run=dry_run)


def _engine_setup(root: str) -> "EngineSetup":
    from damselfly.services.engine_setup.setup import EngineSetup  # noqa: PLC0415  # --help is quick

    if not root or not Path(root).is_dir():  # an empty one would be the folder one is in
        raise EngineConfigError(path=root or "''", reason="there is no such folder; see --root")
    return EngineSetup(root)


def _ca_text(path: str) -> str:
    """Return the certificate in a file; the daemon's own need not be there yet."""
    place = Path(path) if path else certificate_path(data_folder("daemon"))
    try:
        text = place.read_text()
    except OSError as exc:
        if not path:
            return ""
        reason = (exc.strerror or str(exc)).lower()
        raise EngineConfigError(path=path, reason=reason) from exc
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        raise EngineConfigError(path=str(place), reason="it is no certificate in PEM")
    return text


def _say(setup: "Setup", engine: Engine, done: str, *, is_dry_run: bool) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in setup.diff().splitlines():
        is_title = line.startswith(("--- ", "+++ "))
        typer.secho(line, bold=is_title, fg=None if is_title else colours.get(line[:1]))
    for note in setup.notes:
        typer.echo(f"note: {note}")
    if not setup.changes:
        typer.echo(f"{engine}: nothing to change")
    elif is_dry_run:
        typer.echo("nothing was written: --dry-run")
    else:
        typer.echo(f"{engine} {done}" + (f"; now run: {setup.restart}" if setup.restart else ""))
