"""Host to SuperNode and back: the session. See docs/protocols/session.md.

One WebSocket per host at `/v1/session`, binary messages, for all of the host's tasks.
Upwards: hello, join, progress, complaint, source asked, key asked, imported, holders asked,
leave, warmed, pushed. Downwards: welcome, edition, block list and its growth, offers of
parents, sealed, failed, source granted, busy, holders told, banned, warm, stop warming, and, of
an encrypted edition, its data key for who asked.
"""

from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec
from damselfly.errors import RemoteProtocolError
from damselfly.wire.tagged import Codec, Message

PROTOCOL = 1
WARM_HEADER = "Damselfly-Warm"  # of a join that was told; its value stands for what a preheat shows
INLINE_BYTES_MAX = 128 << 10  # up to here a content is cheaper inside a message than as a swarm


class Holding(Message, frozen=True, tag="holding"):
    """An edition that a host has in its cache, whole."""

    task_id: str
    edition_id: str


class Hello(Message, frozen=True, tag="hello"):
    """A host opens a session; the first message.

    Attributes:
        protocol: Version of this protocol.
        host_id: Id of the host.
        address: `host:port` for other hosts; an empty host means the address seen.
        location: `region/zone/rack`.
        upload_slots: Uploads at a time.
        is_ephemeral: A dfget that leaves when it is done.
        codecs: Codec ids it understands besides 0.
        ciphers: Cipher ids it understands besides 0.
        holdings: What it can give others at once.
        labels: What operators call it, to choose it by.
        can_warm: It understands `Warm` and `StopWarming`.
    """

    protocol: int
    host_id: str
    address: str
    location: str = ""
    upload_slots: int = 4
    is_ephemeral: bool = False
    codecs: tuple[int, ...] = ()
    ciphers: tuple[int, ...] = ()
    holdings: tuple[Holding, ...] = ()
    labels: tuple[str, ...] = ()
    can_warm: bool = False


class Join(Message, frozen=True, tag="join"):
    """A host wants a task.

    Attributes:
        task_id: Its id; must follow from the other fields.
        url: The source.
        digest: `sha256:…`, or empty.
        tag: See `TaskSpec`.
        filtered_query: See `TaskSpec`.
        headers: For the source, for this join only; never stored or shown.
        edition_id: The edition of which blocks are held already, or empty.
        held_count: How many.
        is_encrypted: See `TaskSpec`.
    """

    task_id: str
    url: str
    digest: str = ""
    task_tag: str = ""
    filtered_query: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    edition_id: str = ""
    held_count: int = 0
    is_encrypted: bool = False

    def spec(self) -> TaskSpec:
        """Return the task this asks for.

        Raises:
            UsageError: URL, digest or a header is none.
            RemoteProtocolError: Its id does not follow from its fields.
        """
        spec = TaskSpec(
            url=self.url,
            digest=Digest.parse(self.digest) if self.digest else None,
            tag=self.task_tag,
            filtered_query=self.filtered_query,
            headers=self.headers,
            is_encrypted=self.is_encrypted,
        )
        if spec.task_id != self.task_id:
            raise RemoteProtocolError("a join with a task id that does not follow from its fields")
        return spec

    def __repr__(self) -> str:
        # Headers and queries are secrets.
        return f"Join({self.task_id})"


class Progress(Message, frozen=True, tag="progress"):
    """How far a host is with a task; sent when it matters, every few seconds at most.

    Attributes:
        is_hungry: It has free download slots and no parent with a block it misses.
        is_idle: It has free upload slots.
        is_whole: It holds everything.
    """

    task_id: str
    edition_id: str
    held_count: int
    is_hungry: bool = False
    is_idle: bool = False
    is_whole: bool = False


class Complaint(Message, frozen=True, tag="complaint"):
    """A parent failed a host.

    Attributes:
        reason: `corrupt`, `stalled`, `unreachable` or `missing`.
    """

    task_id: str
    edition_id: str
    host_id: str
    block_index: int
    reason: str


class SourceAsked(Message, frozen=True, tag="source_asked"):
    """A host asks whether it may go to the source itself."""

    task_id: str
    reason: str


class KeyAsked(Message, frozen=True, tag="key_asked"):
    """A host asks for the data key of an encrypted edition that it was told.

    Attributes:
        public_key: X25519, of a pair that is drawn for this question; 32 bytes.
    """

    task_id: str
    edition_id: str
    public_key: bytes


class Imported(Message, frozen=True, tag="imported"):
    """A host put a file into the swarm; it holds it whole, and there is no source to ask.

    Attributes:
        task_id: Its id; must follow from the other fields.
        edition_id: Its edition.
        url: Names the task together with the tag, unless `is_named_by_digest`.
        digest: What the whole hashes to.
        block_bytes: The cut.
        size_bytes: Length.
    """

    task_id: str
    edition_id: str
    url: str
    digest: str
    block_bytes: int
    size_bytes: int
    task_tag: str = ""
    is_named_by_digest: bool = True


class HoldersAsked(Message, frozen=True, tag="holders_asked"):
    """A host whose cache is filling asks which editions others hold too: those leave sooner."""

    edition_ids: tuple[str, ...]


class Leave(Message, frozen=True, tag="leave"):
    """A host no longer takes part in a task."""

    task_id: str


class Warmed(Message, frozen=True, tag="warmed"):
    """How far a host is with a task that it was told to warm.

    Attributes:
        done_bytes: Stored and verified.
        size_bytes: Length, -1 while nobody knows it.
        is_whole: It is done.
        error: Class name in `damselfly.errors`: it will not be done; else empty.
        message: What a user may read of that.
    """

    task_id: str
    done_bytes: int = 0
    size_bytes: int = -1
    is_whole: bool = False
    error: str = ""
    message: str = ""


class Pushed(Message, frozen=True, tag="pushed"):
    """A content was pushed to a registry through a host's mirror.

    Attributes:
        url: Of the blob or the manifest, at the registry.
        digest: What it hashes to.
        media_type: Of a manifest; of a blob empty.
        has_tag: The manifest was pushed by a tag: all that it names is there.
        headers: With which it can be read; never stored or shown.
    """

    url: str
    digest: str
    media_type: str = ""
    has_tag: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        # Headers are secrets.
        return f"Pushed({self.digest})"


class Welcome(Message, frozen=True, tag="welcome"):
    """The SuperNode accepts a session; the first message back.

    Attributes:
        address: The host's address as others will be told.
        progress_s: Seconds between progress messages.
    """

    protocol: int
    address: str
    progress_s: float = 2.0


class EditionTold(Message, frozen=True, tag="edition"):
    """What the task's content is and how it is cut.

    Attributes:
        size_bytes: Length, -1 while the source has not told.
        digest: Digest of the whole, if known.
        content: The whole content if it is short, else empty. Comes sealed.
        is_stale: The source could not be asked.
        is_public: The source gave it to somebody who showed no credentials.
        cipher: Id of the cipher of its blocks; 0: it is not encrypted.
        key_id: Id of its data key; 0: it is not encrypted.
        is_packed: Its blocks are compressed or encrypted where that is possible; a host that
            can decode them keeps and passes them on as they come.
    """

    task_id: str
    edition_id: str
    block_bytes: int
    size_bytes: int = -1
    etag: str = ""
    last_modified: str = ""
    digest: str = ""
    content: bytes = b""
    is_stale: bool = False
    is_public: bool = False
    cipher: int = 0
    key_id: int = 0
    is_packed: bool = False


class KeyTold(Message, frozen=True, tag="key"):
    """The data key of an encrypted edition, for the host that asked and nobody else.

    Attributes:
        sealed_key: The SuperNode's public key, 32 bytes, and the data key encrypted; see
            `wire/ciphers/key_exchange.py`.
    """

    task_id: str
    edition_id: str
    sealed_key: bytes


class BlocksListed(Message, frozen=True, tag="blocks"):
    """The block list, or its growth.

    Attributes:
        first_index: Index of the first block in `digests`.
        digests: BLAKE3 digests one after another, 32 bytes each.
    """

    task_id: str
    edition_id: str
    first_index: int
    digests: bytes


class Sealed(Message, frozen=True, tag="sealed"):
    """The block list is complete and the whole has been checked."""

    task_id: str
    edition_id: str
    size_bytes: int
    digest: str = ""


class Parent(Message, frozen=True, tag="parent"):
    """A host that may give blocks."""

    host_id: str
    address: str
    location: str = ""


class ParentsOffered(Message, frozen=True, tag="parents"):
    """Parents for a task, the best first; more may follow."""

    task_id: str
    edition_id: str
    parents: tuple[Parent, ...]


class Failed(Message, frozen=True, tag="failed"):
    """The SuperNode cannot give a task.

    Attributes:
        error: Class name in `damselfly.errors`.
        message: What a user may read.
        status: What the source answered, or 0.
        http_headers: What goes with the status, `WWW-Authenticate` and `Retry-After`.
        can_use_source: The fault is the SuperNode's: asking for leave to go to the source makes
            sense.
    """

    task_id: str
    error: str
    message: str
    status: int = 0
    http_headers: tuple[tuple[str, str], ...] = ()
    can_use_source: bool = False


class SourceAnswered(Message, frozen=True, tag="source_answered"):
    """Whether a host may go to the source itself.

    Attributes:
        is_granted: It may, now.
        retry_after_s: When asking again makes sense, if not.
    """

    task_id: str
    is_granted: bool
    retry_after_s: float = 0.0


class Busy(Message, frozen=True, tag="busy"):
    """The SuperNode has too much to do for a join; nothing else changes.

    Attributes:
        retry_after_s: Seconds after which the host joins again, not before.
    """

    task_id: str
    retry_after_s: float


class HoldersTold(Message, frozen=True, tag="holders_told"):
    """Which of the editions that were asked about other hosts hold, too.

    Attributes:
        asked: What was asked.
        held: Those of them that other hosts hold.
    """

    asked: tuple[str, ...]
    held: tuple[str, ...] = ()


class Banned(Message, frozen=True, tag="banned"):
    """A host sent corrupt blocks; take nothing from it."""

    host_id: str


class Warm(Message, frozen=True, tag="warm"):
    """A host shall have a task in its cache, though nobody there asks for it yet.

    It joins with `Damselfly-Warm: TOKEN` as its only header, goes to no source, and says
    `Warmed` as it comes along. A task that it has already it has at once.

    Attributes:
        url: The source, without user, password and filtered parameters.
        token: What the SuperNode knows the join by.
    """

    task_id: str
    url: str
    digest: str = ""
    task_tag: str = ""
    filtered_query: tuple[str, ...] = ()
    token: str = ""

    def __repr__(self) -> str:
        return f"Warm({self.task_id})"


class StopWarming(Message, frozen=True, tag="stop_warming"):
    """Nobody wants a task warm any more; what came is kept."""

    task_id: str


HostMessage = (
    Hello
    | Join
    | Progress
    | Complaint
    | SourceAsked
    | KeyAsked
    | Imported
    | HoldersAsked
    | Leave
    | Warmed
    | Pushed
)
SuperNodeMessage = (
    Welcome
    | EditionTold
    | KeyTold
    | BlocksListed
    | Sealed
    | ParentsOffered
    | Failed
    | SourceAnswered
    | Busy
    | HoldersTold
    | Banned
    | Warm
    | StopWarming
)

host_codec: Codec[HostMessage] = Codec(HostMessage)
supernode_codec: Codec[SuperNodeMessage] = Codec(SuperNodeMessage)
