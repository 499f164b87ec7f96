"""Buckets of object stores: where they are, as whom one requester comes, and for which object."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from damselfly.core.task import TaskSpec
from damselfly.errors import TaskSpecError
from damselfly.transport.sources.accounts import (
    ACCESS_KEY,
    SECRET_KEY,
    SESSION_TOKEN,
    AccountOptions,
    Accounts,
)

VERSION_NAMES: Final = {"s3": "versionId", "gs": "generation", "az": "versionid"}
"""What names a version in the query of a URL, as each store itself spells it."""
UNVERSIONED: Final = "null"  # of S3: what was put while the bucket kept no versions


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Which object of a bucket.

    Attributes:
        key: Its key; of a folder, how the keys in it begin.
        version: The one that is asked for; empty: the present one.
    """

    key: str
    version: str = ""

    def is_of(self, version: str | None) -> bool:
        """Say whether a store that answers so has given what was asked for.

        A store that keeps no versions passes over which one is asked for.
        """
        return self.version in ("", version) or (self.version == UNVERSIONED and not version)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as one requester reaches it.

    Attributes:
        scheme: `s3`, `gs` or `az`.
        name: Its name; of `az`, the container's.
        account: What the settings say of it.
        user: Access key, or account of `az`; empty: none.
        password: The secret key; empty: none.
        token: Of a session, of a bearer, of a service account, or SAS; empty: none.
    """

    scheme: str
    name: str
    account: AccountOptions
    user: str
    password: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def is_for_anybody(self) -> bool:
        """Whoever asks shows nothing."""
        return not (self.user or self.token or self.account.from_machine)

    def url_of(self, name: ObjectName) -> str:
        """Return where an object is for those who speak HTTP with the store themselves."""
        endpoint, region, bucket = self.account.endpoint, self.account.region, self.name
        match self.scheme:
            case "gs":
                base = f"{endpoint or 'https://storage.googleapis.com'}/{bucket}"
            case "az":
                base = f"{endpoint or f'https://{self.user}.blob.core.windows.net'}/{bucket}"
            case _ if self.account.path_style:
                base = f"{endpoint or f'https://s3.{region}.amazonaws.com'}/{bucket}"
            case _:
                base = endpoint or f"https://{bucket}.s3.{region}.amazonaws.com"
        version = quote(name.version, safe="")
        query = f"?{VERSION_NAMES[self.scheme]}={version}" if version else ""
        return f"{base}/{quote(name.key)}{query}"


def bucket_of(spec: TaskSpec, accounts: Accounts) -> Bucket:
    """Return the bucket of a request, by the requester's keys, else by those of the account."""
    account = accounts.find(spec.url)
    given = {name.lower(): value for name, value in spec.headers}
    if ACCESS_KEY in given:
        user, password = given[ACCESS_KEY], given.get(SECRET_KEY, "")
        token = given.get(SESSION_TOKEN, "")
    elif bearer := _bearer_of(given):
        user, password, token = account.user, "", bearer
    else:
        user, password, token = account.user, account.password, account.token
    scheme, name = urlsplit(spec.url)[:2]
    return Bucket(scheme, name, account, user, password, token)


def name_of(spec: TaskSpec) -> ObjectName:
    """Return the object, or the folder, that a URL names.

    Raises:
        TaskSpecError: It has a query that names no version.
    """
    parts = urlsplit(spec.url)
    key = unquote(parts.path).lstrip("/")
    if not parts.query:
        return ObjectName(key)
    wanted = VERSION_NAMES[parts.scheme]
    name, _, version = parts.query.partition("=")
    if name != wanted or not version or "&" in version:
        # Passed over, it would give another content than was asked for.
        expected = f"the address of an object has no query but its version, {wanted}=…"
        raise TaskSpecError(what="URL", value=spec.display_url, expected=expected)
    return ObjectName(key, unquote(version))


def _bearer_of(given: dict[str, str]) -> str:
    kind, _, token = given.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""
