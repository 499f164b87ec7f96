"""Compresses blocks as they come from a source: the SuperNode has one.

What is decided is in `core/compressing/`; here it is measured, and done, in the threads that
store blocks. Each block is compressed once, by the SuperNode; all others pass the body on.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from damselfly.clock import now_s, thread_cpu_s
from damselfly.core.compressing.choosing import Choosing, Way
from damselfly.core.compressing.link_rate import BIN_S, LinkRate
from damselfly.core.compressing.load import ENCODE_QUEUE, Load, LoadGate
from damselfly.core.compressing.sampling import is_compressed_already, sample_spans
from damselfly.errors import PluginError
from damselfly.services.compressing.machine_load import MachineLoad
from damselfly.services.options import CompressionMode, CompressionOptions
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.wire.codecs.codec import BlockCodec

HEAD_BYTES: Final = 256 << 10  # of a content, by which its layout is chosen
THREADS_MAX: Final = 8

log = get_log()


class Compressor:
    """Compresses blocks while that pays.

    Attributes:
        threads: Blocks that may be compressed at a time.
        link: Learns from what is sent what the links carry.
    """

    def __init__(
        self,
        options: CompressionOptions,
        codecs: dict[int, BlockCodec],
        *,
        link: LinkRate,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._codecs = codecs
        self.link = link
        self._rate, self._is_cpu_bound = link.bytes_per_s, link.is_cpu_bound
        self._metrics = metrics
        cpus = os.cpu_count() or 1
        self.threads = options.threads or min(max(cpus - 1, 1), THREADS_MAX)
        self._choosing = Choosing(
            {codec: len(each.levels) for codec, each in codecs.items()},
            gain_min=options.gain_min,
            threads=self.threads,
            cpus=cpus,
        )
        self._gate = LoadGate(
            Load(
                cpu_share=options.cpu_share_max,
                run_queue=options.run_queue_max,
                encode_queue=options.encode_queue_max,
            )
        )
        self._load = MachineLoad()
        self._lock = threading.Lock()  # guards choosing, gate and queue
        self._waiting = 0
        self._sampled: tuple[float, float] = (0.0, 0.0)  # CPU share and run queue, at the last look
        metrics.compressing.set(1)

    # --- the edition

    def may_pack(self, *, is_near: bool) -> bool:
        """Say whether the first bytes of a content are worth a look.

        Args:
            is_near: Whoever asks for it is on this machine, where no link has to be spared.
        """
        mode = self._options.mode
        is_wanted = mode is CompressionMode.ON or (mode is not CompressionMode.OFF and not is_near)
        return is_wanted and bool(self._codecs)

    def starts_packed(self, head: bytes) -> bool:
        """Choose the layout of a new edition that `may_pack`, by the first bytes of its content."""
        if not head or is_compressed_already(head):
            return False
        # Packed, and then plain block by block, would cost a file more for nothing.
        return self._choose(self._sample(head), is_busy=bool(self._look())) is not None

    # --- the block

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Count a block that waits, or is compressed, inside the block of code."""
        with self._lock:
            self._waiting += 1
            self._metrics.encode_queue.set(self._waiting)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                self._metrics.encode_queue.set(self._waiting)

    def compress(self, plain: memoryview) -> tuple[int, bytes] | None:
        """Return a codec and the block compressed, None when it is to stay as it is.

        Meant for a thread.
        """
        closed_by = self._look()
        if closed_by == ENCODE_QUEUE:
            self._metrics.blocks_encoded.labels("busy").inc()
            return None
        sizes = self._sample(plain)
        way = self._choose(sizes, is_busy=bool(closed_by))
        if way is None:
            self._metrics.blocks_encoded.labels("busy" if closed_by else "none").inc()
            return None
        codec = self._codecs.get(way.codec)
        if codec is None:  # another thread found meanwhile that it fails
            return None
        body = self._encode(codec, plain, codec.levels[way.place], way, sizes[way.codec])
        if body is None or len(body) > len(plain) * (1 - self._options.gain_min):
            self._metrics.blocks_encoded.labels("none").inc()
            return None
        self._metrics.blocks_encoded.labels(codec.name).inc()
        return way.codec, body

    def _encode(
        self, codec: BlockCodec, plain: memoryview, level: int, way: Way, promised: float
    ) -> bytes | None:
        started_s, cpu_s = now_s(), thread_cpu_s()
        try:
            body = codec.encode(plain, level=level)
        except PluginError as exc:
            self._put_aside(codec, exc)
            return None
        used_s = thread_cpu_s() - cpu_s
        self._metrics.codec_cpu_seconds.labels("encode").inc(used_s)
        # Of a thread that had to share its CPU, the CPU's time tells how fast the codec is.
        seconds = max(used_s or now_s() - started_s, 1e-6)
        with self._lock:
            self._choosing.note(
                way,
                promised=promised,
                size=len(body) / max(len(plain), 1),
                bytes_per_s=len(plain) / seconds,
            )
        return body

    def _put_aside(self, codec: BlockCodec, error: PluginError) -> None:
        log.warning("codec_put_aside", codec=codec.name, reason=str(error))
        with self._lock:
            self._codecs.pop(codec.codec_id, None)
            self._choosing.forget(codec.codec_id)

    def _choose(self, sizes: dict[int, float], *, is_busy: bool) -> Way | None:
        is_on = self._options.mode is CompressionMode.ON
        with self._lock:
            return self._choosing.choose(
                sizes,
                rate_bytes_per_s=0.0 if is_on else self._rate,
                is_busy=is_busy or self._is_cpu_bound,
            )

    def _sample(self, plain: bytes | memoryview) -> dict[int, float]:
        """Return what each codec makes of a few pieces of a block."""
        cpu_s = thread_cpu_s()
        pieces = b"".join(
            plain[span.start_byte : span.stop_byte] for span in sample_spans(len(plain))
        )
        sizes: dict[int, float] = {}
        for codec in list(self._codecs.values()):
            try:
                body = codec.encode(pieces, level=codec.levels[0])
            except PluginError as exc:
                self._put_aside(codec, exc)
            else:
                sizes[codec.codec_id] = len(body) / max(len(pieces), 1)
        self._metrics.codec_cpu_seconds.labels("sample").inc(thread_cpu_s() - cpu_s)
        return sizes

    # --- the load

    def _look(self) -> str:
        """Look at the load; return what is too high, empty when nothing is."""
        if self._options.mode is CompressionMode.ON:
            return ""
        with self._lock:
            was_open = self._gate.is_open
            cpu_share, run_queue = self._sampled
            is_open = self._gate.look(
                Load(cpu_share=cpu_share, run_queue=run_queue, encode_queue=self._waiting)
            )
            if was_open and not is_open:
                self._metrics.compression_pauses.labels(self._gate.reason).inc()
            self._metrics.compressing.set(int(is_open))
            return self._gate.reason

    async def watch(self) -> None:
        """Look at the load of the machine, and at what its link carries, until cancelled."""
        used_before = 0.0
        while True:
            await asyncio.sleep(BIN_S)
            used = self._metrics.value("damselfly_codec_cpu_seconds_total", what="encode")
            own_share = (used - used_before) / BIN_S / (os.cpu_count() or 1)
            used_before = used
            all_share = self._load.cpu_share()
            self.link.on_load(all_share, now_s=now_s())
            # What it takes itself is no reason to stop.
            cpu_share = max(all_share - own_share, 0.0)
            with self._lock:
                self._sampled = cpu_share, self._load.run_queue()
                self._rate, self._is_cpu_bound = self.link.bytes_per_s, self.link.is_cpu_bound
            self._metrics.link_rate.set(self._rate)
            self._metrics.cpu_bound.set(int(self._is_cpu_bound))
            self._look()
