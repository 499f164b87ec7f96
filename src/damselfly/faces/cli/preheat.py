"""`damselfly preheat`: jobs are started, listed, shown, cancelled, watched."""

import sys
import time
from typing import Annotated, Any, Final

import typer

from damselfly.errors import SuperNodeUnreachableError, UsageError
from damselfly.faces.cli.preheat_text import job_line, job_lines
from damselfly.faces.cli.supernode_client import SuperNodeClient

ASK_AGAIN_S: Final = 0.5
WORDS: Final = ("ls", "show", "cancel", "watch")
PATH: Final = "/api/v1/preheats"
FAILED: Final = 1

Names = Annotated[
    list[str],
    typer.Argument(
        help="Images, URLs of files, or: ls · show ID · cancel ID · watch ID.", metavar="NAME..."
    ),
]


def preheat(
    names: Names,
    *,
    platform: Annotated[
        list[str] | None, typer.Option(help="Of an index; else all.", metavar="OS/ARCH")
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="supernode, racks, share:25%, location:A/B, label:NAME, hosts:ID,ID.",
        ),
    ] = "supernode",
    digest: Annotated[str, typer.Option(help="Of the file.", metavar="ALGORITHM:HEX")] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", help="For the source.", metavar="'NAME: VALUE'"),
    ] = None,
    tag: Annotated[str, typer.Option(help="As dfget's.", metavar="TEXT")] = "",
    filter_query: Annotated[
        list[str] | None, typer.Option(help="As dfget's.", metavar="NAME")
    ] = None,
    priority: Annotated[int, typer.Option(help="0 to 9; the highest first.")] = 5,
    rate: Annotated[str, typer.Option(help="Limit per second.", metavar="SIZE")] = "0",
    hours: Annotated[str, typer.Option(help="When it may run.", metavar="22:00-06:00")] = "",
    cron: Annotated[str, typer.Option(help="When it runs again.", metavar="CRON")] = "",
    wait: Annotated[bool, typer.Option(help="Until it is over.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    supernode: Annotated[
        str,
        typer.Option(help="Else DAMSELFLY_SUPERNODE, else this host.", metavar="HOST:PORT"),
    ] = "",
    token_file: Annotated[str, typer.Option(help="Else DAMSELFLY_API_TOKEN.", metavar="FILE")] = "",
) -> None:
    """Make images and files warm before anybody asks for them."""
    client = SuperNodeClient(supernode, token_file=token_file)
    word, *rest = names
    try:
        if word in WORDS:
            _about(client, word, rest, is_json=json)
            return
        asked = {
            **_named(names),
            "digest": digest,
            "platforms": platform or [],
            "target": target,
            "headers": header or [],
            "tag": tag,
            "filtered_query": filter_query or [],
            "priority": priority,
            "rate": _rate(rate),
            "hours": hours,
            "cron": cron,
        }
        _start(client, asked, is_waiting=wait, is_json=json)
    except KeyboardInterrupt:
        print("it goes on; `damselfly preheat cancel ID` ends it", file=sys.stderr)
        raise SystemExit(130) from None


def _rate(text: str) -> int:
    from damselfly.settings import parse_rate  # noqa: PLC0415  # --help is quick

    try:
        return parse_rate(text)
    except ValueError as exc:
        raise UsageError(f"--rate: {exc}") from exc


def _named(names: list[str]) -> dict[str, list[str]]:
    from damselfly.wire.image_names import is_file  # noqa: PLC0415  # --help is quick

    return {
        "images": [each for each in names if not is_file(each)],
        "urls": [each for each in names if is_file(each)],
    }


def _start(
    client: SuperNodeClient, asked: dict[str, Any], *, is_waiting: bool, is_json: bool
) -> None:
    import json  # noqa: PLC0415  # --help is quick

    jobs = client.ask("POST", PATH, json.dumps(asked).encode())["preheats"]
    if is_waiting and not asked["hours"]:
        jobs = [_watched(client, str(job["id"]), is_quiet=is_json) for job in jobs]
    for job in jobs:
        _print(job, is_json=is_json)
    if any(job["state"] in ("failure", "cancelled") for job in jobs):
        raise SystemExit(FAILED)


def _about(client: SuperNodeClient, word: str, rest: list[str], *, is_json: bool) -> None:
    if word == "ls":
        for job in client.ask("GET", PATH)["preheats"]:
            _print(job, is_json=is_json, is_short=True)
        return
    if len(rest) != 1 or not rest[0].isdecimal():
        raise UsageError(f"`damselfly preheat {word}` takes the number of one job")
    if word == "watch":
        job = _watched(client, rest[0], is_quiet=is_json)
    else:
        job = client.ask("DELETE" if word == "cancel" else "GET", f"{PATH}/{rest[0]}")
    _print(job, is_json=is_json)
    if word == "watch" and job["state"] != "success":
        raise SystemExit(FAILED)


def _watched(client: SuperNodeClient, job_id: str, *, is_quiet: bool) -> dict[str, Any]:
    """Return a job once it is over; a SuperNode that restarts is waited for."""
    line, is_drawn = "", sys.stderr.isatty() and not is_quiet
    while True:
        try:
            job: dict[str, Any] = client.ask("GET", f"{PATH}/{job_id}")
        except SuperNodeUnreachableError:
            if not line:
                raise
            time.sleep(ASK_AGAIN_S)
            continue
        line = job_line(job)
        if is_drawn:
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
        if job["state"] not in ("pending", "running"):
            if is_drawn:
                print(file=sys.stderr)
            return job
        time.sleep(ASK_AGAIN_S)


def _print(job: dict[str, Any], *, is_json: bool, is_short: bool = False) -> None:
    import json  # noqa: PLC0415  # --help is quick

    if is_json:
        print(json.dumps(job), flush=True)
    elif is_short:
        print(job_line(job))
    else:
        print("\n".join(job_lines(job)))
