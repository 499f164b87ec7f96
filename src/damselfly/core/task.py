"""What is to be distributed: tasks and their editions.

A **task** is one content to distribute. With a digest it is named by that digest alone, so
that the same layer in two repositories is one swarm; otherwise by its normalised URL
without the filtered query parameters, and its tag. Request headers are no part of it.

An **edition** is one version of a task's content, named by what the source said of it.
Blocks belong to an edition, never to a task alone, so that bytes of two editions cannot mix.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import NewType, Self

from damselfly.core.blocks import BlockLayout
from damselfly.core.digest import Digest
from damselfly.core.urls import NO_TEXT, display_url, identity_url, normalise_url, signature_names
from damselfly.errors import TaskSpecError

TaskId = NewType("TaskId", str)
"""64 lower-case hexadecimal digits."""

EditionId = NewType("EditionId", str)
"""32 lower-case hexadecimal digits."""

Headers = tuple[tuple[str, str], ...]

HEADERS_CHARS_MAX = 32 << 10  # nginx and Apache refuse more

_TASK_ID = re.compile(r"[0-9a-f]{64}")
_EDITION_ID = re.compile(r"[0-9a-f]{32}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_CONTROLS = re.compile(rf"[\x00-\x1f\x7f{NO_TEXT}]")

# damselfly frames, ranges and validates requests itself; a caller's own would break them.
HEADERS_RESERVED = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "expect", "host", "if-match"),
        *("if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive"),
        *("proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)


def is_task_id(text: str) -> bool:
    """Say whether a text can be a task id."""
    return bool(_TASK_ID.fullmatch(text))


def is_edition_id(text: str) -> bool:
    """Say whether a text can be an edition id."""
    return bool(_EDITION_ID.fullmatch(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What a user asks for.

    Attributes:
        url: Of its source, checked and normalised.
        digest: What the content must hash to, if known.
        tag: Free text that keeps contents of one URL apart, such as a release.
        filtered_query: Names of query parameters that do not name the content, such as
            signatures and expiry times; those of the large stores are known.
        headers: Sent to the source; secrets, so never shown and no part of the identity.
        is_encrypted: Nothing of it may lie or travel in plain, whatever the SuperNode's rules
            say; a task of its own beside that of the same content without this wish.
    """

    url: str
    digest: Digest | None = None
    tag: str = ""
    filtered_query: tuple[str, ...] = ()
    is_encrypted: bool = False
    headers: Headers = field(default=(), compare=False)

    def __repr__(self) -> str:
        # Headers, user, password and query are secrets; a repr ends up in logs.
        return f"TaskSpec({self.display_url})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", normalise_url(self.url))
        signing = [name for name in signature_names(self.url) if name not in self.filtered_query]
        if signing:
            object.__setattr__(self, "filtered_query", (*self.filtered_query, *signing))
        if _CONTROLS.search(self.tag):
            shown = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", self.tag)
            expected = "it contains control characters or is no text"
            raise TaskSpecError(what="tag", value=shown, expected=expected)

    @property
    def task_id(self) -> TaskId:
        """The id of the task; equal for everybody who means the same content."""
        if self.digest is not None:
            name = f"digest\n{self.digest}"
        else:
            name = f"url\n{identity_url(self.url, self.filtered_query)}\n{self.tag}"
        if self.is_encrypted:
            name += "\nencrypted"
        return TaskId(hashlib.sha256(name.encode()).hexdigest())

    @property
    def display_url(self) -> str:
        """The URL as logs and messages may show it: without credentials and query."""
        return display_url(self.url)


def parse_header(text: str) -> tuple[str, str]:
    """Return name and value of a header written as `Name: value`.

    Raises:
        TaskSpecError: It is no header, or one that damselfly sets itself. The message shows
            the name alone, since the value may be a secret.
    """
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not _HEADER_NAME.fullmatch(name):
        shown = name if colon else "…"
        raise TaskSpecError(what="header", value=shown, expected="write it as 'Name: value'")
    if _CONTROLS.search(value.replace("\t", " ")):
        expected = "its value contains control characters, such as the end of a line"
        raise TaskSpecError(what="header", value=name, expected=expected)
    if name.lower() in HEADERS_RESERVED:
        raise TaskSpecError(what="header", value=name, expected="damselfly sets it itself")
    if len(text) > HEADERS_CHARS_MAX:
        expected = f"it is longer than {HEADERS_CHARS_MAX} characters"
        raise TaskSpecError(what="header", value=name, expected=expected)
    return name, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What a source says of a version of its content.

    Attributes:
        etag: As the header has it, with quotes and `W/`; empty when there is none.
        last_modified: As the header has it; empty when there is none.
    """

    etag: str = ""
    last_modified: str = ""

    @property
    def has_any(self) -> bool:
        """Whether a later version can be told from this one."""
        return bool(self.etag or self.last_modified)

    def is_same_as(self, told: "Validators") -> bool:
        """Say whether both name the same version; an ETag outweighs a date."""
        return told == self or bool(self.etag and told.etag == self.etag)

    @property
    def if_range(self) -> str:
        """What an If-Range header may carry: a strong ETag, else the date, else nothing."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One version of a task's content, and how it is cut.

    Attributes:
        edition_id: Its name; see `name_edition`.
        task_id: The task it is a version of.
        block_bytes: Length of each block but the last.
        size_bytes: Length; None until the end of a source that does not tell was seen.
        validators: What the source said of it.
        digest: What the whole hashes to, if known.
        display_url: Where it came from, without secrets.
        cipher: Id of the cipher that its blocks are sealed with; 0: it is not encrypted.
        key_id: Id of its data key; 0: it is not encrypted.
        key_name: The key provider's key that unwraps it, where this edition was sealed.
        wrapped_key: Its data key as it may lie at rest, there.
        is_packed: It lies in caches as packed blocks, compressed or encrypted, and not as plain
            bytes at their natural offsets; chosen when the edition starts.
    """

    edition_id: EditionId
    task_id: TaskId
    block_bytes: int
    size_bytes: int | None
    validators: Validators = Validators()
    digest: Digest | None = None
    display_url: str = ""
    cipher: int = 0
    key_id: int = 0
    key_name: str = ""
    wrapped_key: bytes = b""
    is_packed: bool = False

    def __post_init__(self) -> None:
        assert bool(self.cipher) == bool(self.key_id)
        assert self.is_packed or not self.cipher

    @property
    def layout(self) -> BlockLayout:
        """The cut; of length 0 as long as the length is unknown."""
        return BlockLayout(size_bytes=self.size_bytes or 0, block_bytes=self.block_bytes)

    @property
    def can_be_resumed(self) -> bool:
        """Whether a part of it may be asked for later: it is known to be of the same version."""
        return self.size_bytes is not None and (bool(self.digest) or self.validators.has_any)

    def sized(self, size_bytes: int) -> Self:
        """Return the same edition with its length known."""
        assert self.size_bytes in (None, size_bytes)
        return replace(self, size_bytes=size_bytes)

    def with_digest(self, digest: Digest | None) -> Self:
        """Return the same edition with the digest of its whole, if it is known now."""
        return replace(self, digest=self.digest or digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What names an edition: what the source said of its content.

    Attributes:
        size_bytes: Length, or None when the source did not tell.
        validators: ETag and Last-Modified.
        digest: What the whole hashes to, asked for by the user or told by the source.
    """

    size_bytes: int | None
    validators: Validators = Validators()
    digest: Digest | None = None


def name_edition(
    task_id: TaskId, facts: SourceFacts, *, block_bytes: int, reading: str, key_id: int = 0
) -> EditionId:
    """Return the id of the edition that a source described.

    Two readers that were told the same get the same id, so that a SuperNode that lost its
    cache finds the blocks of its hosts valid. A source that says nothing that could tell
    two versions apart gets a new edition with each reading.

    Args:
        task_id: The task it is a version of.
        facts: What the source said.
        block_bytes: The cut; the same content cut otherwise is another edition.
        reading: Anything unique to this reading of the source.
        key_id: Id of the data key; 0: not encrypted. What is sealed with another key is
            another edition, so blocks that cannot be opened never mix with those that can.
    """
    if facts.digest is not None:
        name = f"digest\n{facts.digest}"
    elif facts.validators.has_any:
        # An ETag alone names a version; dates have whole seconds, so the length helps.
        validators = facts.validators
        name = f"validators\n{validators.etag or validators.last_modified}\n{facts.size_bytes}"
    else:
        name = f"reading\n{reading}"
    text = f"{task_id}\n{block_bytes}\n{name}" + (f"\nkey\n{key_id:08x}" if key_id else "")
    return EditionId(hashlib.sha256(text.encode()).hexdigest()[:32])
