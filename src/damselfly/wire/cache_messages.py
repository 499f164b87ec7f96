"""What an operator asks a daemon or a SuperNode about its cache. See docs/protocols/local.md.

`GET /v1/cache` answers with a `CacheListing`. `POST /v1/cache` carries a `CacheOrder` and
answers with a `CacheChanged`. `POST /v1/cache/imports` carries an `ImportOrder` as one line of
JSON, then the content, and answers with a `CacheChanged`. Whatever fails is a `DownloadFailed`.
"""

from typing import Any, TypeVar

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec
from damselfly.wire.json_values import decoded
from damselfly.wire.local_messages import DownloadFailed

ACTIONS = ("pin", "unpin", "rm", "verify")
NO_SOURCE = "http://imported.invalid/"  # RFC 2606: a name that nobody has

T = TypeVar("T")


class CachedTask(msgspec.Struct, kw_only=True, frozen=True):
    """An edition in a cache.

    Attributes:
        url: Where it came from, without secrets.
        size_bytes: Length, -1 while nobody knows it.
        stored_bytes: What it occupies.
        digest: Of the whole, if known.
        is_sealed: It is whole, and was checked.
        is_pinned: The operator keeps it from eviction.
        is_imported: It came from a file; no source is asked about it.
        is_in_use: Somebody reads or downloads it.
        is_elsewhere: Others in the swarm hold it, too, as far as is known.
        used_wall_s: When it was last used, in seconds since 1970.
    """

    edition_id: str
    task_id: str
    url: str
    size_bytes: int
    stored_bytes: int
    digest: str
    is_sealed: bool
    is_pinned: bool
    is_imported: bool
    is_in_use: bool
    is_elsewhere: bool
    used_wall_s: float


class CacheListing(msgspec.Struct, kw_only=True, frozen=True, tag_field="kind", tag="listing"):
    """A cache, the last used first.

    Attributes:
        data: Its folder.
        used_bytes: What is in it.
        quota_bytes: Its limit; 0 is none but the reserve.
    """

    data: str
    used_bytes: int
    quota_bytes: int
    tasks: tuple[CachedTask, ...] = ()


class CacheOrder(msgspec.Struct, kw_only=True, frozen=True):
    """What to do with entries.

    Attributes:
        action: `pin`, `unpin`, `rm` or `verify`.
        names: URLs, digests, or the first digits of ids; none is all, for `verify` alone.
    """

    action: str
    names: tuple[str, ...] = ()


class ImportOrder(msgspec.Struct, kw_only=True, frozen=True):
    """A content to be put in; its bytes follow.

    Attributes:
        digest: What it hashes to.
        size_bytes: Length.
        url: Names the task, with the tag; empty: the digest does.
        tag: See `TaskSpec`.
        name: Of the file, to be shown.
    """

    digest: str
    size_bytes: int
    url: str = ""
    tag: str = ""
    name: str = ""

    def spec(self) -> TaskSpec:
        """Return the task by which others get it.

        Raises:
            TaskSpecError: The URL, digest or tag is none.
        """
        digest = Digest.parse(self.digest)
        if self.url:
            return TaskSpec(url=self.url, tag=self.tag)
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in self.name)
        return TaskSpec(url=NO_SOURCE + safe, digest=digest, tag=self.tag)


class CacheChanged(msgspec.Struct, kw_only=True, frozen=True, tag_field="kind", tag="changed"):
    """What was done.

    Attributes:
        tasks: The entries that were meant, as they are now; of `rm`, as they were.
        damaged: Ids of editions of which bytes were wrong: what was wrong is fetched again.
        told: An import: whether the SuperNode was told.
    """

    tasks: tuple[CachedTask, ...] = ()
    damaged: tuple[str, ...] = ()
    told: bool = False


CacheAnswer = CacheListing | CacheChanged | DownloadFailed


def decode_json(data: bytes, kind: type[T] | Any) -> T:  # noqa: ANN401  # a union is no type
    """Return a message of JSON.

    Raises:
        RemoteProtocolError: It is none.
    """
    decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
    return decoded(data, decoder, what="no message about a cache")
