"""Guards the SuperNode's compression: what it takes on, and what it leaves alone."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from damselfly.clock import now_s
from damselfly.core.compressing.choosing import CHEAP_SHARE, SPEEDS
from damselfly.core.compressing.link_rate import BIN_S, LinkRate
from damselfly.errors import PluginError, RemoteProtocolError
from damselfly.services.compressing.codec_plugins import GROUP, GuardedCodec, load_codecs
from damselfly.services.compressing.compressor import Compressor
from damselfly.services.compressing.machine_load import MachineLoad
from damselfly.services.options import CompressionMode, CompressionOptions
from damselfly.services.plugins import CALL_S
from damselfly.telemetry.metrics import Metrics
from services.plugin_packages import OnPath, install

WORDS = b" ".join(b"block %d of the edition" % (i * 7919 % 10007) for i in range(12_000))
NOISE = random.Random(3).randbytes(1 << 18)

A_CODEC = """\
import time, zlib

class Plugin:
    codec_id = {codec_id}
    levels = (1,)

    def encode(self, plain, *, level):
        {encode}
        return zlib.compress(bytes(plain), level)

    def decode(self, body, *, plain_bytes):
        {decode}
        return zlib.decompress(bytes(body))
"""

# A link so fast that an encoder at its rate takes more of this machine than is cheap.
DEAR = 1.2 * CHEAP_SHARE * SPEEDS[0] * (os.cpu_count() or 1)


def a_codec(
    folder: Path, name: str, *, codec_id: int = 200, encode: str = "pass", decode: str = "pass"
) -> Path:
    source = A_CODEC.format(codec_id=codec_id, encode=encode, decode=decode)
    return install(folder / name, GROUP, name, source)


def a_compressor(
    mode: CompressionMode = CompressionMode.AUTO,
    *,
    rate: float = 12.5e6,
    metrics: Metrics | None = None,
    encode_queue_max: int = 16,
    call_s: float = CALL_S,
) -> Compressor:
    return Compressor(
        CompressionOptions(mode=mode, encode_queue_max=encode_queue_max),
        load_codecs(call_s=call_s),
        link=LinkRate(assumed_bytes_per_s=rate),
        metrics=metrics or Metrics(),
    )


@pytest.mark.parametrize(
    ("mode", "rate", "head", "is_near", "is_packed"),
    [
        (CompressionMode.AUTO, 12.5e6, WORDS, False, True),
        (CompressionMode.AUTO, 12.5e6, WORDS, True, False),
        (CompressionMode.AUTO, 12.5e9, WORDS, False, False),
        (CompressionMode.AUTO, 12.5e6, NOISE, False, False),
        (CompressionMode.AUTO, 12.5e6, b"\x1f\x8b" + WORDS, False, False),
        (CompressionMode.AUTO, 12.5e6, b"", False, False),
        (CompressionMode.OFF, 12.5e6, WORDS, False, False),
        (CompressionMode.ON, 12.5e9, WORDS, True, True),
        (CompressionMode.ON, 12.5e6, NOISE, False, False),
    ],
)
def test_an_edition_starts_packed_when_that_pays(
    *, mode: CompressionMode, rate: float, head: bytes, is_near: bool, is_packed: bool
) -> None:
    compressor = a_compressor(mode, rate=rate)
    assert (compressor.may_pack(is_near=is_near) and compressor.starts_packed(head)) == is_packed


def test_each_block_is_compressed_or_not_by_itself() -> None:
    metrics = Metrics()
    compressor = a_compressor(metrics=metrics)

    compressed = compressor.compress(memoryview(WORDS))

    assert compressed is not None
    codec, body = compressed
    assert len(body) < len(WORDS) // 2
    assert bytes(load_codecs()[codec].decode(body, plain_bytes=len(WORDS))) == WORDS
    assert compressor.compress(memoryview(NOISE)) is None
    assert metrics.value("damselfly_blocks_encoded_total", codec="zstd") == 1
    assert metrics.value("damselfly_blocks_encoded_total", codec="none") == 1


def test_a_queue_that_is_too_long_pauses_compression() -> None:
    metrics = Metrics()
    compressor = a_compressor(metrics=metrics, encode_queue_max=1)
    with compressor.queued(), compressor.queued():
        assert compressor.compress(memoryview(WORDS)) is None
        assert metrics.value("damselfly_compressing") == 0
        assert metrics.value("damselfly_compression_pauses_total", reason="encode_queue") == 1

    assert compressor.compress(memoryview(WORDS)) is not None
    assert metrics.value("damselfly_compressing") == 1


def test_what_begins_while_the_load_is_too_high_lies_plain_unless_compression_is_cheap() -> None:
    for rate, is_packed in ((12.5e6, True), (DEAR, False)):
        compressor = a_compressor(rate=rate, encode_queue_max=1)
        with compressor.queued(), compressor.queued():
            assert compressor.starts_packed(WORDS) == is_packed


async def test_once_cpus_are_what_limits_uploads_a_fast_link_gets_plain_editions() -> None:
    metrics = Metrics()
    compressor = a_compressor(rate=DEAR, metrics=metrics)
    assert compressor.starts_packed(WORDS)
    for number in range(8):
        began_s = now_s() - 4 + number * BIN_S
        compressor.link.on_sent(int(DEAR * BIN_S), began_s, began_s + BIN_S)
        compressor.link.on_load(1.0, now_s=began_s + BIN_S)

    watching = asyncio.ensure_future(compressor.watch())
    async with asyncio.timeout(10):
        while not metrics.value("damselfly_cpu_bound"):
            await asyncio.sleep(BIN_S / 4)
    watching.cancel()

    assert metrics.value("damselfly_link_bytes_per_second") > DEAR / 2
    assert not compressor.starts_packed(WORDS)
    assert compressor.compress(memoryview(WORDS)) is None


async def test_the_load_is_looked_at_until_the_watch_is_cancelled() -> None:
    watching = asyncio.ensure_future(a_compressor().watch())
    await asyncio.sleep(0)

    watching.cancel()

    with pytest.raises(asyncio.CancelledError):
        await watching


def test_the_kernel_tells_how_busy_the_machine_is() -> None:
    load = MachineLoad()

    assert 0 <= load.cpu_share() <= 1
    assert load.run_queue() > 0


# --- plug-ins


def test_a_plug_ins_codec_is_used(tmp_path: Path, on_path: OnPath) -> None:
    on_path(a_codec(tmp_path, "deflate"))

    codec = load_codecs()[200]

    assert codec.name == "deflate"
    assert codec.decode(codec.encode(WORDS, level=1), plain_bytes=len(WORDS)) == WORDS
    with pytest.raises(PluginError, match="codec deflate did not make the 3 bytes"):
        codec.decode(codec.encode(WORDS, level=1), plain_bytes=3)


@pytest.mark.parametrize(
    ("name", "encode", "named", "call_s"),
    [
        ("raising", "raise OSError('out of luck')", "out of luck", CALL_S),
        ("hanging", "time.sleep(60)", "did not answer within", 0.5),
        ("mute", "return None", "did not make bytes", CALL_S),
    ],
)
def test_a_plug_in_that_fails_is_named_and_put_aside(
    tmp_path: Path, on_path: OnPath, name: str, encode: str, named: str, call_s: float
) -> None:
    on_path(a_codec(tmp_path, name, encode=encode))
    with pytest.raises(PluginError, match=named):
        load_codecs(call_s=call_s)[200].encode(WORDS, level=1)

    compressed = a_compressor(call_s=call_s).compress(memoryview(WORDS))

    assert compressed is not None
    assert compressed[0] != 200


@pytest.mark.parametrize("codec_id", [0, 1, 256, "'x'"])
def test_an_id_that_cannot_be_is_refused(
    tmp_path: Path, on_path: OnPath, codec_id: int | str
) -> None:
    folder = tmp_path / "odd"
    source = A_CODEC.format(codec_id=codec_id, encode="pass", decode="pass")
    on_path(install(folder, GROUP, "odd", source))

    assert sorted(load_codecs()) == [1, 2, 3]


def test_what_is_no_codec_is_refused(tmp_path: Path, on_path: OnPath) -> None:
    on_path(install(tmp_path / "none", GROUP, "none", "class Plugin:\n    pass\n"))

    assert sorted(load_codecs()) == [1, 2, 3]


def test_a_bad_body_is_no_fault_of_the_plug_in(tmp_path: Path, on_path: OnPath) -> None:
    refusing = "from damselfly.errors import RemoteProtocolError; raise RemoteProtocolError('bad')"
    on_path(a_codec(tmp_path, "strict", decode=refusing))
    codec = load_codecs()[200]

    assert isinstance(codec, GuardedCodec)
    with pytest.raises(RemoteProtocolError, match="bad"):
        codec.decode(b"x", plain_bytes=1)
