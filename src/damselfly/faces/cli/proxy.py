"""`damselfly proxy explain` and `damselfly ca show`: what the proxy does, and who vouches."""

import json
from typing import Annotated, Any, Final

import typer

from damselfly.core.proxying.rules import Opening, Rules, Target, Verdict, Way, why_not_shared
from damselfly.core.task import parse_header
from damselfly.core.urls import display_url
from damselfly.services.ca_files import certificate_path
from damselfly.services.options import DaemonOptions
from damselfly.services.places import data_folder
from damselfly.settings import options_for, read_file

TRUST: Final = """\
To trust it, put what stands above into a file (damselfly-ca.crt), and on
  Debian, Ubuntu:  copy it to /usr/local/share/ca-certificates/, then update-ca-certificates
  RHEL, Fedora:    copy it to /etc/pki/ca-trust/source/anchors/, then update-ca-trust
  Docker:          copy it to /etc/docker/certs.d/REGISTRY/ca.crt, or trust it on the host
                   as above and restart docker
  curl, pip, git:  --cacert FILE, PIP_CERT=FILE, GIT_SSL_CAINFO=FILE
Whoever can read the key can read what the clients that trust it ask for: keep it here."""

proxy_app = typer.Typer(help="The HTTP proxy.", no_args_is_help=True)
ca_app = typer.Typer(help="The CA by which the proxy opens CONNECT.", no_args_is_help=True)

Config = Annotated[
    str, typer.Option(help="Settings file.", envvar="DAMSELFLY_CONFIG", metavar="FILE")
]


@proxy_app.callback()
@ca_app.callback()
def _group() -> None:
    """Keep a group a group although it has one command."""


@proxy_app.command()
def explain(
    url: Annotated[str, typer.Argument(metavar="URL")],
    *,
    method: Annotated[str, typer.Option(help="Of the request.", metavar="METHOD")] = "GET",
    header: Annotated[
        list[str] | None,
        typer.Option(help="Of the request; repeat.", metavar="'NAME: VALUE'"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    config: Config = "",
) -> None:
    """Say which rule acts on a request and why, without asking anybody."""
    options = _daemon_options(config).proxy
    rules = Rules(options.rules, connect_ports=options.connect_ports)
    target = Target.parse(url)
    told = _told(target, method.upper(), header or [], rules)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
    else:
        for line in _lines(told):
            typer.echo(line)


def _told(target: Target, method: str, headers: list[str], rules: Rules) -> dict[str, Any]:
    names = dict(_split(line) for line in headers)
    verdict = rules.judge(target, not_shared=why_not_shared(method, names))
    opening = rules.opening(target.host, target.port) if target.scheme == "https" else None
    is_seen = opening is None or opening.way is Way.OPENED
    return {
        "method": method,
        "url": display_url(target.url),
        "connect": opening and {"way": opening.way, "reason": opening.reason},
        "action": verdict.action if is_seen else None,
        "source_url": display_url(verdict.target.url),
        "reason": _reason(verdict, opening),
        "rules": [
            {
                "number": step.number,
                "rule": str(step.rule),
                "has_matched": step.has_matched,
                "reason": step.reason,
            }
            for step in verdict.steps
            if is_seen
        ],
    }


def _split(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    return (
        (name.strip(), value.strip()) if colon else parse_header(line)
    )  # which says what is wrong


def _reason(verdict: Verdict, opening: Opening | None) -> str:
    return verdict.reason if opening is None or opening.way is Way.OPENED else opening.reason


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [f"{told['method']} {told['url']}"]
    if connect := told["connect"]:
        lines.append(f"  CONNECT is {connect['way']}: {connect['reason']}")
    for rule in told["rules"]:
        mark = "acts" if rule["has_matched"] else "no"
        lines.append(f"  rule {rule['number']}: {rule['rule']}")
        lines.append(f"    {mark}: {rule['reason']}")
    if told["action"] is None:
        way = told["connect"]["way"]
        lines.append(
            "so it is refused" if way == Way.REFUSED else "so the proxy sees nothing of it"
        )
    elif told["source_url"] == told["url"]:
        lines.append(f"so it is {told['action']}: {told['reason']}")
    else:
        lines.append(f"so it is {told['action']}, as {told['source_url']}: {told['reason']}")
    return lines


@ca_app.command()
def show(
    *,
    data: Annotated[str | None, typer.Option(help="The daemon's folder.", metavar="DIR")] = None,
    config: Config = "",
) -> None:
    """Print the certificate of the CA, where it lies, and how clients come to trust it."""
    from damselfly.services.own_ca import load_ca  # noqa: PLC0415  # costs 30 ms

    folder = data or _daemon_options(config).data
    ca = load_ca(folder)
    typer.echo(ca.pem, nl=False)
    typer.echo(f"file:         {certificate_path(folder)}", err=True)
    typer.echo(f"SHA-256:      {ca.fingerprint}", err=True)
    typer.echo(f"valid until:  {ca.certificate.not_valid_after_utc:%Y-%m-%d}", err=True)
    typer.echo(TRUST, err=True)


def _daemon_options(config: str) -> DaemonOptions:
    tables = read_file(config).get("daemon", {}) if config else {}
    flags = {} if "data" in tables else {"data": data_folder("daemon")}
    return options_for(DaemonOptions, file=config, tables=tables, flags=flags)
