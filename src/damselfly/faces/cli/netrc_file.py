"""A user's netrc, as curl reads it: who they are at which host.

What it says of a host is shown to that host, as if it stood in `--header`.
"""

import os
from urllib.parse import urlsplit

from damselfly.core.urls import split_form
from damselfly.errors import SettingsError, UsageError

USERS_OWN = "~/.netrc"
_NO_HOSTS = ("s3", "gs", "az", "hf", "file")  # a bucket or an organisation stands there


def netrc_headers(path: str, url: str, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a netrc says of the host of a URL, as headers.

    Args:
        path: The file; empty is none.
        url: What is asked for.
        given: Headers of the user, who may have said already who they are.

    Raises:
        UsageError: The file cannot be used.
    """
    parts = urlsplit(url)
    is_known = "@" in parts.netloc or any(
        line.partition(":")[0].strip().lower() == "authorization" for line in given
    )
    if not path or is_known or split_form(parts.scheme)[1] in _NO_HOSTS:
        return ()
    from damselfly.transport.sources.accounts import netrc_header  # noqa: PLC0415  # 20 ms, seldom

    try:
        found = netrc_header(os.path.expanduser(path), parts.hostname or "")
    except SettingsError as exc:
        raise UsageError(f"--netrc-file: {exc.expected}") from exc
    return tuple(f"{name}: {value}" for name, value in found)
