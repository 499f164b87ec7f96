"""dfget to daemon: the JSON of the daemon's Unix socket. See docs/protocols/local.md.

`POST /v1/downloads` carries a `DownloadRequest`; the answer is one JSON object a line:
`DownloadProgress` as things move, at the end one `DownloadFinished` or `DownloadFailed`.
The content is then read from `content_path` by whoever may, or from
`GET /v1/downloads/{download_id}/content`; `DELETE /v1/downloads/{download_id}` says that
it is no longer needed. Closing the connection before the end gives the download up.

`POST /v1/contents` carries a `DownloadRequest`, too; the answer is a `ContentOpened`, and later
perhaps a `DownloadFailed`. While the connection is open the content can be read at
`GET /v1/contents/{content_id}/bytes?start=…&stop=…`, each byte as soon as it is there. Who may
read `content_path` takes them from that file; `GET /v1/contents/{content_id}/reach?start=…` tells
how far they are there, by a line of digits each time that there are more.
"""

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.downloading.sharing import Priority
from damselfly.core.task import TaskSpec, parse_header
from damselfly.core.urls import display_url
from damselfly.wire.json_values import decoded


class DownloadRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a user wants downloaded.

    Attributes:
        url: The source.
        digest: `sha256:…`, or empty.
        headers: Lines `Name: value` for the source.
        tag: See `TaskSpec`.
        filter_query: Names of query parameters that are no identity.
        can_use_source: Whether the peer itself may go to the source for this request if the
            swarm cannot give the content.
        rate_bytes_per_s: Limit of this download; 0 is none.
        timeout_s: Limit in time; 0 is none.
        is_encrypted: Only as an encrypted content, at rest and between hosts.
        priority: How urgent it is beside other downloads of this host.
        is_placed: Somebody will take it as a file; else it is only read, or kept.
    """

    url: str
    digest: str = ""
    headers: tuple[str, ...] = ()
    tag: str = ""
    filter_query: tuple[str, ...] = ()
    can_use_source: bool = True
    rate_bytes_per_s: float = 0.0
    timeout_s: float = 0.0
    is_encrypted: bool = False
    priority: Priority = Priority.NORMAL
    is_placed: bool = True

    def spec(self) -> TaskSpec:
        """Return the task this asks for.

        Raises:
            TaskSpecError: The URL, digest or a header is none.
        """
        return TaskSpec(
            url=self.url,
            digest=Digest.parse(self.digest) if self.digest else None,
            tag=self.tag,
            filtered_query=self.filter_query,
            headers=tuple(parse_header(line) for line in self.headers),
            is_encrypted=self.is_encrypted,
        )

    def __repr__(self) -> str:
        # Headers and queries are secrets; a repr ends up in logs.
        return f"DownloadRequest({display_url(self.url)})"


class ProviderBytes(msgspec.Struct, kw_only=True):
    """Bytes by where they came from.

    Attributes:
        cache: Were here already.
        peers: Came from other hosts.
        supernode: Came from the SuperNode.
        source: Came from the source, fetched by this host itself.
    """

    cache: int = 0
    peers: int = 0
    supernode: int = 0
    source: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.cache + self.peers + self.supernode + self.source


class DownloadProgress(msgspec.Struct, kw_only=True, tag_field="kind", tag="progress"):
    """How far a download is.

    Attributes:
        state: `waiting` for the SuperNode or the source, `fetching`, `checking`, `placing`.
        size_bytes: Length, or -1 while nobody knows it.
        done_bytes: Stored and verified.
        bytes_by: The same by provider.
        parent_count: Parents that are linked now.
        note: One sentence for the user when something changed, such as the loss of the
            SuperNode; else empty.
    """

    state: str
    size_bytes: int = -1
    done_bytes: int = 0
    bytes_by: ProviderBytes = msgspec.field(default_factory=ProviderBytes)
    parent_count: int = 0
    note: str = ""


class DownloadFinished(msgspec.Struct, kw_only=True, tag_field="kind", tag="finished"):
    """A download is whole and checked.

    Attributes:
        download_id: Names it for `content` and `DELETE`.
        content_path: A file that holds the content until it is released; empty: there is none.
        size_bytes: Length.
        digest: Digest of the whole, if one was asked for or known; else empty.
        task_id: See `TaskSpec`.
        edition_id: The version that was downloaded.
        bytes_by: By provider.
        seconds: From request to here.
        retry_count: Fetches that were tried again.
        is_stale: The source could not be asked whether this is still its content.
        notes: Sentences for the user.
        saved_bytes: So much less came over the wire than was stored, blocks being compressed.
        codec_cpu_s: Seconds of CPU that decoding them took here.
    """

    download_id: str
    content_path: str
    size_bytes: int
    digest: str
    task_id: str
    edition_id: str
    bytes_by: ProviderBytes
    seconds: float
    retry_count: int = 0
    is_stale: bool = False
    notes: tuple[str, ...] = ()
    saved_bytes: int = 0
    codec_cpu_s: float = 0.0


class DownloadFailed(msgspec.Struct, kw_only=True, tag_field="kind", tag="failed"):
    """A download ended without content.

    Attributes:
        error: Class name in `damselfly.errors`.
        message: What a user may read.
        exit_code: For dfget.
        http_status: For whoever answers HTTP.
    """

    error: str
    message: str
    exit_code: int
    http_status: int


class ContentOpened(msgspec.Struct, kw_only=True, tag_field="kind", tag="opened"):
    """A content can be read, from any byte on, while the rest still comes.

    Attributes:
        content_id: Names it for `bytes`.
        size_bytes: Length, -1 while the source has not told it.
        task_id: See `TaskSpec`.
        edition_id: The version that is read.
        etag: What the source said of it.
        digest: Of the whole, if known.
        content_path: A file in which the bytes lie, as far as they are there; empty: there is none.
    """

    content_id: str
    size_bytes: int
    task_id: str
    edition_id: str
    etag: str = ""
    digest: str = ""
    content_path: str = ""


DownloadReport = DownloadProgress | DownloadFinished | DownloadFailed | ContentOpened

_request_decoder = msgspec.json.Decoder(DownloadRequest)
_report_decoder: msgspec.json.Decoder[DownloadReport] = msgspec.json.Decoder(DownloadReport)
_encoder = msgspec.json.Encoder()


def encode_line(message: DownloadRequest | DownloadReport) -> bytes:
    """Return a message as one line of JSON."""
    return _encoder.encode(message) + b"\n"


def decode_request(data: bytes) -> DownloadRequest:
    """Return the request in a body.

    Raises:
        RemoteProtocolError: It is none.
    """
    return decoded(data, _request_decoder, what="no download request")


def decode_report(line: bytes) -> DownloadReport:
    """Return the report in a line.

    Raises:
        RemoteProtocolError: It is none.
    """
    return decoded(line, _report_decoder, what="no download report")
