"""The command `dfget`: one file, through the host's daemon or as a peer of its own.

With a daemon nothing but the standard library and the messages is imported, so that a short
download is not spent on starting.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from damselfly import errors
from damselfly.core.digest import Digest
from damselfly.core.downloading.sharing import Priority
from damselfly.errors import DaemonUnreachableError, DamselflyError, UsageError
from damselfly.faces.cli.netrc_file import USERS_OWN, netrc_headers
from damselfly.faces.cli.output import named, output_path, printable
from damselfly.faces.cli.pipes import until_reader_leaves
from damselfly.faces.cli.progress import shown_on_terminal, size_text, summary_text
from damselfly.services.outputs import STANDARD_OUTPUT, is_stream, take_from
from damselfly.services.places import daemon_sockets
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadFinished, DownloadRequest

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see dfget --help")


def _exit_codes() -> str:
    """Return the exit codes as text, from the errors themselves."""
    rows = {0: "the file is whole, checked and in its place", INTERRUPTED: "interrupted"}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, DamselflyError):
            text = (value.__doc__ or "").split("\n", 1)[0].rstrip(".")
            rows.setdefault(value.exit_code, text[:1].lower() + text[1:])
    return "exit codes:\n" + "\n".join(f"  {code:>3}  {rows[code]}" for code in sorted(rows))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dfget",
        description="Download a file through the swarm.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("url", metavar="URL", nargs="?", default="", help="http, https, s3, gs, az, hf, oci, …")
    add(
        "-O",
        "--output",
        metavar="PATH",
        default="",
        help="file or folder, -: standard output; default: here",
    )
    add("--digest", metavar="ALG:HEX", default="", help="what it must hash to, as sha256:…")
    add(
        "--header",
        "-H",
        metavar="'K: V'",
        action="append",
        default=[],
        help="for the source; repeat",
    )
    netrc = parser.add_mutually_exclusive_group()
    netrc.add_argument(
        "--netrc", "-n", action="store_true", help=f"user and password as {USERS_OWN} has them"
    )
    netrc.add_argument("--netrc-file", metavar="PATH", default="", help="the same, of that file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--supernode", metavar="HOST:PORT", help="be a peer, without a daemon")
    where.add_argument("--socket", metavar="PATH", help="socket of the daemon")
    add(
        "--no-source",
        action="store_true",
        help="nothing goes from this host to the source for this download",
    )
    add(
        "--encrypt",
        action="store_true",
        help="encrypted at rest in all caches and between all hosts; the SuperNode must have keys",
    )
    add("--rate-limit", metavar="SIZE", default="", help="per second, such as 20MiB")
    add("--timeout", metavar="TIME", default="", help="give up after, such as 10m")
    add("--priority", choices=tuple(Priority), help="beside other downloads of this host")
    add("--filter-query", metavar="A,B", default="", help="query parameters that do not matter")
    add("--tag", default="", help="keeps contents of one URL apart")
    add("--location", metavar="R/Z/RACK", default="", help="of this host, with --supernode")
    many = parser.add_argument_group("many files as one")
    many.add_argument("--recursive", "-r", action="store_true", help="all that lies below the URL")
    many.add_argument(
        "--from-file", metavar="LIST", default="", help="a URL a line, and its name; -: from stdin"
    )
    many.add_argument("--include", metavar="'*.X'", action="append", default=[], help="only these")
    many.add_argument("--exclude", metavar="'*.X'", action="append", default=[], help="not these")
    add("--json", action="store_true", help="one object at the end, on standard output")
    add("--quiet", "-q", action="store_true", help="no progress")
    add("--version", action="store_true", help="print it, and do nothing else")
    return parser


def _limits(arguments: argparse.Namespace) -> tuple[int, float]:
    """Return bytes per second and seconds."""
    if not arguments.rate_limit and not arguments.timeout:
        return 0, 0.0
    from damselfly.settings import parse_bytes, parse_seconds  # noqa: PLC0415  # 15 ms, seldom

    try:
        return parse_bytes(arguments.rate_limit or "0"), parse_seconds(arguments.timeout or "0")
    except ValueError as exc:
        raise UsageError(f"{exc}") from exc


def _request(arguments: argparse.Namespace) -> DownloadRequest:
    rate, timeout_s = _limits(arguments)
    headers = tuple(arguments.header)
    arguments.netrc_file = arguments.netrc_file or (USERS_OWN if arguments.netrc else "")
    request = DownloadRequest(
        url=arguments.url,
        digest=str(Digest.parse(arguments.digest)) if arguments.digest else "",
        headers=(*headers, *netrc_headers(arguments.netrc_file, arguments.url, headers)),
        tag=arguments.tag,
        filter_query=tuple(name for name in arguments.filter_query.split(",") if name),
        can_use_source=not arguments.no_source,
        rate_bytes_per_s=float(rate),
        timeout_s=timeout_s,
        is_encrypted=arguments.encrypt,
        priority=Priority(arguments.priority or Priority.NORMAL),
    )
    if not request.url and arguments.from_file:
        return request
    if not request.url or arguments.from_file:
        raise UsageError("give a URL, or --from-file with a list of them; see dfget --help")
    request.spec()  # at the door: what is wrong with it is said before anything starts
    return request


def _client(arguments: argparse.Namespace) -> LocalClient | None:
    """Return the daemon to ask, None when this dfget is to be a peer itself."""
    if arguments.supernode:
        return None
    if arguments.socket:
        client = LocalClient(arguments.socket)
        if not client.is_there():
            reason = "nobody answers on this socket; start the daemon, or leave --socket away"
            raise DaemonUnreachableError(socket=arguments.socket, reason=reason)
        return client
    clients = (LocalClient(path) for path in daemon_sockets() if os.path.exists(path))
    return next((client for client in clients if client.is_there()), None)


def _through_daemon(
    client: LocalClient, request: DownloadRequest, output: str, *, is_quiet: bool
) -> DownloadFinished:
    with shown_on_terminal(is_quiet=is_quiet) as shown:
        finished = client.download(request, shown.show)
    take_from(client, finished, output)
    return finished


def _as_peer(
    request: DownloadRequest, output: str, arguments: argparse.Namespace
) -> DownloadFinished:
    import asyncio  # noqa: PLC0415  # 100 ms that the way through a daemon need not pay

    from damselfly.services.hosting.ephemeral import download  # noqa: PLC0415
    from damselfly.services.options import EphemeralOptions  # noqa: PLC0415
    from damselfly.telemetry.log import Level, set_up_log  # noqa: PLC0415

    set_up_log(Level.ERROR)
    supernode = arguments.supernode or ""
    if not supernode and not arguments.quiet:
        text = "no daemon and no SuperNode here (see --socket, --supernode): downloading directly"
        print(f"dfget: {text}", file=sys.stderr)
    options = EphemeralOptions(supernode=supernode, location=arguments.location)
    with shown_on_terminal(is_quiet=arguments.quiet) as shown:
        return asyncio.run(download(request, options, output=output, on_progress=shown.show))


def _get(arguments: argparse.Namespace) -> int:
    """Do what was asked, and return the exit code of what could be done."""
    request = _request(arguments)
    is_many = arguments.recursive or arguments.from_file or _is_image(request.url)
    output = "" if is_many else output_path(arguments.output, request.url)
    if is_many and is_stream(named(arguments.output)):
        raise UsageError(f"many files need a folder, and -O {arguments.output} is none")
    if is_many and arguments.digest:
        raise UsageError("--digest is of one file, and these are many")
    if arguments.json and output == STANDARD_OUTPUT:
        raise UsageError("--json prints to standard output, where the content would go")
    client = _client(arguments)
    if client is None and not arguments.supernode and arguments.no_source:
        text = "--no-source needs a daemon or --supernode: there is nobody else to ask"
        raise UsageError(text)
    if is_many:
        return _get_many(arguments, request, client)
    if client is not None:
        finished = _through_daemon(client, request, output, is_quiet=arguments.quiet)
    else:
        finished = _as_peer(request, output, arguments)
    _report(finished, request, output, arguments)
    return 0


def _is_image(url: str) -> bool:
    """Say whether a URL names an image, which is a folder by nature, and not a blob of one."""
    return url.startswith("oci://") and "/blobs/" not in url


def _get_many(
    arguments: argparse.Namespace, request: DownloadRequest, client: LocalClient | None
) -> int:
    from damselfly.faces.cli.folders.command import get_folder  # noqa: PLC0415  # 150 ms, seldom

    report, error = get_folder(arguments, request, client)
    if arguments.json:
        _print_json(report | (_told(error) if error else {}))
    return _fail(error, is_json=False) if error else 0


def _report(
    finished: DownloadFinished, request: DownloadRequest, output: str, arguments: argparse.Namespace
) -> None:
    if arguments.json:
        _print_json(
            {
                "url": request.spec().display_url,
                "path": output,
                "task_id": finished.task_id,
                "edition_id": finished.edition_id,
                "size_bytes": finished.size_bytes,
                "digest": finished.digest,
                "seconds": finished.seconds,
                "bytes_by": msgspec.to_builtins(finished.bytes_by),
                "saved_bytes": finished.saved_bytes,
                "codec_cpu_s": finished.codec_cpu_s,
                "retries": finished.retry_count,
                "is_stale": finished.is_stale,
                "notes": finished.notes,
            }
        )
    elif not arguments.quiet:
        received = finished.size_bytes - finished.bytes_by.cache
        rate = f" ({size_text(received / max(finished.seconds, 0.001))}/s)" if received else ""
        text = f"{output}: {size_text(finished.size_bytes)} in {finished.seconds:.1f} s{rate}"
        print(printable(summary_text(text, finished.bytes_by)), file=sys.stderr)


def _print_json(value: object) -> None:
    with until_reader_leaves():
        print(msgspec.json.encode(value).decode(), flush=True)


def _told(error: DamselflyError) -> dict[str, Any]:
    return {
        "error": type(error).__name__,
        "message": str(error),
        "exit_code": error.exit_code,
    }


def _fail(error: DamselflyError, *, is_json: bool) -> int:
    print(printable(f"dfget: {error}"), file=sys.stderr)
    if is_json:
        _print_json(_told(error))
    return error.exit_code


def main(argv: Sequence[str]) -> int:
    """Run dfget and return its exit code."""
    is_json = "--json" in argv
    try:
        arguments = _parser().parse_args(argv)
        is_json = arguments.json
        if arguments.version:
            from importlib.metadata import version  # noqa: PLC0415  # 20 ms

            print(f"dfget of damselfly {version('damselfly')}")
            return 0
        return _get(arguments)
    except DamselflyError as exc:
        return _fail(exc, is_json=is_json)
    except BaseExceptionGroup as group:
        ours = _ours_in(group)
        if ours is None:
            raise
        return _fail(ours, is_json=is_json)
    except KeyboardInterrupt:
        print("dfget: interrupted; run the same command again to resume", file=sys.stderr)
        return INTERRUPTED


def _ours_in(group: BaseExceptionGroup) -> DamselflyError | None:
    """Return the first error of ours in a group."""
    for exc in group.exceptions:
        found = _ours_in(exc) if isinstance(exc, BaseExceptionGroup) else exc
        if isinstance(found, DamselflyError):
            return found
    return None


def run() -> NoReturn:
    """Run dfget as a command."""
    sys.exit(main(sys.argv[1:]))
