"""Guards the messages: what is encoded is decoded, and no message shows a secret."""

from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, strategies as st

from damselfly.core.blocks import BLOCKS_MAX
from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec
from damselfly.errors import RemoteProtocolError, TaskSpecError
from damselfly.wire import link_messages, local_messages, session_messages
from damselfly.wire.local_messages import (
    DownloadRequest,
    ProviderBytes,
    decode_report,
    decode_request,
    encode_line,
)
from damselfly.wire.tagged import Codec, Message

SECRET = "c0ffee-secret"
SHA = "sha256:" + "ab" * 32

LINK = (
    link_messages.LinkHello,
    link_messages.Held,
    link_messages.Granted,
    link_messages.Declined,
)
UP = (
    session_messages.Hello,
    session_messages.Join,
    session_messages.Progress,
    session_messages.Complaint,
    session_messages.SourceAsked,
    session_messages.Leave,
)
DOWN = (
    session_messages.Welcome,
    session_messages.EditionTold,
    session_messages.BlocksListed,
    session_messages.Sealed,
    session_messages.ParentsOffered,
    session_messages.Failed,
    session_messages.SourceAnswered,
    session_messages.Busy,
    session_messages.Banned,
)
REPORTS = (
    local_messages.DownloadProgress,
    local_messages.DownloadFinished,
    local_messages.DownloadFailed,
)


def anything_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    """Return messages of a kind with each field drawn from its type."""
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: values_of(field.type) for field in fields})


def values_of(kind: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401  # a type or an alias
    """Return values of a field's type that both MessagePack and JSON can carry."""
    if kind is int:
        return st.integers(-(2**63), 2**63 - 1)
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if get_origin(kind) is Annotated:
        _, meta = get_args(kind)
        return st.integers(meta.ge, meta.lt - 1)
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        if rest == [...]:
            return st.lists(values_of(first), max_size=5).map(tuple)
        return st.tuples(values_of(first), *map(values_of, rest))
    if issubclass(kind, msgspec.Struct):
        return anything_of(kind)
    return st.from_type(kind)


@pytest.mark.parametrize(
    ("codec", "kind"),
    [
        *((link_messages.link_codec, kind) for kind in LINK),
        *((session_messages.host_codec, kind) for kind in UP),
        *((session_messages.supernode_codec, kind) for kind in DOWN),
    ],
)
@given(data=st.data())
def test_message_that_is_encoded_is_decoded(
    codec: Codec[Message], kind: type[Message], data: st.DataObject
) -> None:
    message = data.draw(anything_of(kind))
    assert isinstance(message, kind)

    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize("count", [1, 2, 15, 16, 300])
def test_messages_that_travel_together_come_in_order(count: int) -> None:
    codec = session_messages.supernode_codec
    messages = [session_messages.Banned(host_id=f"h-{number}") for number in range(count)]
    encoded = [codec.encode(message) for message in messages]

    assert codec.decode_all(codec.together(encoded)) == messages
    assert codec.decode_all(encoded[0]) == messages[:1]


@pytest.mark.parametrize("data", [b"", b"\x90\x00", b"\x91", b"\x91\x01", b"\xdd\xff\xff\xff\xff"])
def test_an_array_of_no_messages_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        session_messages.host_codec.decode_all(data)


@pytest.mark.parametrize("kind", REPORTS)
@given(data=st.data())
def test_report_that_is_encoded_is_one_line_and_is_decoded(
    kind: type[local_messages.DownloadReport], data: st.DataObject
) -> None:
    report = data.draw(anything_of(kind))
    assert isinstance(report, kind)

    line = encode_line(report)

    assert line.index(b"\n") == len(line) - 1
    assert decode_report(line) == report


@given(anything_of(DownloadRequest))
def test_request_that_is_encoded_is_decoded(request: msgspec.Struct) -> None:
    assert isinstance(request, DownloadRequest)

    assert decode_request(encode_line(request)) == request


@pytest.mark.parametrize(
    ("decode", "kinds"),
    [
        (link_messages.link_codec.decode, [*UP, *DOWN]),
        (session_messages.host_codec.decode, [*LINK, *DOWN]),
        (session_messages.supernode_codec.decode, [*LINK, *UP]),
    ],
    ids=["link", "host", "supernode"],
)
def test_message_of_another_family_is_refused(
    decode: Callable[[bytes], object], kinds: list[type[Message]]
) -> None:
    for kind in kinds:
        with pytest.raises(RemoteProtocolError):
            decode(msgspec.msgpack.encode({"kind": kind.__struct_config__.tag}))


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_message_of_nested_lists_is_refused(depth: int) -> None:
    with pytest.raises(RemoteProtocolError):
        link_messages.link_codec.decode(b"\x81\xa3new" + b"\x91" * depth)


@pytest.mark.parametrize("decode", [decode_request, decode_report])
def test_line_of_nested_lists_is_refused(decode: Callable[[bytes], object]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(b'{"new": ' + b"[" * 1_000_000)


def test_field_of_a_wrong_type_is_refused() -> None:
    encoded = msgspec.msgpack.encode({"kind": "declined", "block_index": "1"})

    with pytest.raises(RemoteProtocolError, match="block_index"):
        link_messages.link_codec.decode(encoded)


def test_message_does_not_show_headers_and_query() -> None:
    url = f"http://h/f?token={SECRET}"
    join = session_messages.Join(task_id="t", url=url, headers=(("Authorization", SECRET),))
    request = DownloadRequest(url=url, headers=(f"Authorization: {SECRET}",))

    shown = repr(join) + repr(request)

    assert SECRET not in shown
    assert "http://h/f" in shown


@pytest.mark.parametrize("digest", ["", SHA])
def test_join_is_a_task_whose_id_follows_from_its_fields(digest: str) -> None:
    fields: dict[str, Any] = {"url": "http://h/f?sig=1", "task_tag": "t", "digest": digest}
    fields |= {"filtered_query": ("sig",), "headers": (("A", "b"),), "is_encrypted": True}
    expected = TaskSpec(
        url="http://h/f?sig=1",
        digest=Digest.parse(digest) if digest else None,
        tag="t",
        filtered_query=("sig",),
        headers=(("A", "b"),),
        is_encrypted=True,
    )

    assert session_messages.Join(task_id=expected.task_id, **fields).spec() == expected
    with pytest.raises(RemoteProtocolError, match="does not follow"):
        session_messages.Join(task_id="0" * 64, **fields).spec()


def test_request_for_a_url_that_is_none_can_be_shown() -> None:
    assert "nonsense" in repr(DownloadRequest(url="nonsense"))


def test_request_is_a_task() -> None:
    request = DownloadRequest(
        url="HTTP://H:80/f", digest=SHA, headers=("A: b",), tag="t", filter_query=("sig",)
    )

    spec = request.spec()

    assert (spec.url, spec.digest, spec.tag) == ("http://h/f", Digest.parse(SHA), "t")
    assert (spec.headers, spec.filtered_query) == ((("A", "b"),), ("sig",))


@pytest.mark.parametrize(
    "request_",
    [
        DownloadRequest(url="nonsense"),
        DownloadRequest(url="http://h/", digest="nonsense"),
        DownloadRequest(url="http://h/", headers=("Range: bytes=0-1",)),
    ],
    ids=["url", "digest", "header"],
)
def test_request_that_is_no_task_is_refused(request_: DownloadRequest) -> None:
    with pytest.raises(TaskSpecError):
        request_.spec()


def test_bytes_by_provider_have_a_sum() -> None:
    assert ProviderBytes(cache=1, peers=20, supernode=300, source=4000).total == 4321


@pytest.mark.parametrize("index", [-1, BLOCKS_MAX, 2**63 - 1])
def test_a_wild_block_index_is_refused_at_the_door(index: int) -> None:
    for fields in (
        {"kind": "held", "indices": [index]},
        {"kind": "held", "indices": [], "claimed": [index]},
        {"kind": "granted", "block_index": index, "digest": bytes(32)},
        {"kind": "declined", "block_index": index},
    ):
        with pytest.raises(RemoteProtocolError, match="cannot be read"):
            link_messages.link_codec.decode(msgspec.msgpack.encode(fields))
