"""Buckets of object stores: where they are, and as whom one requester comes to them."""

from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from damselfly.core.task import TaskSpec
from damselfly.transport.sources.accounts import (
    ACCESS_KEY,
    SECRET_KEY,
    SESSION_TOKEN,
    AccountOptions,
    Accounts,
)


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

    def url_of(self, key: str) -> str:
        """Return where an object is for those who speak HTTP with the store themselves."""
        endpoint, region, name = self.account.endpoint, self.account.region, self.name
        match self.scheme:
            case "gs":
                base = f"{endpoint or 'https://storage.googleapis.com'}/{name}"
            case "az":
                base = f"{endpoint or f'https://{self.user}.blob.core.windows.net'}/{name}"
            case _ if self.account.path_style:
                base = f"{endpoint or f'https://s3.{region}.amazonaws.com'}/{name}"
            case _:
                base = endpoint or f"https://{name}.s3.{region}.amazonaws.com"
        return f"{base}/{quote(key)}"


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


def _bearer_of(given: dict[str, str]) -> str:
    kind, _, token = given.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""
