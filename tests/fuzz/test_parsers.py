"""Any bytes either parse or raise the one error that says who is to blame."""

import random

import pytest
from hypothesis import given, strategies as st

from damselfly.core.downloading.backoff import Backoff
from damselfly.errors import (
    DamselflyError,
    RemoteProtocolError,
    SourceRefusedError,
)
from damselfly.storage.journal import Record, read_records
from damselfly.transport.throttle import BURST_S, Throttle
from damselfly.wire import (
    link_messages,
    local_messages,
    manifest_children,
    preheat_messages,
    provider_messages,
    session_messages,
)
from damselfly.wire.byte_ranges import ContentRange, format_range, parse_content_range
from damselfly.wire.packed_block import PackedHeader
from damselfly.wire.tagged import MESSAGE_BYTES_MAX
from damselfly.wire.told_errors import revive
from damselfly.wire.webhooks import distribution, harbor, others

PARSERS = [
    link_messages.link_codec.decode,
    session_messages.host_codec.decode,
    session_messages.supernode_codec.decode,
    local_messages.decode_request,
    local_messages.decode_report,
    PackedHeader.decode,
    manifest_children.children_of,
    preheat_messages.decode_preheat,
    provider_messages.decode_job,
    provider_messages.decode_old,
    distribution.parse_distribution,
    distribution.parse_kraken,
    harbor.parse_harbor,
    others.parse_quay,
    others.parse_docker_hub,
    others.parse_generic,
    lambda data: parse_content_range(data.decode("latin-1")),
]


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_their_fault(parse: object, data: bytes) -> None:
    assert callable(parse)
    try:
        parse(data)
    except RemoteProtocolError:
        return


def test_message_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(RemoteProtocolError, match="at most"):
        link_messages.link_codec.decode(bytes(MESSAGE_BYTES_MAX + 1))


def test_unknown_field_is_ignored_and_unknown_kind_refused() -> None:
    codec = link_messages.link_codec
    declined = codec.encode(link_messages.Declined(block_index=1))
    # One more field in the map: {"kind": …, "block_index": …, "new": true}.
    grown = bytes([declined[0] + 1]) + declined[1:] + b"\xa3new\xc3"

    assert codec.decode(grown) == link_messages.Declined(block_index=1)
    with pytest.raises(RemoteProtocolError):
        codec.decode(declined.replace(b"declined", b"whatever"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bytes 0-4/10", ContentRange(0, 5, 10)),
        ("bytes 5-9/*", ContentRange(5, 10, None)),
        ("bytes */10", ContentRange(None, None, 10)),
    ],
)
def test_content_range_is_parsed(text: str, value: ContentRange) -> None:
    assert parse_content_range(text) == value


@pytest.mark.parametrize("text", ["", "bytes 5-4/10", "bytes 0-10/10", "items 0-1/2"])
def test_content_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_content_range(text)


def test_range_is_written_with_its_last_byte() -> None:
    assert format_range(0, 5) == "bytes=0-4"
    assert format_range(7, None) == "bytes=7-"


@given(st.binary(max_size=300))
def test_any_journal_gives_right_records_only(data: bytes) -> None:
    record = Record(1, 2, bytes(32), 3)

    records = list(read_records(record.encode() + data))

    assert records[0] == record


def test_told_error_keeps_class_message_and_status() -> None:
    error = revive("SourceRefusedError", "no", http_status=404)

    assert isinstance(error, SourceRefusedError)
    assert (str(error), error.http_status, error.exit_code) == ("no", 404, 12)
    assert type(revive("Sequence", "x")) is DamselflyError
    assert type(revive("OfTheFutureError", "x")) is DamselflyError


async def test_throttle_makes_who_takes_more_wait_for_the_debt() -> None:
    now, slept = [0.0], []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    throttle = Throttle(100.0, clock=lambda: now[0], sleep=sleep)

    for count in (10, 50, 50):
        await throttle.take(count)
    await Throttle(0.0, clock=lambda: now[0], sleep=sleep).take(10**9)

    assert slept == [round(0.6 - BURST_S, 6), 0.5]


@given(st.integers(1, 100), st.randoms(use_true_random=False))
def test_pauses_stay_below_their_bound(attempt: int, rng: random.Random) -> None:
    delay_s = Backoff(0.5, 5.0, rng).delay_s(attempt)

    assert 0 <= delay_s <= min(0.5 * 2 ** (attempt - 1), 5.0)
