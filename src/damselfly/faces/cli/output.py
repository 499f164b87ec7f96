"""Where the output of dfget goes, and how it is told."""

import os
from urllib.parse import unquote, urlsplit

from damselfly.errors import OutputError
from damselfly.services.outputs import STANDARD_OUTPUT, is_stream, may_write


def named(asked: str) -> str:
    """Return what a user means by an output: `-` is standard output."""
    return STANDARD_OUTPUT if asked == "-" else asked


def printable(text: str) -> str:
    """Return a text as it may go to a terminal: names come from servers, and could command it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def output_path(asked: str, url: str) -> str:
    """Return the path to write: as asked, in a folder by the name in the URL.

    Raises:
        OutputError: There is no such folder, no name, or it may not be written to.
    """
    path = named(asked) or "."
    if is_stream(path):
        if not may_write(path):
            raise OutputError(path=path, reason="you may not write to it")
        return path
    if os.path.isdir(path):
        name = os.path.basename(unquote(urlsplit(url).path))
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise OutputError(path=path, reason="it is a folder, and the URL has no file name")
        path = os.path.join(path, name)
    if os.path.isdir(path):
        raise OutputError(path=path, reason="it is a folder; name a file with -O")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise OutputError(path=path, reason=f"there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(path=path, reason=f"you may not write into {folder}")
    return path
