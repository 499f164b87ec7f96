"""`damselfly doctor`: the whole chain from the engines to the source, checked."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from damselfly.errors import DamselflyError
from damselfly.faces.cli.status import SocketPath, daemon_client
from damselfly.services.engine_setup.plans import Registry, check_proxy
from damselfly.services.options import DaemonOptions
from damselfly.services.places import data_folder
from damselfly.settings import options_for, read_file

if TYPE_CHECKING:
    from damselfly.services.doctor.findings import Finding, Scene

MARKS: Final = {
    "ok": ("✓", typer.colors.GREEN),
    "warning": ("!", typer.colors.YELLOW),
    "failed": ("✗", typer.colors.RED),
    "skipped": ("·", typer.colors.BRIGHT_BLACK),
}


NAME_CHARS_MAX: Final = 20  # the few longer ones stand out


def doctor(
    *,
    registry: Annotated[
        list[str] | None,
        typer.Option(help="To try, both ways; repeat.", metavar="HOST[:PORT]"),
    ] = None,
    proxy: Annotated[
        str, typer.Option(help="Where engines reach the daemon.", metavar="HOST:PORT")
    ] = "",
    root: Annotated[str, typer.Option(help="Where the engines' files are.", metavar="DIR")] = "/",
    socket: SocketPath = "",
    config: Annotated[
        str, typer.Option(help="Settings file.", envvar="DAMSELFLY_CONFIG", metavar="FILE")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check engines, daemon, SuperNode, registries and this host; 1 if anything failed."""
    import msgspec  # noqa: PLC0415  # --help is quick

    from damselfly.services.doctor.examination import examine  # noqa: PLC0415

    findings = examine(_scene(registry or [], proxy, root, socket, config))
    if json:
        print(msgspec.json.encode({"findings": findings}).decode())
    else:
        _print(findings)
    raise typer.Exit(int(any(finding.verdict == "failed" for finding in findings)))


def _scene(registries: list[str], proxy: str, root: str, socket: str, config: str) -> "Scene":
    from damselfly.services.doctor.findings import Scene  # noqa: PLC0415
    from damselfly.services.doctor.registries import registries_to_try  # noqa: PLC0415

    if proxy:
        check_proxy(proxy)
    named = [Registry.parse(text) for text in registries]
    tables = (read_file(config) if config else {}).get("daemon", {})
    options = options_for(
        DaemonOptions,
        file=config,
        tables=tables,
        flags={} if "data" in tables else {"data": data_folder("daemon")},
    )
    status, error = None, ""
    try:
        status = daemon_client(socket or options.socket).status()
    except DamselflyError as exc:
        error = str(exc)
    return Scene(
        root=root,
        status=status,
        daemon_error=error,
        listen=options.listen,
        proxy=proxy or (status.proxy if status else options.proxy.listen),
        supernode=status.supernode if status else options.supernode,
        data=status.cache.data if status else options.data,
        registries=tuple(registries_to_try(named, options.registries)),
    )


def _print(findings: "list[Finding]") -> None:
    name_chars = min(max(len(finding.check) for finding in findings), NAME_CHARS_MAX)
    for finding in findings:
        mark, colour = MARKS[finding.verdict]
        name = finding.check.ljust(name_chars)
        typer.echo(f"{typer.style(mark, fg=colour)} {typer.style(name, bold=True)} {finding.text}")
        if finding.advice:
            typer.echo(f"  {' ' * name_chars} → {finding.advice}")
    counts = {
        verdict: sum(finding.verdict == verdict for finding in findings)
        for verdict in ("failed", "warning")
    }
    typer.echo(
        "all is well"
        if not any(counts.values())
        else f"{counts['failed']} failed, {counts['warning']} could be better"
    )
