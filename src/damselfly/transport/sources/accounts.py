"""As whom sources are asked, and where: what the settings say of the URLs that begin so.

Secrets stand in files of their own and are read when they are used, so that they can be
changed while we run, and `settings show` has none to show.
"""

import base64
import contextlib
import netrc
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from damselfly.core.task import Headers, TaskSpec
from damselfly.core.urls import normalise_url
from damselfly.errors import SettingsError, TaskSpecError

ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "access-key", "secret-key", "session-token"
"""Headers by which a requester gives keys of an object store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """How some of the sources are reached, and as whom.

    A requester's own credentials win over these. What these open, everybody may have who may
    ask this program; see docs/running/sources.md.

    Attributes:
        match: What it is for: the URLs that begin so, such as `s3://models/` or
            `https://files.example/private/`. The longest one counts.
        endpoint: Of `s3`, `gs`, `az` and `hf`: the URL of the server; empty: the public one.
        region: Of `s3`.
        path_style: Of `s3`: the bucket stands in the path, and not before the host.
        from_machine: Of `s3`, `gs` and `az`: as what the machine is in its cloud.
        user: Name, access key or account; without any the source is asked as anybody.
        password_file: File with its password, or secret key.
        token_file: File with a token: bearer, of a hub, SAS of `az`, service account of `gs`.
        ca_file: Certificates to trust there besides the system's; empty is none.
        client_cert_file: Certificate to show there, in PEM form.
        client_key_file: Its key; empty: it is in the same file.
        insecure: Its certificate is not checked at all.
    """

    match: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    path_style: bool = True
    from_machine: bool = False
    user: str = ""
    password_file: str = ""
    token_file: str = ""
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    insecure: bool = False

    def __post_init__(self) -> None:
        try:
            if self.match:
                object.__setattr__(self, "match", normalise_url(self.match))
            if self.endpoint:
                object.__setattr__(self, "endpoint", normalise_url(self.endpoint).rstrip("/"))
        except TaskSpecError as exc:
            raise ValueError(str(exc)) from exc

    @property
    def password(self) -> str:
        """The password, of its file; empty without one."""
        return _secret(self.password_file, "password_file")

    @property
    def token(self) -> str:
        """The token, of its file; empty without one."""
        return _secret(self.token_file, "token_file")


NOBODY: Final = AccountOptions()


def _secret(path: str, key: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        expected = f"{path} cannot be read: {getattr(exc, 'strerror', exc)}"
        raise SettingsError(where="source.accounts", key=key, expected=expected) from exc


class Accounts:
    """All accounts of the settings."""

    def __init__(self, known: Iterable[AccountOptions] = (), *, netrc_file: str = "") -> None:
        # The longest first, so that the first that matches is the one that counts.
        self._known = sorted(known, key=lambda account: -len(account.match))
        self._netrc_file = netrc_file

    def find(self, url: str) -> AccountOptions:
        """Return the account for a URL."""
        address = url.partition("?")[0]
        for account in self._known:
            folder = account.match.rstrip("/") + "/"
            if account.match in (url, address) or url.startswith(folder):
                return account
        return NOBODY

    def shown(self, spec: TaskSpec) -> TaskSpec:
        """Return a request as HTTP sources get it: with the account's credentials if it has none.

        What a requester shows is its own affair: nothing is added to it.
        """
        if has_credentials(spec):
            return spec
        headers = self._headers(spec.url)
        return replace(spec, headers=(*spec.headers, *headers)) if headers else spec

    def _headers(self, url: str) -> Headers:
        account = self.find(url)
        if account.token_file:
            return (("Authorization", f"Bearer {account.token}"),)
        if account.user:
            return (basic(account.user, account.password),)
        if self._netrc_file:
            return netrc_header(self._netrc_file, urlsplit(url).hostname or "")
        return ()


def has_credentials(spec: TaskSpec) -> bool:
    """Say whether a requester shows who it is."""
    return "@" in urlsplit(spec.url).netloc or any(
        name.lower() == "authorization" for name, _ in spec.headers
    )


def basic(user: str, password: str) -> tuple[str, str]:
    """Return the header of a user and a password."""
    words = base64.b64encode(f"{user}:{password}".encode()).decode()
    return ("Authorization", f"Basic {words}")


def netrc_header(path: str, host: str) -> Headers:
    """Return the header for a host of a netrc file; nothing if it has none.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        found = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError) as exc:
        expected = f"{path} cannot be used: {getattr(exc, 'strerror', '') or 'no netrc file'}"
        raise SettingsError(where="source", key="netrc_file", expected=expected) from exc
    return (basic(found[0], found[2] or ""),) if found else ()


def user_of(spec: TaskSpec, account: AccountOptions) -> tuple[str, str]:
    """Return user and password: of the requester's URL or header, else of the account."""
    parts = urlsplit(spec.url)
    if "@" in parts.netloc:
        return unquote(parts.username or ""), unquote(parts.password or "")
    for name, value in spec.headers:
        kind, _, words = value.partition(" ")
        if name.lower() == "authorization" and kind.lower() == "basic":
            with contextlib.suppress(ValueError):
                user, _, password = base64.b64decode(words, validate=True).decode().partition(":")
                return user, password
    return (account.user, account.password) if account.user else ("", "")
