"""`dfget --recursive URL` and `dfget --from-file LIST`."""

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from damselfly.clock import now_s
from damselfly.core.members import Member, is_safe_path, select
from damselfly.core.urls import display_url, normalise_url
from damselfly.errors import FolderIncompleteError, OutputError, TaskSpecError, UsageError
from damselfly.faces.cli.folders.fetching import Fetching, Outcome
from damselfly.faces.cli.folders.getting import Getter, ThroughDaemon
from damselfly.faces.cli.output import printable
from damselfly.faces.cli.progress import shown_on_terminal, size_text, summary_text
from damselfly.services.outputs import beside
from damselfly.transport.local_client import LocalClient
from damselfly.wire.local_messages import DownloadRequest

SHOWN_MAX = 20  # of what is missing, on a terminal


def get_folder(
    arguments: Namespace, request: DownloadRequest, client: LocalClient | None
) -> tuple[dict[str, Any], FolderIncompleteError | None]:
    """Get many files, and return what `--json` tells, and what to say if some are missing.

    Raises:
        DamselflyError: There is not even a list of them.
    """
    folder = _folder(arguments.output, request.url)
    begun_s = now_s()
    with (
        shown_on_terminal(is_quiet=arguments.quiet) as shown,
        _getter(arguments, client, folder) as getter,
    ):
        fetching = Fetching(getter, request, folder, shown, netrc_file=arguments.netrc_file)
        if arguments.from_file:
            members = select(
                _read_list(arguments.from_file),
                include=arguments.include,
                exclude=arguments.exclude,
            )
            fetching.fetch_all(members)
        else:
            url = normalise_url(request.url)
            members = fetching.list_below(url)
            fetching.fetch_below(url, members, arguments.include, arguments.exclude)
        fetching.end()
    outcome = fetching.outcome
    if not arguments.quiet and not arguments.json:
        _tell(outcome, folder, now_s() - begun_s)
    report = _report(outcome, request, folder, now_s() - begun_s)
    if not outcome.missing:
        return report, None
    error = FolderIncompleteError(
        path=str(folder),
        missing_count=len(outcome.missing),
        file_count=outcome.files + len(outcome.missing),
        first=next(f"{path}: {exc}" for path, exc in sorted(outcome.missing.items())),
    )
    return report, error


def _folder(asked: str, url: str) -> Path:
    """Return the folder to fill: as asked, else by the last part of the URL.

    Raises:
        OutputError: It cannot be made.
    """
    if not asked:
        path = unquote(urlsplit(url).path).rstrip("/")
        name = os.path.basename(path).partition("@")[0].partition(":")[0]
        asked = name or urlsplit(url).hostname or "."
    folder = Path(asked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(path=str(folder), reason=exc.strerror or str(exc)) from exc
    if not os.access(folder, os.W_OK):
        raise OutputError(path=str(folder), reason="you may not write into it")
    return folder.absolute()


@contextlib.contextmanager
def _getter(arguments: Namespace, client: LocalClient | None, folder: Path) -> Iterator[Getter]:
    if client is not None:
        yield ThroughDaemon(client)
        return
    from damselfly.faces.cli.folders.as_peer import running_peer  # noqa: PLC0415  # 500 ms

    state = Path(beside(str(folder)))
    with running_peer(arguments.supernode or "", arguments.location, state) as peer:
        yield peer


def _read_list(path: str) -> list[Member]:
    """Return the files that a list names: a URL a line, and after a space where it belongs.

    Raises:
        UsageError: It cannot be read, or a line makes no sense.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
    members: dict[str, Member] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        url, *names = line.split(maxsplit=1) or [""]
        if not url or url.startswith("#"):
            continue
        try:
            url = normalise_url(url)
        except TaskSpecError as exc:
            raise UsageError(f"line {number} of the list: {exc}") from exc
        name = "".join(names).strip() or os.path.basename(unquote(urlsplit(url).path))
        where = f"line {number} of the list ({display_url(url)})"
        if not is_safe_path(name):
            what = f"the name {name[:80]!r}, which no file may have" if name else "no name"
            raise UsageError(f"{where} has {what}; write a name after the URL")
        if name in members:
            raise UsageError(f"{where} is a second {name}; write another name after the URL")
        members[name] = Member(path=name, url=url)
    return list(members.values())


def _report(
    outcome: Outcome, request: DownloadRequest, folder: Path, seconds: float
) -> dict[str, Any]:
    return {
        "url": display_url(request.url),
        "path": str(folder),
        "files": outcome.files,
        "skipped": outcome.skipped,
        "size_bytes": outcome.size_bytes,
        "seconds": round(seconds, 4),
        "bytes_by": msgspec.to_builtins(outcome.bytes_by),
        "missing": [
            {"path": path, "error": type(exc).__name__, "message": str(exc)}
            for path, exc in sorted(outcome.missing.items())
        ],
    }


def _tell(outcome: Outcome, folder: Path, seconds: float) -> None:
    for path, exc in sorted(outcome.missing.items())[:SHOWN_MAX]:
        print(printable(f"dfget: missing: {path}: {exc}"), file=sys.stderr)
    if len(outcome.missing) > SHOWN_MAX:
        print(f"dfget: missing: and {len(outcome.missing) - SHOWN_MAX} more", file=sys.stderr)
    count = "1 file" if outcome.files == 1 else f"{outcome.files} files"
    text = f"{folder}: {count}, {size_text(outcome.size_bytes)} in {seconds:.1f} s"
    print(printable(summary_text(text, outcome.bytes_by)), file=sys.stderr)
